"""Layers' parameters laid out for predictions, at every instruction-set level."""

import numpy
import pytest
import strategies
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from thinc.api import NumpyOps, Ops
from thinc.backends import cpu_kernels
from thinc.backends.formulas import FORMULAS
from thinc.backends.prepacked import EmbeddedMaxout, PrepackedAffine, PrepackedMaxout

OPS = NumpyOps()
REFERENCE = Ops()
REFERENCE.xp = numpy

every_dtype = pytest.mark.parametrize("dtype", strategies.FLOAT_DTYPES)
seeds = st.integers(0, 2**32 - 1)
row_counts = st.one_of(st.integers(0, 20), st.sampled_from([31, 64, 65, 200]))
widths = st.one_of(st.integers(0, 40), st.sampled_from([96, 129, 400, 1030]))
LAYOUTS = st.sampled_from(["contiguous", "fortran", "every second", "backwards", "read-only"])


@pytest.fixture(params=cpu_kernels.available_levels(), autouse=True, scope="module")
def level(request):
    with cpu_kernels.use_level(request.param):
        yield request.param


def normal(shape, dtype, seed=0):
    return numpy.random.default_rng(seed).normal(size=shape).astype(dtype)


def assert_sums(found, expected, X, W, dtype):
    """Equal up to the rounding of sums of products."""
    sizes = numpy.abs(X.astype("d")) @ numpy.abs(W.astype("d")).T + 1
    allowed = sizes * numpy.finfo(dtype).eps * (4 + numpy.sqrt(X.shape[1]))
    assert found.dtype == dtype and found.shape == expected.shape
    assert (numpy.abs(found - expected) <= allowed).all()


# ---- dense layers -------------------------------------------------------------


@every_dtype
@given(rows=row_counts, width=widths, outputs=widths, layout=LAYOUTS, seed=seeds)
def test_affine(dtype, rows, width, outputs, layout, seed):
    X = strategies.layouts(normal((rows, width), dtype, seed))[layout]
    W, b = normal((outputs, width), dtype, seed + 1), normal(outputs, dtype, seed + 2)
    layer = OPS.frozen_affine(W, b)
    assert isinstance(layer, PrepackedAffine)
    exact = X.astype("d") @ W.astype("d").T + b
    for _ in range(2):
        assert_sums(layer(X), exact, X, W, dtype)


@every_dtype
@pytest.mark.parametrize("name", FORMULAS)
@given(rows=st.integers(0, 30), width=st.integers(1, 20), outputs=widths, seed=seeds)
def test_activations(name, dtype, rows, width, outputs, seed):
    X, W = normal((rows, width), dtype, seed), normal((outputs, width), dtype, seed + 1)
    b = normal(outputs, dtype, seed + 2)
    found = OPS.frozen_affine(W, b, name)(X)
    close = {"rtol": 1e-3, "atol": 1e-3} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-9}
    assert_allclose(found, OPS.affine_value(name, X, W, b), **close)
    assert_allclose(REFERENCE.frozen_affine(W, b, name)(X), found, **close)


def test_wide_layers_are_made_in_panels():
    X, W, b = normal((40, 1500), "float32"), normal((900, 1500), "float32", 1), normal(900, "f", 2)
    assert_sums(OPS.frozen_affine(W, b)(X), X.astype("d") @ W.T.astype("d") + b, X, W, "float32")
    assert_allclose(
        OPS.frozen_affine(W, b, "mish", (20.0,))(X),
        OPS.affine_value("mish", X, W, b, (20.0,)),
        rtol=1e-3,
        atol=1e-3,
    )
    W3, b3 = W.reshape((300, 3, 1500)), b.reshape((300, 3))
    assert_allclose(
        OPS.frozen_maximum(W3, b3)(X), OPS.affine_maximum(X, W3, b3), rtol=1e-3, atol=1e-3
    )


@every_dtype
@given(
    rows=row_counts,
    width=widths,
    outputs=widths,
    pieces=st.integers(1, 4),
    layout=LAYOUTS,
    seed=seeds,
)
def test_maxout(dtype, rows, width, outputs, pieces, layout, seed):
    X = strategies.layouts(normal((rows, width), dtype, seed))[layout]
    W, b = normal((outputs, pieces, width), dtype, seed), normal((outputs, pieces), dtype, seed)
    layer = OPS.frozen_maximum(W, b)
    assert isinstance(layer, PrepackedMaxout)
    close = {"rtol": 1e-3, "atol": 1e-3} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-9}
    assert_allclose(layer(X), OPS.affine_maximum(X, W, b), **close)
    assert_allclose(REFERENCE.frozen_maximum(W, b)(X), layer(X), **close)


