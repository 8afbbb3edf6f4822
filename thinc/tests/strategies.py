"""Hypothesis strategies that other packages' tests use: spaCy's beam search tests do.

Needs hypothesis, which is not among our requirements.
"""

from typing import Tuple

from hypothesis import strategies
from hypothesis.extra import numpy as arrays


def ndarrays_of_shape(
    shape: Tuple[int, ...], min_value: float = -1000.0, max_value: float = 1000.0
) -> strategies.SearchStrategy:
    """Arrays of that shape: float32, finite, between the two values (included)."""
    values = strategies.floats(min_value, max_value, width=32)
    return arrays.arrays("float32", shape, elements=values)
