"""The CUDA kernels: which there are, what they take, how they are launched.

KERNELS is the whole list. `cuda_launch.launch` starts one:

    launch("softmax", "float32", Y, X, rows, cols, 1.0)
    launch("map_values", ("gelu", "float32"), Y, X, Y.size, *params)

The second argument are the template parameters that the caller chooses, in the order
of the kernel's `choices`: a dtype ("float32", "float64", "float16", "bfloat16"), the
name of a formula or of a kind, a dtype of indices. Others follow from the arguments.

The declarations use these types:

    T      what arrays of floats hold; arithmetic is in C: double for float64, else float
    i64    a 64-bit integer: a Python int.  f64: a double, that is a Python float
    T*     written or changed; const T*: read. A pointer marked ? may be None.

All arrays are C-contiguous. Unless stated, an output may be the same array as an input
of the same shape, but may not overlap it otherwise. Sizes of zero launch nothing, so
that outputs stay as they are. Indices outside their table are never followed: they
count as absent, and where a kernel has `status`, an int32[1] that the caller set to
zero, the host can learn of it later: it becomes the position of the last bad one, plus 1.

A Philox stream is named by (seed, stream): each kernel that draws takes one number for
each element of the array, the same ones whatever the grid and the dtype. `step` is an
int64[1] on the device that is added to stream, for captured graphs, or None.
"""

from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from . import cuda_geometry as geometry
from .cuda_geometry import Rule

# dtype -> the type in C++ that stores it, and the one for arithmetic.
STORAGE = {
    "float32": "float",
    "float64": "double",
    "float16": "thinc::Half",
    "bfloat16": "thinc::BFloat16",
}
INDICES = {
    "int32": "int",
    "uint32": "unsigned int",
    "int64": "long long",
    "uint64": "unsigned long long",
}
# Units of copying: the widest that divides rows and addresses.
UNITS = {"1": "unsigned char", "2": "unsigned short", "4": "unsigned int", "16": "thinc::Bytes16"}
# Name in formulas.FORMULAS -> struct in include/thinc/activations.hpp.
FORMULA_STRUCTS = {
    "sigmoid": "Sigmoid",
    "relu": "Relu",
    "clipped_linear": "ClippedLinear",
    "swish": "Swish",
    "hard_swish": "HardSwish",
    "hard_swish_mobilenet": "HardSwishMobilenet",
    "dish": "Dish",
    "gelu": "Gelu",
    "gelu_approx": "GeluApprox",
    "mish": "Mish",
    "tanh": "Tanh",
    "identity": "Identity",
}
NR_PARAMS = 4  # of a formula; those it does not have are 0

# What a template parameter can be: the caller's word -> C++.
CHOICES: Dict[str, Dict[str, str]] = {
    "T": STORAGE,
    "Op": {name: f"thinc::{struct}" for name, struct in FORMULA_STRUCTS.items()},
    "Index": INDICES,
    "Unit": UNITS,
    "Reduction": {"sum": "thinc::Sum", "mean": "thinc::Mean"},
    "Place": {"first": "thinc::First", "last": "thinc::Last"},
    "Spread": {
        "sum": "thinc::Sum",
        "mean": "thinc::Mean",
        "max": "thinc::Max",
        "first": "thinc::First",
        "last": "thinc::Last",
    },
    # Derived from the argument named below; these are the values there are.
    "ITEMS": {str(n): str(n) for n in (0, *geometry.ITEMS)},
    "PIECES": {str(n): str(n) for n in (0, 2, 3)},
    "USUAL": {"0": "0", "3": "3"},
}


def _row_items(cols: int) -> str:
    return str(geometry.row_items(cols))


def _pieces(pieces: int) -> str:
    """The number of pieces if the compiler shall know it, else 0."""
    return str(pieces) if pieces in (2, 3) else "0"


def _usual_pieces(pieces: int) -> str:
    """As _pieces, where each size is too much code to have another."""
    return "3" if pieces == 3 else "0"


DERIVED = {"ITEMS": _row_items, "PIECES": _pieces, "USUAL": _usual_pieces}


