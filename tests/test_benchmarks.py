"""The benchmarks measure what they say, on all operations, and can see a difference."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
try:
    from benchmarks.duel import Side, Worker, compare, take_turns
    from benchmarks.programs import PROGRAMS
finally:
    sys.path.remove(str(ROOT))

# The methods of Ops in thinc 8.3.14; later ones have no peer to be compared with.
WITH_PEER = set(
    (
        "adam affine alloc alloc1f alloc1i alloc2f alloc2i alloc3f alloc3i alloc4f alloc4i "
        "alloc_f alloc_i as_contig asarray asarray1f asarray1i asarray2f asarray2i asarray3f "
        "asarray3i asarray4f asarray4i asarray_f asarray_i backprop_clipped_linear backprop_dish "
        "backprop_gelu backprop_gelu_approx backprop_hard_sigmoid backprop_hard_swish "
        "backprop_hard_swish_mobilenet backprop_hard_tanh backprop_lstm backprop_maxout "
        "backprop_mish backprop_reduce_first backprop_reduce_last backprop_reduce_max "
        "backprop_reduce_mean backprop_reduce_sum backprop_relu backprop_relu_k backprop_seq2col "
        "backprop_sigmoid backprop_softmax backprop_softmax_sequences backprop_swish cblas "
        "clip_gradient clipped_linear dish dsigmoid dtanh erf flatten gather_add gelu gelu_approx "
        "gemm get_dropout_mask hard_sigmoid hard_swish hard_swish_mobilenet hard_tanh hash "
        "insert_into list2padded logloss lstm_forward_inference lstm_forward_training maxout "
        "minibatch mish multibatch ngrams pad padded2list position_encode reduce_first "
        "reduce_last reduce_max reduce_mean reduce_sum relu relu_k reshape reshape1 reshape1f "
        "reshape1i reshape2 reshape2f reshape2i reshape3 reshape3f reshape3i reshape4 reshape4f "
        "reshape4i reshape_f reshape_i scatter_add sechsq seq2col sigmoid softmax "
        "softmax_sequences swish tile to_numpy unflatten unpad update_averages "
    ).split()
)


@pytest.fixture(scope="module")
def worker():
    with Worker("ours", sys.executable) as worker:
        yield worker


def test_every_operation_is_measured(worker):
    methods = {case.split(" | ")[0] for case in worker.ask("cases", "ops_cases")}
    assert methods == WITH_PEER


def test_every_case_computes_something(worker):
    for case in worker.ask("cases", "ops_cases"):
        method = case.split(" | ")[0]
        if method in ("backprop_lstm", "cblas"):
            continue  # nothing that could be compared with the peer
        arrays = worker.result(f"ops_cases:{case}")
        assert arrays, case
        for array in arrays.values():
            assert array.dtype.kind not in "fc" or numpy.isfinite(array).all(), case
        worker.ask("drop", f"ops_cases:{case}")


# Not the one that works on 84 MB.
@pytest.mark.parametrize(
    "program",
    [program for program in PROGRAMS if program.work != "parts:bytes"],
    ids=lambda program: program.work,
)
def test_programs_run_and_give_finite_numbers(worker, program):
    module, _, name = program.work.partition(":")
    work = f"workloads.{module}:thinc_{name}"
    arrays = worker.result(work)
    assert arrays
    assert all(numpy.isfinite(array).all() for array in arrays.values())
    assert worker.ask("build", work)["flops"] >= 0
    worker.ask("drop", work)


def test_two_runs_compute_the_same(worker):
    work = "workloads.textcat:thinc_attention_train"
    first = worker.result(work)
    with Worker("again", sys.executable) as other:
        assert compare(first, other.result(work), 1e-6, 1e-6) is None
        other.ask("drop", work)
    worker.ask("drop", work)


def test_compare_sees_differences():
    X = numpy.linspace(1, 2, 12).reshape(3, 4)
    changed = X.copy()
    changed[1, 2] *= 1.01
    assert compare({"X": X}, {"X": X.astype("float32")}, 1e-3, 1e-6) is None
    assert "(1, 2)" in str(compare({"X": X}, {"X": changed}, 1e-3, 1e-6))
    assert "shape" in str(compare({"X": X}, {"X": X[:2]}, 1e-3, 1e-6))
    assert "against" in str(compare({"X": X}, {"Y": X}, 1e-3, 1e-6))
    which = numpy.arange(3)
    assert compare({"which": which}, {"which": which[::-1]}, 1e9, 1e9) is not None
    assert compare({"X": numpy.array([math.nan])}, {"X": numpy.ones(1)}, 1, 1) is not None


def test_sides_take_turns(worker):
    sides = [Side(worker, "ops_cases:relu | 32x10"), Side(worker, "ops_cases:mish | 32x10")]
    times = take_turns(sides, rounds=3, min_seconds=1e-4)
    assert [len(values) for values in times] == [3, 3]
    assert all(0 < seconds < 1 for values in times for seconds in values)


def test_a_worker_reports_what_went_wrong():
    request = json.dumps(["build", "workloads.mlp:thinc_nothing"])
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "worker.py")],
        input=request + "\n", capture_output=True, text=True, check=True,
    )
    assert "thinc_nothing" in json.loads(done.stdout)["error"]