@every_dtype
@given(
    rows=row_counts, width=st.integers(1, 100), outputs=widths, pieces=st.integers(1, 3), seed=seeds
)
def test_maxout_of_windows(dtype, rows, width, outputs, pieces, seed):
    windows = OPS.sliding_windows(normal((rows, width), dtype, seed), 1)
    W, b = normal((outputs, pieces, 3 * width), dtype, seed), normal((outputs, pieces), dtype, seed)
    found = OPS.frozen_maximum(W, b)(windows)
    exact = windows.astype("d") @ W.astype("d").reshape((-1, 3 * width)).T + b.reshape(-1)
    exact = exact.reshape((rows, outputs, pieces))
    row_sizes = numpy.abs(windows.astype("d")).reshape((rows, 3, width)).sum(axis=1)
    weight_sizes = numpy.abs(W.astype("d")).reshape((-1, 3, width)).sum(axis=1)
    size = (row_sizes @ weight_sizes.T).reshape(exact.shape) + numpy.abs(b)
    allowed = size.max(axis=2, initial=0) * numpy.finfo(dtype).eps * (4 + numpy.sqrt(3 * width))
    assert (numpy.abs(found - exact.max(axis=2, initial=-numpy.inf)) <= allowed).all()


@every_dtype
@pytest.mark.parametrize("bad", [numpy.inf, -numpy.inf, numpy.nan])
@given(rows=st.integers(1, 70), seed=seeds)
def test_numbers_that_are_not_finite(dtype, bad, rows, seed):
    X = normal((rows, 6), dtype, seed)
    rng = numpy.random.default_rng(seed)
    for _ in range(3):
        X[rng.integers(rows), rng.integers(6)] = bad
    W, b = normal((7, 3, 18), dtype, 1), normal((7, 3), dtype, 2)
    with numpy.errstate(all="ignore"):
        found = OPS.frozen_maximum(W, b)(OPS.sliding_windows(X, 1))
        expected = OPS.affine_maximum(OPS.seq2col(X, 1), W, b)
        plain = OPS.frozen_affine(W[:, 0, :6], b[:, 0])
        plain_expected = OPS.affine(X, W[:, 0, :6], b[:, 0])
    assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert_allclose(plain(X), plain_expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("X", [None, [[1.0]], numpy.ones(6), numpy.ones((4, 5)), "x", 3])
def test_what_does_not_fit_gets_the_words_of_the_plain_method(X):
    W, b = normal((7, 6), "float64"), normal(7, "float64")
    with pytest.raises((TypeError, ValueError)) as plain:
        OPS.affine(X, W, b)
    with pytest.raises((TypeError, ValueError)) as found:
        OPS.frozen_affine(W, b)(X)
    assert str(found.value) == str(plain.value)


def test_weights_that_the_kernels_do_not_take():
    W, b = normal((7, 6), "float16"), normal(7, "float16")
    with pytest.raises(ValueError, match="must be float32 or both float64, got float16"):
        OPS.frozen_affine(W, b)(normal((4, 6), "float16"))
    W, b = normal((6, 7), "float32").T, normal(7, "float32")
    X = normal((4, 6), "float32")
    assert_allclose(OPS.frozen_affine(W, b)(X), OPS.affine(X, W, b), rtol=1e-4)
    with pytest.raises(KeyError, match="No activation named"):
        OPS.frozen_affine(W, b, "no such function")
    with pytest.raises(ValueError, match="b of shape"):
        OPS.frozen_affine(numpy.ascontiguousarray(W), b[:-1])(X)
    W3, b3 = normal((2, 0, 6), "float32"), normal((2, 0), "float32")
    with pytest.raises(ValueError):
        OPS.frozen_maximum(W3, b3)(X)


def test_the_classes_refuse_what_would_crash_them():
    W, b = normal((7, 6), "float32"), normal(7, "float32")
    for arguments in [
        (99, W, b, (), None),
        (-1, W, b, (), None),
        (0, W, b, (1, 2, 3, 4, 5), None),
        (0, W.T, b, (), None),
        (0, W, b.astype("d"), (), None),
        (0, W, b[:3], (), None),
        (0, b, b, (), None),
        (0, W.astype("int64"), b, (), None),
    ]:
        with pytest.raises(ValueError):
            PrepackedAffine(*arguments)
    for arguments in [
        (W, b, None),
        (W.reshape((7, 3, 2)), b, None),
        (W[None, :0], W[None, :0, 0], None),
    ]:
        with pytest.raises(ValueError):
            PrepackedMaxout(*arguments)
    with pytest.raises(ValueError):
        PrepackedMaxout(numpy.ones((3, 0, 2), "f"), numpy.ones((3, 0), "f"), None)


# ---- tables -------------------------------------------------------------------


@every_dtype
@given(
    rows=st.integers(0, 40),
    sizes=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), min_size=1, max_size=4),
    extra=st.integers(0, 2),
    seed=seeds,
)
def test_hash_embeddings_side_by_side(dtype, rows, sizes, extra, seed):
    rng = numpy.random.default_rng(seed)
    tables = [normal(size, dtype, i) for i, size in enumerate(sizes)]
    ids = rng.integers(0, 2**63, (rows, len(sizes) + extra)).astype("uint64")
    columns = rng.permutation(ids.shape[1])[: len(sizes)].tolist()
    table_seeds = rng.integers(0, 2**32, len(sizes)).tolist()
    arguments = (tables, columns, table_seeds)
    expected = numpy.concatenate(
        [
            OPS.hash_embed(E, ids[:, column], table_seed)[0]
            for E, column, table_seed in zip(*arguments, strict=True)
        ],
        axis=1,
    )
    for same in (ids, ids.astype("int64"), numpy.asfortranarray(ids)):
        assert_array_equal(OPS.hash_embed_columns(*arguments, same), expected)
    backwards = [column - ids.shape[1] for column in columns]
    assert_array_equal(OPS.hash_embed_columns(tables, backwards, table_seeds, ids), expected)
    strided = [numpy.asfortranarray(E) for E in tables]
    assert_array_equal(OPS.hash_embed_columns(strided, columns, table_seeds, ids), expected)
    reference = REFERENCE.hash_embed_columns(*arguments, ids)
    assert_allclose(reference, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("ops", [OPS, REFERENCE], ids=["numpy", "generic"])
def test_hash_embeddings_refuse_what_does_not_fit(ops):
    E, ids = normal((9, 2), "float32"), numpy.ones((3, 2), "uint64")
    assert ops.hash_embed_columns([E, E], [0, 1], [0, 1], ids).shape == (3, 4)
    for tables, columns, some_seeds, some_ids in [
        ([E], [2], [0], ids),
        ([E], [-3], [0], ids),
        ([E, E], [0], [0, 1], ids),
        ([E], [0], [0], ids[0]),
        ([E], [0], [0], None),
        ([E[:0]], [0], [0], ids),
        ([E[0]], [0], [0], ids),
        ([E], [0], [2**32], ids),
        ([E], [0], [-1], ids),
        ([], [], [], ids),
    ]:
        with pytest.raises((IndexError, ValueError, TypeError, OverflowError)):
            ops.hash_embed_columns(tables, columns, some_seeds, some_ids)


@every_dtype
@given(
    lengths=st.lists(st.integers(0, 9), max_size=6),
    classes=st.integers(0, 20),
    cells_each=st.integers(0, 3),
    size=st.integers(1, 60),
    seed=seeds,
)
def test_sparse_linear_by_feature(dtype, lengths, classes, cells_each, size, seed):
    rng = numpy.random.default_rng(seed)
    m = sum(lengths)
    W, b = normal((size, classes), dtype, seed), normal(classes, dtype, 1)
    cells = rng.integers(0, size, (m, cells_each)).astype("uint32")
    values = normal(m, dtype, 2)
    lengths = numpy.array(lengths, dtype="int32")
    found = OPS.sparse_linear_by_feature(W, b, cells, values, lengths)
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 1e-11, "atol": 1e-11}
    by_class = numpy.ascontiguousarray(W.T).reshape(-1)
    expected = REFERENCE.sparse_linear(by_class, b, cells, values, lengths, size)
    assert found.dtype == dtype
    assert_allclose(found, expected, **close)
    assert_allclose(
        REFERENCE.sparse_linear_by_feature(W, b, cells, values, lengths), expected, **close
    )