class Argument(NamedTuple):
    """Of a kernel. type: "T", "C", "float", "int", ...; for a scalar "i64" or "f64"."""

    name: str
    type: str
    is_array: bool
    is_written: bool
    is_optional: bool


class Kernel(NamedTuple):
    """A kernel template `thinc::name<template...>` in cuda/source.

    template: its parameters, keys of CHOICES. derived: those that follow from an
    argument: parameter -> name of the argument. geometry: the rule for the launch, and
    the names of the arguments that it takes.
    """

    name: str
    source: str
    template: Tuple[str, ...]
    derived: Dict[str, str]
    arguments: Tuple[Argument, ...]
    rule: Rule
    sizes: Tuple[str, ...]
    doc: str

    @property
    def choices(self) -> Tuple[str, ...]:
        """The template parameters that the caller chooses."""
        return tuple(name for name in self.template if name not in self.derived)

    def expression(self, types: Sequence[str]) -> str:
        """The C++ name of an instantiation. types: one word for each template parameter.

        Raises KeyError for a word that its parameter does not know.
        """
        words = []
        for parameter, word in zip(self.template, types, strict=True):
            known = CHOICES[parameter]
            if word not in known:
                raise KeyError(
                    f"CUDA kernel {self.name}: {parameter} is one of {sorted(known)}, got {word!r}."
                )
            words.append(known[word])
        return f"thinc::{self.name}<{', '.join(words)}>" if words else f"thinc::{self.name}"


def _parse(declaration: str) -> Tuple[Argument, ...]:
    """'T* Y, const float*? G, i64 rows' -> arguments."""
    arguments = []
    for part in declaration.split(","):
        words = part.split()
        is_const = words[0] == "const"
        kind, name = words[1:] if is_const else words
        is_array = "*" in kind
        arguments.append(
            Argument(
                name=name,
                type=kind.rstrip("?").rstrip("*"),
                is_array=is_array,
                is_written=is_array and not is_const,
                is_optional=kind.endswith("?"),
            )
        )
    return tuple(arguments)


KERNELS: Dict[str, Kernel] = {}


def _declare(
    source: str,
    name: str,
    template: str,
    declaration: str,
    rule: Rule,
    sizes: str,
    doc: str,
    **derived: str,
) -> None:
    parameters = tuple(template.split()) if template else ()
    KERNELS[name] = Kernel(
        name, source, parameters, derived, _parse(declaration), rule, tuple(sizes.split()), doc
    )


# ---- one element after another -------------------------------------------------

_F = "f64 p0, f64 p1, f64 p2, f64 p3"
_DRAW = "f64 drop, i64 seed, i64 stream, const i64*? step"

_declare(
    "elementwise.cu",
    "map_values",
    "Op T",
    f"T* Y, const T* X, i64 N, {_F}",
    geometry.elements,
    "N",
    "Y = f(X). p0...: the formula's parameters, zeros where it has fewer.",
)
_declare(
    "elementwise.cu",
    "map_slopes",
    "Op T",
    f"T* dX, const T* dY, const T* Z, i64 N, {_F}",
    geometry.elements,
    "N",
    "dX = dY f'(Z); Z is f's value for sigmoid, relu and tanh, else its input.",
)
_declare(
    "elementwise.cu",
    "add_bias",
    "Op T",
    f"T* Y, T*? P, const T* X, const T* bias, i64 rows, i64 cols, {_F}",
    lambda rows, cols: geometry.elements(rows * cols),
    "rows cols",
    "P = X + bias, Y = f(P). X, P, Y: (rows, cols); bias: (cols,). X may be P or Y.",
)
_declare(
    "elementwise.cu",
    "backprop_bias",
    "Op T",
    f"T* dX, C* partials, const T* dY, const T* Z, i64 rows, i64 cols, i64 parts, {_F}",
    lambda cols, parts: geometry.column_tiles(cols, parts),
    "cols parts",
    "dX = dY f'(Z), and partials (parts, cols) of the bias's gradient, the column sums of "
    "dX, for sum_partials. parts: geometry.parts_of(rows).",
)
_declare(
    "elementwise.cu",
    "dropout_mask",
    "",
    f"float* mask, i64 N, {_DRAW}",
    geometry.elements,
    "N",
    "mask: 0 with probability drop, else 1 / (1 - drop). 0 < drop < 1.",
)
_declare(
    "elementwise.cu",
    "dropout",
    "T",
    f"T* Y, const T* X, i64 N, {_DRAW}",
    geometry.elements,
    "N",
    "Y = X times the mask of the same stream, which is not stored. Its own gradient: call "
    "it again on dY.",
)
_declare(
    "elementwise.cu",
    "update_averages",
    "T",
    "float* ema, const T* weights, i64 N, f64 rate",
    geometry.elements,
    "N",
    "ema -= rate (ema - weights)",
)

