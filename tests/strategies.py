"""Hypothesis strategies for the data that thinc computes with."""

import numpy
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

FLOAT_DTYPES = ("float32", "float64")


def numbers(low=-10.0, high=10.0, dtype="float64"):
    """Floats that a float32 holds exactly, without the denormal ones."""
    width = 32 if dtype == "float32" else 64
    return st.floats(low, high, width=width, allow_subnormal=False, allow_nan=False)


def arrays(dtype="float64", low=-10.0, high=10.0, min_dims=1, max_dims=3, max_side=6):
    """Float arrays of any small shape, empty ones included."""
    shapes = hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=0, max_side=max_side)
    return hnp.arrays(dtype, shapes, elements=numbers(low, high, dtype))


@st.composite
def floats2d(draw, dtype="float64", min_rows=0, max_rows=8, min_width=1, max_width=6, **limits):
    """Float arrays of shape (rows, width)."""
    rows = draw(st.integers(min_rows, max_rows))
    width = draw(st.integers(min_width, max_width))
    elements = numbers(limits.get("low", -10.0), limits.get("high", 10.0), dtype)
    return draw(hnp.arrays(dtype, (rows, width), elements=elements))


def lengths(min_length=0, max_length=5, min_size=0, max_size=6):
    """int32 arrays of sequence lengths."""
    items = st.lists(st.integers(min_length, max_length), min_size=min_size, max_size=max_size)
    return items.map(lambda values: numpy.array(values, dtype="int32"))


@st.composite
def ragged(draw, dtype="float64", min_length=0, max_length=5, min_size=0, max_width=4):
    """(X, lengths): sequences one after another, and how long each is."""
    counts = draw(lengths(min_length, max_length, min_size))
    width = draw(st.integers(1, max_width))
    elements = numbers(-10.0, 10.0, dtype)
    return draw(hnp.arrays(dtype, (int(counts.sum()), width), elements=elements)), counts


@st.composite
def sequences(draw, dtype="float64", min_size=0, min_length=0):
    """Lists of arrays (length, width) of one width."""
    X, counts = draw(ragged(dtype, min_length=min_length, min_size=min_size))
    return numpy.split(X, numpy.cumsum(counts)[:-1]) if len(counts) else []


def layouts(X):
    """The same values in several memory layouts, some of them awkward for compiled code."""
    wide = numpy.full((*X.shape[:-1], X.shape[-1] * 2), 77, dtype=X.dtype)
    wide[..., ::2] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    return {
        "contiguous": X.copy(),
        "fortran": numpy.asfortranarray(X),
        "every second": wide[..., ::2],
        "backwards": numpy.ascontiguousarray(X[::-1])[::-1],
        "read-only": read_only,
    }