def test_sparse_linear_by_feature_refuses_what_does_not_fit():
    W, b = normal((9, 2), "float32"), normal(2, "float32")
    cells, values = numpy.array([[0, 1], [2, 8]], "uint32"), numpy.ones(2, "float32")
    lengths = numpy.array([1, 1], "int32")
    assert OPS.sparse_linear_by_feature(W, b, cells, values, lengths).shape == (2, 2)
    for change in (
        {"cells": cells + 1},
        {"cells": cells.astype("int64") - 1},
        {"lengths": lengths + 1},
        {"values": values[:1]},
        {"b": b[:1]},
        {"cells": None},
        {"W": None},
        {"W": W[0]},
    ):
        arguments = {"W": W, "b": b, "cells": cells, "values": values, "lengths": lengths, **change}
        for ops in (OPS, REFERENCE):
            with pytest.raises((IndexError, ValueError, TypeError, AttributeError)):
                ops.sparse_linear_by_feature(**arguments)


# ---- embeddings under a maxout ---------------------------------------------------


@every_dtype
@given(
    rows=st.integers(0, 30),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    width=st.sampled_from([32, 33, 40]),
    outputs=st.integers(0, 40),
    pieces=st.integers(1, 4),
    seed=seeds,
)
def test_embedded_maximum(dtype, rows, sizes, width, outputs, pieces, seed):
    rng = numpy.random.default_rng(seed)
    tables = [normal((n, width), dtype, i) for i, n in enumerate(sizes)]
    columns = rng.permutation(len(sizes)).tolist()
    table_seeds = rng.integers(0, 2**32, len(sizes)).tolist()
    W = normal((outputs, pieces, width * len(sizes)), dtype, seed)
    b = normal((outputs, pieces), dtype, seed)
    ids = rng.integers(0, 2**63, (rows, len(sizes))).astype("uint64")
    layer = OPS.frozen_embedded_maximum(tables, columns, table_seeds, W, b)
    assert isinstance(layer, EmbeddedMaxout)
    embedded = OPS.hash_embed_columns(tables, columns, table_seeds, ids)
    expected = OPS.affine_maximum(embedded.astype("d"), W.astype("d"), b.astype("d"))
    close = {"rtol": 1e-3, "atol": 1e-3} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-9}
    for same in (ids, numpy.asfortranarray(ids), ids.astype("int64")):
        found = layer(same)
        assert found.dtype == dtype and found.shape == (rows, outputs)
        assert_allclose(found, expected, **close)
    assert REFERENCE.frozen_embedded_maximum(tables, columns, table_seeds, W, b) is None