# ---- rows ---------------------------------------------------------------------------

_declare(
    "rows.cu",
    "softmax",
    "T ITEMS",
    "T* Y, const T* X, i64 rows, i64 cols, f64 inverse_temperature",
    geometry.rows_by_width,
    "rows cols",
    "Softmax of each row of X (rows, cols).",
    ITEMS="cols",
)
_declare(
    "rows.cu",
    "backprop_softmax",
    "T ITEMS",
    "T* dX, const T* Y, const T* dY, i64 rows, i64 cols, f64 inverse_temperature",
    geometry.rows_by_width,
    "rows cols",
    "dX = Y (dY - sum(Y dY)) / temperature",
    ITEMS="cols",
)
_declare(
    "rows.cu",
    "layer_norm",
    "T ITEMS",
    "T* Y, C* mean, C* rstd, const T* X, const T* G, const T* b, i64 rows, i64 cols",
    geometry.rows_by_width,
    "rows cols",
    "Y = (X - mean) rstd G + b of each row. G, b: (cols,); mean, rstd: (rows,), of type C.",
    ITEMS="cols",
)
_declare(
    "rows.cu",
    "backprop_layer_norm",
    "T ITEMS",
    "T* dX, C* partials, const T* dY, const T* X, const C* mean, const C* rstd, const T* G, "
    "i64 rows, i64 cols, i64 parts",
    geometry.parts,
    "parts",
    "dX, and partials (parts, 2, cols) of (dG, db), for sum_partials over 2 cols columns. "
    "parts: geometry.parts_of(rows).",
    ITEMS="cols",
)
_declare(
    "rows.cu",
    "column_partials",
    "T",
    "C* partials, const T* X, i64 rows, i64 cols, i64 parts",
    lambda cols, parts: geometry.column_tiles(cols, parts),
    "cols parts",
    "Column sums of each part of the rows: partials (parts, cols).",
)
_declare(
    "rows.cu",
    "sum_partials",
    "T",
    "T* out, const C* partials, i64 parts, i64 cols, i64 add",
    lambda cols: geometry.column_tiles(cols),
    "cols",
    "out[c] = sum of partials[:, c], in a fixed order; out[c] += it if add is not 0.",
)

# ---- maxout ---------------------------------------------------------------------------

_declare(
    "maxout.cu",
    "maxout",
    "T PIECES",
    "T* best, int*? which, const T* X, const T*? bias, i64 rows, i64 outputs, i64 pieces",
    lambda rows, outputs: geometry.items(rows * outputs),
    "rows outputs",
    "best = max over p of X[b, o, p] + bias[o, p], which: the first piece that attains it; "
    "the first NaN wins. X: (rows, outputs, pieces); best, which: (rows, outputs).",
    PIECES="pieces",
)
_declare(
    "maxout.cu",
    "maxout_layer_norm",
    "T ITEMS USUAL",
    "T* Y, T*? best, int*? which, C* mean, C* rstd, const T* X, const T*? bias, const T* G, "
    "const T* b, i64 rows, i64 outputs, i64 pieces",
    geometry.rows_by_width,
    "rows outputs",
    "maxout, and layer_norm of best, in one pass. best is what backprop_layer_norm needs; "
    "Y and best are two arrays. best may be None for up to 1,024 outputs; beyond, it must be "
    "given.",
    ITEMS="outputs",
    USUAL="pieces",
)
_declare(
    "maxout.cu",
    "backprop_maxout",
    "T",
    "T* dX, const T* dY, const int* which, i64 N, i64 pieces, int*? status",
    lambda N, pieces: geometry.elements(N * pieces),
    "N pieces",
    "dX (N, pieces): dY[n] at which[n], else 0. N: rows times outputs.",
)

