"""Recorded outputs of thinc 8.3.14 and 9.1.1 (tests/golden), replayed here.

A case whose recording shows a registered defect of theirs is named in
golden_exceptions.json with the register's entry; it must indeed differ.
"""
import json
from functools import lru_cache
from pathlib import Path

import pytest

from .golden import replay

FOLDER = Path(__file__).parent / "golden"
EXCEPTIONS = json.loads((Path(__file__).parent / "golden_exceptions.json").read_text())
GROUPS = json.loads((FOLDER / "manifest.json").read_text())["groups"]
# Recorded failures of names that live in optional packages, with what they need.


@lru_cache(maxsize=None)
def group(name):
    index, context = replay.load_group(FOLDER, name)
    return {case["id"]: case for case in index["cases"]}, context


CASES = [(name, case_id) for name in GROUPS for case_id in group(name)[0]]


@pytest.mark.parametrize("name,case_id", CASES, ids=lambda value: value)
def test_golden(name, case_id):
    cases, context = group(name)
    report = replay.check_case(context, cases[case_id])
    if case_id in EXCEPTIONS:
        assert report.fails, f"{case_id} agrees with the peer: drop it from the exceptions"
        return
    assert not report.fails, f"{report.fails}\n{json.dumps(cases[case_id])[:2000]}"


def test_exceptions_name_existing_cases_and_a_register_entry():
    known = {case_id for _, case_id in CASES}
    assert set(EXCEPTIONS) <= known
    for entry in EXCEPTIONS.values():
        assert entry.startswith(("D", "FIX-", "R-")), entry