def test_embedded_maximum_takes_the_first_nan_and_ties():
    E, W = normal((9, 32), "float32"), normal((3, 2, 32), "float32")
    b = numpy.array([[numpy.nan, 1], [0, numpy.nan], [0, 0]], "float32")
    ids = numpy.arange(20, dtype="uint64").reshape((-1, 1))
    found = OPS.frozen_embedded_maximum([E], [0], [0], W, b)(ids)
    assert numpy.isnan(found[:, :2]).all() and numpy.isfinite(found[:, 2]).all()


def test_embedded_maximum_is_refused_where_it_does_not_fit_or_pay():
    E, W, b = normal((9, 32), "float32"), normal((3, 2, 32), "float32"), normal((3, 2), "float32")
    assert OPS.frozen_embedded_maximum([E], [0], [0], W, b) is not None
    for tables, columns, some_seeds, some_W, some_b in [
        ([], [], [], W, b),
        ([E[:, :9]], [0], [0], W[:, :, :9].copy(), b),
        ([E], [-1], [0], W, b),
        ([E], [0], [-1], W, b),
        ([E[:0]], [0], [0], W, b),
        ([E, E], [0, 1], [0, 1], W, b),
        ([E.astype("d")], [0], [0], W, b),
        ([E], [0], [0], W[:, :0], b[:, :0]),
        ([E], [0], [0], W, b[:2]),
        (
            [normal((200_000, 32), "float32")],
            [0],
            [0],
            normal((96, 3, 32), "float32"),
            normal((96, 3), "float32"),
        ),
    ]:
        assert OPS.frozen_embedded_maximum(tables, columns, some_seeds, some_W, some_b) is None


def test_the_class_refuses_what_would_crash_it():
    products, bias = normal((9, 2, 3), "float32"), normal((2, 3), "float32")
    EmbeddedMaxout(products, bias, [4, 5], [0, 1], [0, 1], None)
    for arguments in [
        (products, bias, [4, 4], [0, 1], [0, 1]),
        (products, bias, [9, 0], [0, 1], [0, 1]),
        (products, bias, [10, -1], [0, 1], [0, 1]),
        (products, bias, [9], [-1], [0]),
        (products, bias, [9], [0, 1], [0]),
        (products, bias, [9], [0], []),
        (products, bias, [], [], []),
        (products, bias[:1], [9], [0], [0]),
        (products, bias[:, :2].copy(), [9], [0], [0]),
        (products, bias.astype("d"), [9], [0], [0]),
        (products[:, :0], bias[:0], [9], [0], [0]),
        (products[:, :, ::2], bias[:, ::2], [9], [0], [0]),
        (products[0], bias, [2], [0], [0]),
    ]:
        with pytest.raises(ValueError):
            EmbeddedMaxout(*arguments, None)