# ---- sequences ---------------------------------------------------------------------

_SEQS = "const i64* offsets, i64 nr_seq, i64 rows, i64 width"

_declare(
    "sequences.cu",
    "sequence_offsets",
    "Index",
    "i64* offsets, const Index* lengths, i64 nr_seq, i64 total, i64 minimum, int*? status",
    lambda: geometry.one_block(),
    "",
    "offsets (nr_seq + 1,): where each sequence starts, and the end. status: 1 + the place of "
    "the last length below minimum; nr_seq + 1 if the lengths do not sum to total (unless that "
    "is -1). Negative lengths count as 0. The kernels below clip offsets to [0, rows].",
)
_declare(
    "sequences.cu",
    "sequence_of_row",
    "",
    "int* sequence, const i64* offsets, i64 nr_seq, i64 rows",
    geometry.items,
    "rows",
    "For each row the number of its sequence; -1 beyond the last.",
)
_declare(
    "sequences.cu",
    "seq2col",
    "T",
    "T* Y, const T* X, const i64*? offsets, i64 nr_seq, i64 rows, i64 width, i64 window",
    lambda rows: geometry.warps(rows),
    "rows",
    "Y (rows, 2 window + 1, width): each row with its neighbours in the sequence, zeros "
    "elsewhere. X: (rows, width). Without offsets all rows are one sequence.",
)
_declare(
    "sequences.cu",
    "backprop_seq2col",
    "T",
    "T* dX, const T* dY, const i64*? offsets, i64 nr_seq, i64 rows, i64 width, i64 window",
    lambda rows: geometry.warps(rows),
    "rows",
    "dX (rows, width) of dY (rows, 2 window + 1, width): each row collects what is its own.",
)
_declare(
    "sequences.cu",
    "reduce",
    "Reduction T",
    f"T* Y, const T* X, {_SEQS}",
    geometry.sequence_tiles,
    "nr_seq width",
    "Sum or mean of each sequence's rows: Y (nr_seq, width); zeros for one without rows.",
)
_declare(
    "sequences.cu",
    "reduce_max",
    "T",
    f"T* Y, int* which, const T* X, {_SEQS}",
    geometry.sequence_tiles,
    "nr_seq width",
    "Maxima of each sequence, and the row inside it where each is first attained; the first "
    "NaN wins. Y and which are 0 for a sequence without rows.",
)
_declare(
    "sequences.cu",
    "reduce_place",
    "Place T",
    f"T* Y, const T* X, {_SEQS}",
    lambda nr_seq: geometry.warps(nr_seq),
    "nr_seq",
    "The first or last row of each sequence, zeros for one without rows: Y (nr_seq, width).",
)
_declare(
    "sequences.cu",
    "spread",
    "Spread T",
    f"T* dX, const T* dY, const int*? which, {_SEQS}",
    lambda rows: geometry.warps(rows),
    "rows",
    "The gradient of reduce, reduce_max (which is read for max only) or reduce_place: "
    "dX (rows, width) of dY (nr_seq, width).",
)
_declare(
    "sequences.cu",
    "softmax_sequences",
    "T",
    f"T* Y, const T* X, {_SEQS}",
    geometry.sequence_tiles,
    "nr_seq width",
    "Softmax over the rows of each sequence, column by column.",
)
_declare(
    "sequences.cu",
    "backprop_softmax_sequences",
    "T",
    f"T* dX, const T* dY, const T* Y, {_SEQS}",
    geometry.sequence_tiles,
    "nr_seq width",
    "dX = Y (dY - sum over the sequence's rows of Y dY)",
)

# ---- tables and hashes ---------------------------------------------------------------

