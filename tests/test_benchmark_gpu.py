"""The GPU benchmark runs: its workloads, small, on fake_cupy. Its numbers need a device."""

import fake_cupy
import numpy
import pytest
from numpy.testing import assert_allclose

from benchmarks import gpu
from thinc import compat
from thinc.api import CupyOps, use_ops

SMALL = {
    "tagger": {"width": 8, "docs": 3},
    "mlp": {"width": 8, "rows": 6},
    "textcat": {"width": 8, "docs": 4},
    "lstm": {"width": 8, "docs": 3},
}


@pytest.mark.parametrize("family", SMALL)
@pytest.mark.parametrize("is_train", [True, False])
def test_workloads_run(family, is_train, monkeypatch):
    fake_cupy.install(monkeypatch)
    workload = gpu.Workload(family, family, SMALL[family], is_train)
    with use_ops("cupy"):
        step, captured = gpu.thinc_step(workload), gpu.thinc_step(workload, captured=True)
        step()
        with fake_cupy.no_waiting():
            result = step()
        assert (result is None) == is_train
        assert (captured is None) == (family == "lstm")  # its steps lie on the host
        if captured is not None:
            with fake_cupy.no_waiting():
                captured()


def test_every_workload_has_all_sides():
    assert {workload.family for workload in gpu.WORKLOADS} == set(gpu.THINC) == set(gpu.TORCH)
    assert set(SMALL) == set(gpu.THINC)
    assert len({workload.name for workload in gpu.WORKLOADS}) == len(gpu.WORKLOADS)


def test_kernels_are_measured_by_the_bytes_they_move(monkeypatch):
    fake_cupy.install(monkeypatch)
    for name, (function, size) in gpu.kernel_cases(CupyOps(), rows=64, width=32).items():
        function()
        assert size >= 64 * 32 * 4, name


def test_ratios_name_the_goals_that_are_missed():
    assert gpu.ratio(1.0, None, 3.0) == "-"
    assert gpu.ratio(1.0, 3.5, 3.0) == "3.500 (3.50x, goal 3.00)"
    assert "MISSED" in gpu.ratio(1.0, 2.0, 3.0)


@pytest.mark.skipif(compat.has_gpu, reason="there is a GPU here")
def test_without_a_device_it_says_what_is_missing(capsys):
    assert gpu.main([]) == 1
    assert "No GPU can be used" in capsys.readouterr().out


def test_inputs_of_the_sides_are_alike():
    docs = gpu.documents(3)
    assert [d.shape[1] for d in docs] == [4, 4, 4]
    rows = gpu.hashed_rows(5, (7, 9))
    assert rows.shape == (5, 2, 4) and rows[:, 0].max() < 7
    assert_allclose(gpu.one_hot(4, 3).sum(axis=1), numpy.ones(4))
