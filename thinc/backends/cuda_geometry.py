"""How many blocks of how many threads run a CUDA kernel: pure arithmetic, no device.

Every kernel is correct for any grid of the documented block shape (loops stride over
the grid), so these numbers are about speed alone. They depend on the shapes of the
arguments only, never on the device: where a sum is made of parts, the same shapes give
the same parts, hence the same bits, on every card.
"""

from typing import Callable, NamedTuple, Tuple

Dim3 = Tuple[int, int, int]

WARP = 32
# 256 threads: 8 warps hide the latency of memory with 8 resident blocks an SM
# (2,048 threads, the limit), at up to 32 registers a thread without loss.
BLOCK = 256
# Blocks in flight on the largest card (132 SMs of 8) several times over: the tail of the
# last wave is short, and a loop over the grid still amortizes the start of a block.
MAX_BLOCKS = 4096
# Rows of up to 32 x 32 elements fit the registers of one warp: 32 a lane. Lanes beyond the
# end of a row load nothing, so sizes below 4 would save instructions that nobody waits for.
MAX_ITEMS = 32
ITEMS = (4, 8, 16, MAX_ITEMS)
MAX_WARP_ROW = WARP * MAX_ITEMS
# Tiles of columns: a warp reads 32 neighbouring columns, 8 warps take every eighth row.
TILE_ROWS = 8
MAX_PARTS = 264  # two blocks for each of 132 SMs
# Elements of one parameter that a block of an optimizer updates: 8 a thread.
CHUNK = 2048
# A second dimension of the grid may not be larger; the first could be.
MAX_GRID_Y = 65535
MAX_GRID_X = 1 << 20


class Geometry(NamedTuple):
    """A launch: blocks in the grid, threads in a block."""

    grid: Dim3
    block: Dim3

    @property
    def is_empty(self) -> bool:
        """Nothing to do: CUDA refuses such a launch."""
        return 0 in self.grid


Rule = Callable[..., Geometry]


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def elements(n: int, per_thread: int = 4) -> Geometry:
    """n elements, some neighbouring ones a thread (16 bytes of float32)."""
    return Geometry((min(ceil_div(n, BLOCK * per_thread), MAX_BLOCKS), 1, 1), (BLOCK, 1, 1))


def items(n: int) -> Geometry:
    """n independent items, one a thread."""
    return elements(n, 1)


def row_items(cols: int) -> int:
    """Elements of a row that each lane of a warp keeps in registers, a power of two.

    0: the row is too long for that, and a whole block works on it.
    """
    if cols > MAX_WARP_ROW:
        return 0
    return next(n for n in ITEMS if cols <= n * WARP)


def rows_by_width(rows: int, cols: int) -> Geometry:
    """A warp for each row of up to 1,024 elements, a block for each longer one.

    Short rows: no barrier is needed, eight rows share a block, and sums are five shuffles.
    """
    per_block = BLOCK // WARP if row_items(cols) else 1
    return Geometry((min(ceil_div(rows, per_block), MAX_BLOCKS), 1, 1), (BLOCK, 1, 1))


def warps(rows: int) -> Geometry:
    """A warp for each row, whatever its width."""
    return Geometry((min(ceil_div(rows, BLOCK // WARP), MAX_BLOCKS), 1, 1), (BLOCK, 1, 1))


def parts_of(rows: int) -> int:
    """Into how many parts a sum over rows is cut: at least 16 rows each, at most 264 parts."""
    return max(1, min(ceil_div(rows, 2 * TILE_ROWS), MAX_PARTS))


def parts(count: int) -> Geometry:
    """One block for each part."""
    return Geometry((count, 1, 1), (BLOCK, 1, 1))


def column_tiles(cols: int, count: int = 1) -> Geometry:
    """For each tile of 32 columns and each part of the rows, a block of 8 warps."""
    return Geometry(
        (min(ceil_div(cols, WARP), MAX_GRID_X), min(count, MAX_GRID_Y), 1), (WARP, TILE_ROWS, 1)
    )


def sequence_tiles(nr_seq: int, width: int) -> Geometry:
    """For each sequence and tile of 32 columns, a block of 8 warps."""
    return Geometry(
        (min(nr_seq, MAX_GRID_X), min(ceil_div(width, WARP), MAX_GRID_Y), 1), (WARP, TILE_ROWS, 1)
    )


def one_block() -> Geometry:
    """A single block of 1,024 threads: a scan over a few thousand numbers."""
    return Geometry((1, 1, 1), (1024, 1, 1))


def chunks(count: int) -> Geometry:
    """One block for each chunk of a list of parameters."""
    return Geometry((min(count, MAX_GRID_X), 1, 1), (BLOCK, 1, 1))