_declare(
    "tables.cu",
    "hash_ids",
    "",
    "u32* out, const u64* ids, i64 n, i64 seed",
    geometry.items,
    "n",
    "MurmurHash3 x64-128 of each id: out (n, 4).",
)
_declare(
    "tables.cu",
    "hash_embed",
    "T",
    "T* Y, u32*? rows, const T* E, const u64* ids, i64 n, i64 width, i64 nr_row, i64 seed",
    lambda n: geometry.warps(n),
    "n",
    "Y[i] = the sum of the four rows of E (nr_row, width) named by the words of the id's hash "
    "modulo nr_row, and these as rows (n, 4) unless None. 0 < nr_row < 2^32.",
)
_declare(
    "tables.cu",
    "gather_add",
    "T Index",
    "T* Y, const T* table, const Index* indices, i64 B, i64 K, i64 width, i64 nr_row, int*? status",
    lambda B: geometry.warps(B),
    "B",
    "Y[b] = sum over k of table[indices[b, k]]. table: (nr_row, width); indices: (B, K).",
)
_declare(
    "tables.cu",
    "scatter_add",
    "T Index",
    "T* table, const T* dY, const Index* indices, i64 B, i64 K, i64 width, i64 nr_row, "
    "int*? status",
    lambda B: geometry.warps(B),
    "B",
    "table[indices[b, k]] += dY[b], atomically: the order of additions, hence the last bits, "
    "differ from run to run. dY: (B, width).",
)
_declare(
    "tables.cu",
    "scatter_add_sorted",
    "T Index",
    "T* table, const T* dY, const Index* sorted, const i64* order, i64 n, i64 K, i64 width, "
    "i64 nr_row, int*? status",
    geometry.sequence_tiles,
    "n width",
    "scatter_add without atomics, the same bits every time. order: a stable argsort of the "
    "n = B K flat indices; sorted: the indices in that order.",
)
_declare(
    "tables.cu",
    "ngrams",
    "",
    "u64* out, const u64* keys, i64 count, i64 n",
    geometry.items,
    "count",
    "MurmurHash64A of keys[i : i + n], for each i < count.",
)
_declare(
    "tables.cu",
    "remap_ids",
    "",
    "int* Y, const i64* ids, i64 n, const i64* keys, const int* values, i64 m, i64 default",
    geometry.items,
    "n",
    "Y[i] = values[j] where keys[j] == ids[i], else default. keys: (m,), rising.",
)

# ---- optimizers -------------------------------------------------------------------------
#
# A list of parameters is two arrays on the device:
#   table int64 (params, 7): addresses of weights, gradient, mom1, mom2 and averages (float32;
#       0 if there are none), the number of elements, and the number of the first chunk
#       (cuda_geometry.CHUNK elements each).
#   rates float64 (params, 5): learn_rate, l2, decay, ema_rate, and 1 to divide Adam's step by
#       the root of the second moment, 0 to take it along the first (RAdam's first steps).
# cuda_launch.parameter_table makes the first. M, the type of moments, is C.

_LIST = "const i64* table, const f64* rates, i64 params, i64 chunks"

_declare(
    "optimizers.cu",
    "gradient_squares",
    "T",
    f"f64* partials, {_LIST}",
    lambda chunks: geometry.chunks(chunks),
    "chunks",
    "partials (chunks,): sums of (gradient + l2 weights)^2.",
)
_declare(
    "optimizers.cu",
    "gradient_norms",
    "",
    "f64* norms, const f64* partials, const i64* table, i64 params, i64 chunks",
    lambda params: geometry.warps(params),
    "params",
    "norms (params,): roots of the sums of each parameter's partials.",
)
_declare(
    "optimizers.cu",
    "adam",
    "T",
    f"{_LIST}, const f64*? norms, f64 clip, f64 beta1, f64 beta2, f64 eps",
    lambda chunks: geometry.chunks(chunks),
    "chunks",
    "TrainingMethods.adam_step of all parameters in one launch. With norms, gradient + l2 "
    "weights is scaled to a norm of clip where its norm is at least that.",
)
_declare(
    "optimizers.cu",
    "sgd",
    "T",
    f"{_LIST}, const f64*? norms, f64 clip",
    lambda chunks: geometry.chunks(chunks),
    "chunks",
    "TrainingMethods.sgd_step of all parameters in one launch; norms and clip as in adam.",
)
_declare(
    "optimizers.cu",
    "squares",
    "T",
    "f64* partials, const T* X, i64 N, i64 parts",
    geometry.parts,
    "parts",
    "partials (parts,): sums of squares in double precision. parts: geometry.parts_of(N / 256).",
)
_declare(
    "optimizers.cu",
    "norm",
    "",
    "f64* norm, const f64* partials, i64 parts",
    lambda: geometry.warps(1),
    "",
    "norm (1,): the root of the sum of the partials.",
)
_declare(
    "optimizers.cu",
    "clip_by_norm",
    "T",
    "T* X, i64 N, const f64* norm, f64 threshold",
    geometry.elements,
    "N",
    "X *= threshold / norm where norm >= threshold; a norm of zero or NaN changes nothing.",
)

