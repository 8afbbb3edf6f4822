"""Murmur hashes: published values, and every backend alike."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from on_device import DEVICE, FAKE, marked

from thinc.backends import NumpyOps, Ops, cpu_kernels

BACKENDS = [Ops(), NumpyOps(), FAKE, *DEVICE]
every_backend = pytest.mark.parametrize("ops", marked(BACKENDS), ids=lambda ops: ops.name)

# Of the reference implementation, MurmurHash3_x64_128 of eight little-endian bytes.
WORDS = {
    (0, 0): [3428303819, 685728695, 3303603794, 4065689084],
    (1, 0): [4211459146, 4457399, 3547175942, 1032506804],
    (2, 0): [1819721896, 3725074592, 1401649061, 3845513878],
    (10**12, 0): [1320012386, 4108500821, 2801781056, 1598050848],
    (2**64 - 1, 0): [448458099, 2699342458, 1800029871, 1763775177],
    (1, 1): [4080786504, 1033735080, 580658153, 4247176725],
    (0, 7): [363161713, 1826689969, 588221874, 425284546],
    (1, 7): [3089165797, 1536154270, 2023308811, 4074317197],
    (2, 7): [666152391, 2819266844, 3389477347, 2033898381],
    (10**12, 7): [3467787174, 2752789185, 2068487938, 3380176677],
}


@pytest.fixture(params=cpu_kernels.available_levels(), autouse=True, scope="module")
def level(request):
    with cpu_kernels.use_level(request.param):
        yield request.param


def random_ids(n, seed=0):
    return numpy.random.default_rng(seed).integers(0, 2**64, size=n, dtype="uint64")


@every_backend
@pytest.mark.parametrize("key,seed", list(WORDS))
def test_hash_has_the_published_values(ops, key, seed):
    # In the middle of others, as the compiled loop works on blocks.
    ids = random_ids(150)
    ids[[0, 63, 64, 149]] = key
    words = ops.hash(ids, seed)
    assert words.dtype == "uint32"
    assert words.shape == (150, 4)
    assert_array_equal(words[[0, 63, 64, 149]], [WORDS[key, seed]] * 4)


@every_backend
def test_ngrams_have_the_published_values(ops):
    one = ops.ngrams(1, numpy.array([1], dtype="uint64"))
    two = ops.ngrams(2, numpy.array([1, 2, 3], dtype="uint64"))
    assert one.dtype == two.dtype == "uint64"
    assert one.tolist() == [10357027354812746030]
    assert two.tolist() == [2346165840139155392, 16863871380863422640]


@given(
    ids=st.lists(st.integers(0, 2**64 - 1), max_size=200).map(
        lambda ids: numpy.array(ids, dtype="uint64")
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_backends_hash_alike(ids, seed):
    words = [ops.hash(ids, seed) for ops in BACKENDS]
    assert words[0].shape == (len(ids), 4)
    for others in words[1:]:
        assert_array_equal(words[0], others)


@given(
    keys=st.lists(st.integers(0, 2**64 - 1), max_size=200).map(
        lambda keys: numpy.array(keys, dtype="uint64")
    ),
    order=st.integers(0, 8),
)
def test_backends_hash_ngrams_alike(keys, order):
    hashes = [ops.ngrams(order, keys) for ops in BACKENDS]
    assert hashes[0].shape == (max(0, len(keys) - order + 1) if order else 0,)
    for others in hashes[1:]:
        assert_array_equal(hashes[0], others)


@every_backend
def test_hash_takes_strided_ids(ops):
    ids = random_ids(40)
    assert_array_equal(ops.hash(ids[::3], 5), ops.hash(ids[::3].copy(), 5))
    assert_array_equal(ops.ngrams(2, ids[::3]), ops.ngrams(2, ids[::3].copy()))


@every_backend
@pytest.mark.parametrize("seed", [-1, 2**32])
def test_hash_refuses_a_seed_of_more_than_32_bits(ops, seed):
    with pytest.raises(OverflowError):
        ops.hash(random_ids(3), seed)


# Divisors at which a reciprocal that is off by one would show: powers of two and
# their neighbours, the smallest and the largest.
DIVISORS = sorted(
    {1, 2, 3, 5, 6, 7, 10, 641, 5000, 10007}
    | {2**k + e for k in (2, 8, 16, 20, 22) for e in (-1, 0, 1)}
)


@pytest.mark.parametrize("nr_row", DIVISORS)
def test_rows_are_words_modulo_the_table(nr_row):
    ids = random_ids(500, seed=nr_row)
    table = numpy.zeros((nr_row, 1), dtype="float32")
    _, rows = NumpyOps().hash_embed(table, ids, 3)
    assert_array_equal(rows, BACKENDS[0].hash(ids, 3) % numpy.uint32(nr_row))
