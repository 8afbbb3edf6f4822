"""What happens before a kernel is launched, which needs neither CuPy nor a device."""

import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from thinc.backends import cuda_geometry as geometry
from thinc.backends import cuda_launch
from thinc.backends.cuda_geometry import BLOCK, CHUNK, MAX_BLOCKS, MAX_PARTS, Geometry
from thinc.backends.cuda_kernels import CHOICES, KERNELS, instantiations
from thinc.backends.cuda_launch import copy_unit, parameter_table, prepare

X = numpy.ones((4, 6), dtype="f")


def softmax_arguments(Y=None, rows=4, factor=1.0):
    return numpy.empty_like(X) if Y is None else Y, X, rows, 6, factor


def test_a_launch():
    kernel, types, grid, values = prepare("softmax", "float32", *softmax_arguments())
    assert kernel is KERNELS["softmax"]
    assert kernel.expression(types) == "thinc::softmax<float, 4>"
    assert grid == Geometry((1, 1, 1), (BLOCK, 1, 1))
    assert values[1] is X and values[2:] == (4, 6, 1.0)


def test_numpy_numbers_are_numbers():
    arguments = softmax_arguments(rows=numpy.int32(4), factor=numpy.float32(0.5))
    _, _, _, values = prepare("softmax", "float32", *arguments)
    assert values[2:] == (4, 6, 0.5)
    assert type(values[2]) is int and type(values[4]) is float


@pytest.mark.parametrize(
    "words, arguments, error, message",
    [
        ("int32", softmax_arguments(), KeyError, "T is one of .*'float32'.*got 'int32'"),
        ((), softmax_arguments(), TypeError, r"expected 1 template parameters \(T\)"),
        ("float32", softmax_arguments()[:4], TypeError, r"expected 5 arguments \(Y, X, .*got 4"),
        ("float64", softmax_arguments(), TypeError, "Y is an array of float64, got float32"),
        ("float32", softmax_arguments(rows=-1), ValueError, "rows must be >= 0, got -1"),
        ("float32", softmax_arguments(rows=4.0), TypeError, "rows is an int, got float"),
        ("float32", softmax_arguments(factor="1"), TypeError, "a float, got str"),
        ("float32", (None, *softmax_arguments()[1:]), ValueError, "Y may not be None"),
        ("float32", softmax_arguments(Y=[1.0]), TypeError, "Y is an array, got list"),
        (
            "float32",
            softmax_arguments(Y=numpy.ones((6, 4), "f").T),
            ValueError,
            "Y must be C-contiguous",
        ),
    ],
)
def test_mistakes(words, arguments, error, message):
    with pytest.raises(error, match=message):
        prepare("softmax", words, *arguments)


def test_an_unknown_kernel():
    with pytest.raises(KeyError, match="no CUDA kernel 'softmix'. There are: adam, add_bias"):
        prepare("softmix", "float32")


def test_bfloat16_has_16_bits():
    bits = numpy.zeros(3, "uint16")
    prepare("map_values", ("relu", "bfloat16"), bits, bits, 3, 0.0, 0.0, 0.0, 0.0)
    for other in ("float32", "float16", "int16"):
        array = bits.astype(other)
        with pytest.raises(TypeError, match=f"X is an array of bfloat16, got {other}"):
            prepare("map_values", ("relu", "bfloat16"), bits, array, 3, 0.0, 0.0, 0.0, 0.0)


def test_arrays_on_the_host_are_refused():
    with pytest.raises(TypeError, match="softmax: Y is an array on the host"):
        cuda_launch.launch("softmax", "float32", *softmax_arguments())


def test_optional_arrays():
    arguments = (X, None, X, X[0], 4, 6, 0.0, 0.0, 0.0, 0.0)
    assert prepare("add_bias", ("relu", "float32"), *arguments).arguments[1] is None


def test_the_total_and_the_default_may_be_negative():
    offsets, lengths = numpy.zeros(3, "int64"), numpy.ones(2, "int32")
    prepare("sequence_offsets", "int32", offsets, lengths, 2, -1, 0, None)
    with pytest.raises(ValueError, match="nr_seq must be >= 0"):
        prepare("sequence_offsets", "int32", offsets, lengths, -2, -1, 0, None)


# ---- the table -----------------------------------------------------------------------------


def test_every_source_is_there_and_in_use():
    used = {kernel.source for kernel in KERNELS.values()}
    assert used == {path.name for path in cuda_launch.SOURCES.glob("*.cu")}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=lambda kernel: kernel.name)
def test_declarations(kernel):
    names = [argument.name for argument in kernel.arguments]
    assert len(set(names)) == len(names)
    assert set(kernel.sizes) <= set(names) and set(kernel.derived.values()) <= set(names)
    assert set(kernel.template) <= set(CHOICES)
    assert any(argument.is_written for argument in kernel.arguments) or kernel.name in (
        "adam",
        "sgd",
    )
    assert kernel.doc
    expressions = [kernel.expression(types) for types in instantiations(kernel)]
    assert len(set(expressions)) == len(expressions) >= 1


def test_derived_parameters_are_among_those_compiled():
    for cols in [*range(1, 1100), 10**6]:
        assert str(geometry.row_items(cols)) in CHOICES["ITEMS"]
    for pieces in range(1, 9):
        _, types, _, _ = prepare("maxout", "float32", X[0, :1], None, X[0], None, 1, 1, pieces)
        assert types[1] == (str(pieces) if pieces in (2, 3) else "0")