# ---- LSTM -----------------------------------------------------------------------------------

_declare(
    "lstm.cu",
    "lstm_step",
    "T",
    "T* gates, T* cells, T* H, const T* cells_before, const T* c0, i64 size, i64 continuing, "
    "i64 width",
    lambda size, width: geometry.items(size * width),
    "size width",
    "One time step. gates (size, 4, width): on entry sums, on exit f, i, o, g. cells, H: "
    "(size, width), written. Rows from `continuing` on start from c0 (width,), the others from "
    "the same row of cells_before.",
)
_declare(
    "lstm.cu",
    "backprop_lstm_step",
    "T",
    "T* d_gates, T* d_before, T*? d_entering, const T* dH, const T*? d_cells, const T* gates, "
    "const T* cells, const T* cells_before, const T* c0, i64 size, i64 continuing, i64 width",
    lambda size, width: geometry.items(size * width),
    "size width",
    "The gradient of lstm_step: d_gates (size, 4, width) before the non-linearities; the "
    "gradient of the cells before, of the first `continuing` rows into d_before, which may not "
    "overlap d_cells, of the others into d_entering. d_cells None: zeros.",
)

# ---- layout ------------------------------------------------------------------------------------

_declare(
    "layout.cu",
    "pad_rows",
    "Unit",
    "Unit* out, const i64* pointers, const i64* lengths, i64 nr_seq, i64 longest, i64 width, "
    "i64 time_first",
    lambda nr_seq, longest: geometry.warps(nr_seq * longest),
    "nr_seq longest",
    "Sequences side by side, zeros after each: out (nr_seq, longest, width), or with time_first "
    "(longest, nr_seq, width). pointers, lengths: (nr_seq,), addresses and rows. Widths count "
    "units: launch(.., str(bytes of a unit), ..); cuda_launch.copy_unit chooses.",
)
_declare(
    "layout.cu",
    "unpad_rows",
    "Unit",
    "Unit* out, const Unit* padded, const i64* offsets, const i64*? columns, i64 nr_seq, "
    "i64 rows, i64 longest, i64 batch, i64 width, i64 time_first",
    lambda rows: geometry.warps(rows),
    "rows",
    "The inverse: sequence s, that is rows offsets[s] to offsets[s + 1] of out (rows, width), "
    "from column columns[s] (s if None) of padded, whose batch size is `batch`.",
)
_declare(
    "layout.cu",
    "gather_rows",
    "Unit",
    "Unit* out, const Unit* X, const i64* indices, i64 n, i64 width, i64 nr_row",
    lambda n: geometry.warps(n),
    "n",
    "out[i] = X[indices[i]] for any dtype; zeros for an index outside [0, nr_row).",
)
_declare(
    "layout.cu",
    "position_encode",
    "",
    "float* out, i64 N, i64 D, f64 period",
    lambda N, D: geometry.items(N * D),
    "N D",
    "TrainingMethods.position_encode: sines and cosines, computed in double precision.",
)


def instantiations(kernel: Kernel) -> List[Tuple[str, ...]]:
    """Every combination of template parameters that a kernel has, for the tests."""
    combinations: List[Tuple[Any, ...]] = [()]
    for parameter in kernel.template:
        words = list(CHOICES[parameter])
        combinations = [(*c, word) for c in combinations for word in words]
    return combinations
