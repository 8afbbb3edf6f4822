from typing import Any, Callable, Optional, Tuple, cast

from ..freezing import Prediction, when_frozen
from ..model import Model
from ..registration import registry
from ..types import Floats1d, Floats2d, Ints1d
from ..util import get_width
from .dense import accumulate_bias_grad, accumulate_grads
from .input_errors import check_array, describe

InT = Tuple[Ints1d, Floats1d, Ints1d]


@registry.layers("SparseLinear.v1")
def SparseLinear(nO: Optional[int] = None, length: int = 2**18) -> Model[InT, Floats2d]:
    """A linear model of sparse features, with the cells of older releases.

    For models saved by them: all features share the first length + nO cells of W.
    New models should use SparseLinear_v2, to which everything else said there applies.
    """
    return _sparse_linear(nO, length, v1_indexing=True)


@registry.layers("SparseLinear.v2")
def SparseLinear_v2(nO: Optional[int] = None, length: int = 2**18) -> Model[InT, Floats2d]:
    """A linear model of sparse features: Y[r, c] = b[c] + sum over features of weight * value.

    A feature is any 64-bit key. It is hashed twice into the `length` cells of each class
    (MurmurHash3 of 32 bits, seeds 0 and 1), and its weight is the sum of the two.
    Input: keys (m,) integers, values (m,) floats, lengths (batch,) integers: how many
    of the features each row has, in order. Output: floats of shape (batch, nO).
    Parameters: W (nO * length,) and b (nO,), zeros.
    backprop returns the input: keys have no gradient.
    Raises TypeError if the input is not three arrays, ValueError if shapes or dtypes do
    not fit, ValueError or IndexError if lengths do not sum to m.
    """
    return _sparse_linear(nO, length, v1_indexing=False)


def _sparse_linear(nO: Optional[int], length: int, *, v1_indexing: bool) -> Model[InT, Floats2d]:
    return Model(
        "sparse_linear",
        forward,
        init=init,
        params={"W": None, "b": None},
        dims={"nO": nO, "length": length},
        attrs={"v1_indexing": v1_indexing},
    )


def _frozen(model: Model) -> Prediction:
    if model.attrs["v1_indexing"]:  # whose classes are neighbours as it is
        return lambda X: forward(model, X, False)[0]
    ops, W, b = model.ops, model.get_param("W"), model.get_param("b")
    length = model.get_dim("length")
    by_feature = cast(Floats2d, ops.as_contig(W.reshape((-1, length)).T))

    def predict(X: Any) -> Any:
        keys, values, lengths = _checked(ops, X, W)
        cells = ops.sparse_cells(keys, length)
        return ops.sparse_linear_by_feature(by_feature, b, cells, values, lengths)

    return predict


@when_frozen(_frozen)
def forward(model: Model[InT, Floats2d], X: InT, is_train: bool) -> Tuple[Floats2d, Callable]:
    ops = model.ops
    W = model.get_param("W")
    b = model.get_param("b")
    length = model.get_dim("length")
    keys, values, lengths = _checked(ops, X, W)
    v1 = model.attrs["v1_indexing"]
    cells = ops.sparse_cells(keys, length, masked=v1)
    stride = 1 if v1 else length
    Y = ops.sparse_linear(W, b, cells, values, lengths, stride)

    def backprop(dY: Floats2d) -> InT:
        if getattr(dY, "shape", None) != Y.shape:
            raise ValueError(f"expected a gradient of shape {Y.shape}, got {describe(dY)}")
        dY = cast(Floats2d, ops.as_contig(dY))
        accumulate_grads(
            model,
            ("W",),
            lambda dW: ops.backprop_sparse_linear(dW, dY, cells, values, lengths, stride),
        )
        accumulate_bias_grad(model, "b", dY)
        return X

    return Y, backprop


def init(model: Model[InT, Floats2d], X: Optional[InT] = None, Y: Any = None) -> None:
    if Y is not None:
        model.set_dim("nO", get_width(Y))
    nO = model.get_dim("nO")
    model.set_param("W", model.ops.alloc1f(nO * model.get_dim("length")))
    model.set_param("b", model.ops.alloc1f(nO))


def _checked(ops, X: Any, W: Floats1d) -> Tuple[Any, Any, Any]:
    """keys as uint64, values in W's dtype, lengths as int32."""
    expected = "a tuple (keys, values, lengths) of arrays"
    if not isinstance(X, (tuple, list)) or len(X) != 3:
        raise TypeError(f"expected {expected}, got {describe(X)}")
    for part in X:
        check_array(part, expected)
    keys, values, lengths = X
    if keys.ndim != 1 or values.shape != keys.shape or lengths.ndim != 1:
        raise ValueError(
            "expected keys (m,), values (m,) and lengths (batch,), got "
            f"{describe(keys)}, {describe(values)} and {describe(lengths)}"
        )
    if keys.size and keys.dtype.kind not in "iu":
        raise ValueError(f"expected integer keys, got {describe(keys)}")
    if lengths.size and lengths.dtype.kind not in "iu":
        raise ValueError(f"expected integer lengths, got {describe(lengths)}")
    if not keys.size:
        keys = keys.astype("uint64")
    return keys, values.astype(W.dtype, copy=False), ops.asarray1i(lengths)