# ---- geometry -----------------------------------------------------------------------------


@given(n=st.integers(0, 2**45))
def test_grids_are_legal(n):
    for rule in (geometry.elements, geometry.items, geometry.warps):
        grid, block = rule(n)
        assert (n == 0) == rule(n).is_empty
        assert 0 <= grid[0] <= MAX_BLOCKS and block == (BLOCK, 1, 1)


@given(rows=st.integers(0, 2**40), cols=st.integers(0, 2**40))
def test_two_dimensional_grids_are_legal(rows, cols):
    for rule in (geometry.sequence_tiles, lambda r, c: geometry.column_tiles(c, r)):
        grid, block = rule(rows, cols)
        assert grid[0] < 2**31 and grid[1] < 2**16
        assert block == (32, 8, 1)
    assert geometry.row_items(cols) * 32 >= cols or geometry.row_items(cols) == 0


@given(rows=st.integers(0, 2**40))
def test_parts(rows):
    parts = geometry.parts_of(rows)
    assert 1 <= parts <= MAX_PARTS
    assert parts == 1 or rows / parts >= 8


def test_constants_agree_with_the_sources():
    grid = (cuda_launch.SOURCES / "grid.cuh").read_text()
    assert f"TILE_ROWS = {geometry.TILE_ROWS};" in grid and f"WARP = {geometry.WARP};" in grid
    optimizers = (cuda_launch.SOURCES / "optimizers.cu").read_text()
    assert f"CHUNK = {CHUNK};" in optimizers
    assert f"TABLE_FIELDS = {cuda_launch.TABLE_FIELDS};" in optimizers


# ---- helpers -------------------------------------------------------------------------------


def test_copy_unit():
    assert copy_unit(32, 1600) == "16"
    assert copy_unit(32, 1608) == "4"
    assert copy_unit(6) == "2"
    assert copy_unit(3) == "1"
    assert copy_unit(4, 4, 6) == "2"


def test_parameter_table():
    table, chunks = parameter_table([(1, 2, 3, 4, 5, CHUNK + 1), (6, 7, 8, 9, 0, 0), [1] * 6])
    assert table.tolist() == [
        [1, 2, 3, 4, 5, CHUNK + 1, 0],
        [6, 7, 8, 9, 0, 0, 2],
        [1, 1, 1, 1, 1, 1, 2],
    ]
    assert chunks == 3
    with pytest.raises(ValueError, match="got 2 numbers"):
        parameter_table([(1, 2)])


# ---- compilation ---------------------------------------------------------------------------


def test_a_changed_header_changes_what_cupy_caches(tmp_path, monkeypatch):
    """CuPy's cache knows the program's text and options, not the files it includes."""
    before = cuda_launch.source_code("rows.cu")
    assert '#include "rows.cu"' in before and cuda_launch.sources_hash() in before
    files = cuda_launch.source_files()
    assert {"rows.cu", "grid.cuh", "activations.hpp"} <= {path.name for path in files}
    other = tmp_path / "grid.cuh"
    other.write_text("changed")
    changed = [other if path.name == "grid.cuh" else path for path in files]
    monkeypatch.setattr(cuda_launch, "source_files", lambda: changed)
    cuda_launch.sources_hash.cache_clear()
    try:
        assert cuda_launch.source_code("rows.cu") != before
    finally:
        cuda_launch.sources_hash.cache_clear()


class OnDevice:
    """As much of a CuPy array as a launch looks at."""

    def __init__(self, array):
        self.dtype, self.flags = array.dtype, array.flags


class FakeFunction:
    def __init__(self):
        self.launches = []

    def __call__(self, grid, block, arguments):
        self.launches.append((grid, block, arguments))


def test_what_cupy_is_asked_for(monkeypatch):
    """One module for an instantiation; numbers for null pointers; nothing for empty arrays."""
    asked, function = [], FakeFunction()

    class RawModule:
        def __init__(self, code, options, name_expressions):
            asked.append((code, options, name_expressions))

        def get_function(self, name):
            assert name == asked[-1][2][0]
            return function

    module = type(sys)("cupy")
    module.RawModule = RawModule
    monkeypatch.setitem(sys.modules, "cupy", module)
    cuda_launch.load.cache_clear()
    try:
        empty = OnDevice(numpy.empty((0, 6), dtype="f"))
        cuda_launch.launch("softmax", "float32", empty, empty, 0, 6, 1.0)
        assert not asked and not function.launches
        best, pieces = OnDevice(numpy.empty(2, dtype="f")), OnDevice(X[0])
        for _ in range(2):
            cuda_launch.launch("maxout", "float32", best, None, pieces, None, 1, 2, 3)
    finally:
        cuda_launch.load.cache_clear()
    code, options, names = asked[0]
    assert len(asked) == 1 and names == ("thinc::maxout<float, 3>",)
    assert code == cuda_launch.source_code("maxout.cu")
    assert options[0] == "--std=c++17" and all(Path(o[2:]).is_dir() for o in options[1:])
    grid, block, arguments = function.launches[1]
    assert (grid, block) == ((1, 1, 1), (BLOCK, 1, 1))
    assert arguments[0] is best and arguments[1] == 0 and arguments[3:] == (0, 1, 2, 3)


def test_import_is_without_cupy():
    code = "import sys, thinc.backends.cuda_launch; assert 'cupy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
