"""Numbers in the types that kernels store, and how close results have to be."""

import numpy
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from thinc.backends.cuda_launch import compute_dtype

DTYPES = ("float32", "float64", "float16", "bfloat16")
# Rounding to the storage type, with some room for the arithmetic before it.
TOLERANCE = {"float32": 3e-6, "float64": 1e-13, "float16": 1.0e-3, "bfloat16": 8e-3}

# How a launch may vary without a change of the result.
launches = st.fixed_dictionaries(
    {
        "order": st.integers(0, 4),
        "offset": st.integers(0, 2),
        "blocks": st.sampled_from([None, 1, 2]),
    }
)
seeds = st.integers(0, 2**32 - 1)


def stored(values, dtype):
    """Values as an array of a storage type. bfloat16: its bits, in uint16."""
    if dtype != "bfloat16":
        return numpy.asarray(values, dtype=dtype)
    bits = numpy.ascontiguousarray(values, dtype="float32").view("uint32").astype("uint64")
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return numpy.where(numpy.isnan(values), 0x7FFF, rounded).astype("uint16")


def numbers_of(array, dtype):
    """The numbers in an array of a storage type, as float64."""
    if dtype != "bfloat16":
        return array.astype("float64")
    with numpy.errstate(invalid="ignore"):  # signalling NaNs
        return (array.astype("uint32") << 16).view("float32").astype("float64")


def random_array(seed, shape, dtype, scale=2.0):
    """Normal numbers as stored."""
    return stored(numpy.random.default_rng(seed).normal(scale=scale, size=shape), dtype)


def blank(shape, dtype):
    """Memory that a kernel has to write: NaN, so that a forgotten element shows."""
    return stored(numpy.full(shape, numpy.nan), dtype)


def statistics(shape, dtype):
    """Memory for numbers of the type of arithmetic."""
    return numpy.full(shape, numpy.nan, dtype=compute_dtype(dtype))


def assert_close(result, expected, dtype, factor=1.0, kind=None):
    """result, of a storage type, against the same computed in double precision.

    kind: the dtype of result, if it is another one.
    """
    tolerance = TOLERANCE[kind or dtype] * factor
    assert_allclose(numbers_of(result, kind or dtype), expected, rtol=tolerance, atol=tolerance)
