"""Recorded outputs of thinc 8.3.14 and 9.1.1 (tests/golden), replayed here.

A case whose recording shows a registered defect of theirs is named in
golden_exceptions.json with the register's entry; it must indeed differ.
Where a recording contradicts mathematics, MATHEMATICS says how.
"""
import json
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from .golden import replay

FOLDER = Path(__file__).parent / "golden"
EXCEPTIONS = json.loads((Path(__file__).parent / "golden_exceptions.json").read_text())
GROUPS = json.loads((FOLDER / "manifest.json").read_text())["groups"]
MATHEMATICS = {
    "erf.denormal": "erf(x) is 2 x / sqrt(pi) for a denormal x, not zero",
    "clip_gradient.overflow": "a norm whose square overflows float32 is finite all the same",
    "backprop_gelu_approx.large": "the slope of gelu_approx tends to 0 and 1, not to infinity",
    "backprop_gelu_approx.nonfinite": "the slope of gelu_approx tends to 0 and 1",
    "backprop_swish.large": "the slope of swish tends to 1; y + s (1 - y) cancels to 0",
    "backprop_swish.nonfinite": "y + s (1 - y) is inf - inf at -inf, s + y (1 - s) is not NaN",
    "dish.large": "1 + x / sqrt(1 + x^2) of a large negative x is small, not zero",
    "dish.inplace.large": "the same",
    "dish.nonfinite": "dish tends to 0 at -inf and to x at inf",
    "backprop_dish.large": "the slope of dish is finite where x^2 overflows",
    "backprop_dish.nonfinite": "the slope of dish tends to 0 at -inf and to 1 at inf",
    "Dish.nonfinite": "dish tends to 0 at -inf and to x at inf",
    "adam.large_gradient": "1 - 0.999 is 0.001; of a beta rounded to float32, 5e-5 more",
}


@cache
def group(name):
    index, context = replay.load_group(FOLDER, name)
    return {case["id"]: case for case in index["cases"]}, context


CASES = [(name, case_id) for name in GROUPS for case_id in group(name)[0]]


OCCURRENCES = Counter(case_id for _, case_id in CASES)


@pytest.mark.parametrize("name,case_id", CASES, ids=lambda value: value)
def test_golden(name, case_id):
    cases, context = group(name)
    report = replay.check_case(context, cases[case_id])
    if case_id in EXCEPTIONS or case_id in MATHEMATICS:
        # Two releases may share an id and only one of them the defect.
        assert report.fails or OCCURRENCES[case_id] > 1, (
            f"{case_id} agrees with the recording: drop it from the exceptions"
        )
        return
    assert not report.fails, f"{report.fails}\n{json.dumps(cases[case_id])[:2000]}"


def test_exceptions_name_existing_cases_and_a_register_entry():
    assert set(EXCEPTIONS) | set(MATHEMATICS) <= set(OCCURRENCES)
    for entry in EXCEPTIONS.values():
        assert entry.startswith(("D", "FIX-", "R-")), entry
