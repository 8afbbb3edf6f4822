"""Tables, hashes, copies of rows and position encoding of the CUDA sources, on the host."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from samples import DTYPES, assert_close, blank, launches, numbers_of, random_array, seeds

from thinc.backends.cuda_launch import copy_unit
from thinc.backends.ops import Ops

OPS = Ops()
INDICES = ("int32", "uint32", "int64", "uint64")
widths = st.sampled_from([0, 1, 4, 8, 31, 33, 64, 100])
hash_seeds = st.integers(0, 2**32 - 1)


def random_ids(seed, n):
    return numpy.random.default_rng(seed).integers(0, 2**64, n, dtype="uint64")


# ---- hashes ------------------------------------------------------------------------------


@given(n=st.integers(0, 300), seed=seeds, hash_seed=hash_seeds, launch=launches)
def test_hash(kernels, n, seed, hash_seed, launch):
    ids, out = random_ids(seed, n), numpy.zeros((n, 4), "uint32")
    kernels.run("hash_ids", (), out, ids, n, hash_seed, **launch)
    assert_array_equal(out, OPS.hash(ids, hash_seed))


def test_hash_of_known_ids(kernels):
    out = numpy.zeros((3, 4), "uint32")
    kernels.run("hash_ids", (), out, numpy.array([0, 1, 2**64 - 1], "uint64"), 3, 0)
    assert out.tolist() == [
        [3428303819, 685728695, 3303603794, 4065689084],
        [4211459146, 4457399, 3547175942, 1032506804],
        [448458099, 2699342458, 1800029871, 1763775177],
    ]


@given(m=st.integers(0, 60), n=st.integers(1, 5), seed=seeds, launch=launches)
def test_ngrams(kernels, m, n, seed, launch):
    keys = random_ids(seed, m)
    expected = OPS.ngrams(n, keys)
    out = numpy.zeros(len(expected), "uint64")
    kernels.run("ngrams", (), out, keys, len(out), n, **launch)
    assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=15)
@given(
    n=st.integers(0, 40),
    width=widths,
    rows=st.sampled_from([1, 7, 1000]),
    seed=seeds,
    hash_seed=hash_seeds,
    keep=st.booleans(),
    launch=launches,
)
def test_hash_embed(kernels, dtype, n, width, rows, seed, hash_seed, keep, launch):
    E, ids = random_array(seed, (rows, width), dtype), random_ids(seed, n)
    Y, chosen = blank((n, width), dtype), numpy.full((n, 4), 77, "uint32")
    arguments = (E, ids, n, width, rows, hash_seed)
    kernels.run("hash_embed", dtype, Y, chosen if keep else None, *arguments, **launch)
    expected, places = OPS.hash_embed(numbers_of(E, dtype), ids, hash_seed)
    assert_close(Y, expected, dtype, factor=3)
    assert_array_equal(chosen, places if keep else 77)


# ---- rows of tables ------------------------------------------------------------------------


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=6)
@given(
    B=st.integers(0, 30),
    K=st.integers(0, 5),
    width=widths,
    rows=st.sampled_from([1, 5, 200]),
    seed=seeds,
    launch=launches,
)
def test_gather_and_scatter(kernels, dtype, index, B, K, width, rows, seed, launch):
    table = random_array(seed, (rows, width), dtype)
    indices = numpy.random.default_rng(seed).integers(0, rows, (B, K)).astype(index)
    Y, status = blank((B, width), dtype), numpy.zeros(1, "int32")
    sizes = (B, K, width, rows, status)
    kernels.run("gather_add", (dtype, index), Y, table, indices, *sizes, **launch)
    assert_close(Y, OPS.gather_add(numbers_of(table, dtype), indices), dtype, factor=3)

    dY = random_array(seed + 1, (B, width), dtype)
    expected = OPS.backprop_gather_add(numbers_of(table, dtype), numbers_of(dY, dtype), indices)
    order = numpy.argsort(indices.ravel(), kind="stable")
    ordered = indices.ravel()[order]
    sizes = (ordered, order, B * K, K, width, rows, status)
    results = []
    for seed_of_threads in (launch["order"], 3):  # without atomics: always the same bits
        result = table.copy()
        kernels.run(
            "scatter_add_sorted",
            (dtype, index),
            result,
            dY,
            *sizes,
            **{**launch, "order": seed_of_threads},
        )
        results.append(result)
    assert_array_equal(results[0], results[1])
    assert_close(results[0], expected, dtype, factor=10)

    sizes = (B, K, width, rows, status)
    kernels.run("scatter_add", (dtype, index), table, dY, indices, *sizes, **launch)
    # 16 bits are rounded after each addition.
    assert_close(table, expected, dtype, factor=10 if dtype.startswith("float3") else 100)
    assert status[0] == 0


@pytest.mark.parametrize("index", INDICES)
def test_indices_outside_the_table_are_not_followed(kernels, index):
    bad = 2**40 if index.endswith("64") else 2**31 - 1
    values = [[0, 3], [bad, 1], [2, 2]] if index[0] == "u" else [[0, 3], [-1, 1], [2, bad]]
    indices = numpy.array(values, index)
    inside = [[0, None], [None, 1], [2, 2] if index[0] == "u" else [2, None]]
    table, dY = numpy.eye(3, dtype="f"), numpy.ones((3, 3), "f")
    expected, sums = numpy.zeros((3, 3)), table.copy()
    for b, row in enumerate(inside):
        for place in row:
            if place is not None:
                expected[b] += table[place]
                sums[place] += 1
    last_bad = max(b * 2 + k for b in range(3) for k in range(2) if inside[b][k] is None)

    Y, status = blank((3, 3), "float32"), numpy.zeros(1, "int32")
    sizes = (3, 2, 3, 3, status)
    kernels.run("gather_add", ("float32", index), Y, table, indices, *sizes)
    assert_array_equal(Y, expected)
    assert status[0] == last_bad + 1
    status[0] = 0
    result = table.copy()
    kernels.run("scatter_add", ("float32", index), result, dY, indices, *sizes)
    assert_array_equal(result, sums)
    assert status[0] == last_bad + 1
    status[0] = 0
    result, order = table.copy(), numpy.argsort(indices.ravel(), kind="stable")
    arguments = (dY, indices.ravel()[order], order, 6, 2, 3, 3, status)
    kernels.run("scatter_add_sorted", ("float32", index), result, *arguments)
    assert_array_equal(result, sums)
    assert 0 < status[0] <= last_bad + 1


@given(
    keys=st.lists(st.integers(-(2**40), 2**40), unique=True, max_size=40),
    ids=st.lists(st.integers(-(2**40), 2**40), max_size=40),
    launch=launches,
)
def test_remap_ids(kernels, keys, ids, launch):
    keys = numpy.sort(numpy.array(keys, "int64"))
    values = numpy.arange(len(keys), dtype="int32") * 3 + 1
    ids = numpy.concatenate([numpy.array(ids, "int64"), keys[::2]])
    table = dict(zip(keys.tolist(), values.tolist(), strict=True))
    Y = numpy.zeros(len(ids), "int32")
    kernels.run("remap_ids", (), Y, ids, len(ids), keys, values, len(keys), -7, **launch)
    assert Y.tolist() == [table.get(i, -7) for i in ids.tolist()]


# ---- layout --------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 7), min_size=1, max_size=6),
    row_bytes=st.sampled_from([1, 2, 4, 6, 12, 16, 48]),
    round_to=st.integers(1, 4),
    time_first=st.booleans(),
    seed=seeds,
    launch=launches,
)
def test_pad_and_unpad(kernels, lengths, row_bytes, round_to, time_first, seed, launch):
    rng = numpy.random.default_rng(seed)
    seqs = [rng.integers(0, 255, (n, row_bytes)).astype("uint8") for n in lengths]
    padded = OPS.pad(seqs, round_to)
    longest, batch = padded.shape[1], len(seqs)
    expected = numpy.ascontiguousarray(padded.swapaxes(0, 1)) if time_first else padded
    pointers = numpy.array([seq.ctypes.data for seq in seqs], "int64")
    counts = numpy.array(lengths, "int64")
    launch = {**launch, "offset": 0}  # whole rows, from addresses of whole units
    unit = copy_unit(row_bytes, *pointers.tolist())
    units = row_bytes // int(unit)
    out = numpy.full(expected.shape, 99, "uint8")
    sizes = (batch, longest, units, int(time_first))
    kernels.run("pad_rows", unit, out, pointers, counts, *sizes, **launch)
    assert_array_equal(out, expected)

    columns = rng.permutation(batch).astype("int64")
    for chosen in (None, columns):
        order = numpy.arange(batch) if chosen is None else columns
        flat = numpy.concatenate([seqs[i] for i in order])
        offsets = numpy.concatenate([[0], numpy.cumsum(counts[order])])
        result = numpy.full(flat.shape, 99, "uint8")
        unit = copy_unit(row_bytes)
        sizes = (batch, len(flat), longest, batch, row_bytes // int(unit), int(time_first))
        kernels.run("unpad_rows", unit, result, expected, offsets, chosen, *sizes, **launch)
        assert_array_equal(result, flat)


@given(
    n=st.integers(0, 50),
    rows=st.integers(1, 9),
    row_bytes=st.sampled_from([1, 2, 4, 12, 16, 48]),
    seed=seeds,
    launch=launches,
)
def test_gather_rows(kernels, n, rows, row_bytes, seed, launch):
    rng = numpy.random.default_rng(seed)
    X = rng.integers(0, 255, (rows, row_bytes)).astype("uint8")
    indices = rng.integers(-2, rows + 2, n)
    out, unit = numpy.full((n, row_bytes), 99, "uint8"), copy_unit(row_bytes)
    launch = {**launch, "offset": 0}
    sizes = (n, row_bytes // int(unit), rows)
    kernels.run("gather_rows", unit, out, X, indices, *sizes, **launch)
    inside = (indices >= 0) & (indices < rows)
    expected = numpy.where(inside[:, None], X[numpy.clip(indices, 0, rows - 1)], 0)
    assert_array_equal(out, expected)


@pytest.mark.parametrize("N, D, period", [(0, 4, 10), (5, 1, 100), (40, 6, 10000), (9, 7, 50)])
def test_position_encode(kernels, N, D, period):
    out = blank((N, D), "float32")
    kernels.run("position_encode", (), out, N, D, float(period))
    assert_allclose(out, OPS.position_encode(N, D, period), rtol=1e-6, atol=1e-7)
