"""The same sequences as every kind of batch, for tests of layers on sequences."""
import numpy

from thinc.api import NumpyOps, Padded, Ragged

LENGTHS = (2, 0, 4, 1, 4)


def make_list(lengths=LENGTHS, width=3, dtype="float32", seed=0):
    """One array (length, width) for each length."""
    rng = numpy.random.default_rng(seed)
    return [rng.normal(size=(n, width)).astype(dtype) for n in lengths]


def as_ragged(Xs, dtype="int32"):
    data = numpy.concatenate(Xs) if Xs else numpy.zeros((0, 3), dtype="float32")
    return Ragged(data, numpy.array([len(x) for x in Xs], dtype=dtype))


def as_padded(Xs):
    return NumpyOps().list2padded(Xs)


def as_fields(Xs):
    P = as_padded(Xs)
    return (P.data, P.size_at_t, P.lengths, P.indices)


def as_pair(Xs):
    R = as_ragged(Xs)
    return (R.data, R.lengths)


KINDS = {
    "list": list,
    "ragged": as_ragged,
    "padded": as_padded,
    "pair": as_pair,
    "fields": as_fields,
}


def to_list(batch):
    """Any of these kinds as a list of arrays, in the original order."""
    ops = NumpyOps()
    if isinstance(batch, Ragged):
        return ops.unflatten(batch.dataXd, batch.lengths)
    if isinstance(batch, Padded):
        return ops.padded2list(batch)
    if isinstance(batch, tuple) and len(batch) == 2:
        return ops.unflatten(*batch)
    if isinstance(batch, tuple) and len(batch) == 4:
        return ops.padded2list(Padded(*batch))
    return batch


def assert_same(A, B):
    """Batches of one kind with equal shapes, dtypes and values."""
    assert type(A) is type(B)
    if isinstance(A, (list, tuple)):
        assert len(A) == len(B)
        for a, b in zip(A, B, strict=False):
            assert_same(a, b)
    elif isinstance(A, Ragged):
        assert_same(A.dataXd, B.dataXd)
        numpy.testing.assert_array_equal(A.lengths, B.lengths)
    elif isinstance(A, Padded):
        assert_same(as_tuple(A), as_tuple(B))
    else:
        assert A.dtype == B.dtype
        assert A.shape == B.shape
        numpy.testing.assert_allclose(A, B, rtol=1e-5, atol=1e-6)


def as_tuple(P):
    return (P.data, P.size_at_t, P.lengths, P.indices)
