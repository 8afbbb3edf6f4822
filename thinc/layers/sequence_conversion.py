"""How a batch of sequences reaches a child layer that takes another kind of batch.

Every wrapper of the with_* family has a function choose_conversion: for each kind of
batch it takes, the conversion to what its child takes. A conversion goes both ways, and so does its
gradient: dY enters the child's backprop as X entered the child, and dX leaves as Y did.
"""
from typing import Any, Callable, List, Optional, Sequence, Tuple, Type

import numpy

from ..backends import Ops
from ..data_inputs import as_data, is_data
from ..model import Model
from ..predictions import Predict
from ..types import ArrayXd, Padded, Ragged
from .child_dims import copy_dims_up
from .containers import padded_like
from .inner_rows import knows_inner_rows, predict_padded
from .input_errors import describe


def ragged_maker(like: Ragged) -> Callable[[ArrayXd], Ragged]:
    """A function that gives rows the lengths and trailing shape of a Ragged.

    The function does not keep the Ragged's data alive.
    """
    lengths = like.lengths
    trailing = tuple(like.data_shape[1:])
    return lambda rows: Ragged(rows.reshape((rows.shape[0], *trailing)), lengths)


def row_counts(Xs: Sequence[ArrayXd]) -> List[int]:
    """The number of rows of each sequence."""
    try:
        return [len(x) for x in Xs]
    except TypeError as error:
        raise TypeError(f"expected a list of arrays, got {describe(Xs)}: {error}") from error


def sequence_lengths(ops: Ops, Xs: Sequence[ArrayXd]) -> Any:
    """The number of rows of each sequence: int32, (nSeq,)."""
    return ops.asarray1i(row_counts(Xs))


def padded_maker(ops: Ops, like: Padded) -> Callable[[Any], Padded]:
    """A function that puts sequences, given in their original order, side by side.

    Their columns come in the order of the Padded `like`, so that a gradient fits the
    input column by column, whatever way that input was made. Sequences of other lengths
    than those in `like` are ordered by length.
    """
    n_steps = like.data.shape[0]
    size_at_t, lengths, indices = like.size_at_t, like.lengths, like.indices

    def pad(Xs: Any) -> Padded:
        ordered = [Xs[i] for i in ops._on_host(indices).tolist()]
        if not ordered or [len(x) for x in ordered] != ops._on_host(lengths).tolist():
            return ops.list2padded(Xs)
        batch_first = ops.insert_into((len(ordered), n_steps, *ordered[0].shape[1:]), ordered)
        data: Any = ops.as_contig(ops.xp.swapaxes(batch_first, 0, 1))
        return Padded(data, size_at_t, lengths, indices)

    return pad


class Conversion:
    """From a batch X to what the child takes, and back.

    Made for one X; keeps of it what is needed to bring results into its form (lengths,
    order), not its rows. enter_gradient and leave_gradient are for dY and dX; for most
    kinds they do the same as enter, which takes X, and leave, which takes Y.
    """

    def __init__(self, ops: Ops, X: Any):
        self.ops = ops

    def enter(self, X: Any) -> Any:
        raise NotImplementedError

    def leave(self, Y: Any) -> Any:
        raise NotImplementedError

    def enter_gradient(self, dY: Any) -> Any:
        return self.enter(dY)

    def leave_gradient(self, dX: Any, dY: Any = None) -> Any:
        return self.leave(dX)


# Which conversion a batch needs; None if the child takes it as it is.
ChooseConversion = Callable[[Any], Optional[Type[Conversion]]]


def run_converted(
    layer: Model, X: Any, is_train: bool, conversion: Conversion
) -> Tuple[Any, Callable]:
    """A layer's forward pass between two conversions, and its backward pass likewise."""
    entered = conversion.enter(X)
    if is_train and is_data(X):
        with as_data(entered):
            Y, backprop_layer = layer(entered, is_train)
    else:
        Y, backprop_layer = layer(entered, is_train)
    # Gradients of no sequence may not say how wide they would be, but Y does, and
    # having no rows it is equal to its gradient.
    no_rows = Y if X is None or len(X) == 0 else None

    def backprop(dY: Any) -> Any:
        inner = conversion.enter_gradient(dY) if no_rows is None else no_rows
        dX = backprop_layer(inner)
        # None: a model of another framework, for integers.
        return None if dX is None else conversion.leave_gradient(dX, dY)

    return conversion.leave(Y), backprop


def convert_forward(
    choose: ChooseConversion, model: Model, X: Any, is_train: bool
) -> Tuple[Any, Callable]:
    """The forward pass of a wrapper: of its child, by way of the conversion for X."""
    layer = model.layers[0]
    kind = choose(X)
    if kind is None:
        return layer(X, is_train)
    return run_converted(layer, X, is_train, kind(model.ops, X))


def predict_converted(
    choose: ChooseConversion, ops: Ops, predict: Callable[[Any], Any], X: Any
) -> Any:
    """predict, which takes what a wrapper's child takes, by way of the conversion for X."""
    kind = choose(X)
    if kind is None:
        return predict(X)
    conversion = kind(ops, X)
    return conversion.leave(predict(conversion.enter(X)))


def converted_prediction(choose: ChooseConversion) -> Predict:
    """The prediction of a wrapper: that of its child, by way of the conversion for X."""

    def predict(model: Model, X: Any) -> Any:
        layer, ops = model.layers[0], model.ops
        pad = model.attrs.get("pad")
        if not pad or choose(X) is not ListAsArray:
            return predict_converted(choose, ops, layer.predict, X)
        if len(X) == 1 and _has_rows(X[0]) and knows_inner_rows(layer):
            Y = predict_padded(layer, ops.flatten(X, pad=pad), pad)
            if Y is not None:
                return [Y]
        conversion = ListAsArray(ops, X, pad)
        return conversion.leave(layer.predict(conversion.enter(X)))

    return predict


def _has_rows(X: Any) -> bool:
    return type(X) is numpy.ndarray and X.size > 0 and X.ndim > 0


def convert_init(choose: ChooseConversion, model: Model, X: Any, Y: Any) -> None:
    """The init of a wrapper: of its child, with samples converted like its data."""
    X, Y = (_converted(choose, model.ops, sample) for sample in (X, Y))
    model.layers[0].initialize(X=X, Y=Y)
    copy_dims_up(model)


def _converted(choose: ChooseConversion, ops: Ops, sample: Any) -> Any:
    kind = None if sample is None else choose(sample)
    return sample if kind is None else kind(ops, sample).enter(sample)


# ---- for children that take one array -----------------------------------------------


class ListAsArray(Conversion):
    """Sequences end to end, with `pad` rows of zeros before, between and after them."""

    def __init__(self, ops: Ops, X: Sequence[ArrayXd], pad: int = 0):
        super().__init__(ops, X)
        self.lengths = row_counts(X)
        self.pad = pad

    def enter(self, X):
        return self.ops.flatten(X, pad=self.pad)

    def leave(self, Y):
        return self.ops.unflatten(Y, self.lengths, pad=self.pad)


class RaggedAsArray(Conversion):
    """The rows of a Ragged in the shape they were given in."""

    def __init__(self, ops: Ops, X: Ragged):
        super().__init__(ops, X)
        self.lengths = X.lengths

    def enter(self, X):
        return X.dataXd

    def leave(self, Y):
        return Ragged(Y, self.lengths)


class RaggedAsArray2d(RaggedAsArray):
    """The rows of a Ragged as (rows, width)."""

    def __init__(self, ops: Ops, X: Ragged):
        super().__init__(ops, X)
        self.make_gradient = ragged_maker(X)

    def enter(self, X):
        return X.data

    def enter_gradient(self, dY):
        # The child's output may have had any rank.
        return dY.dataXd

    def leave_gradient(self, dX, dY=None):
        return self.make_gradient(dX)


class PaddedAsArray(Conversion):
    """The data of a Padded, (time, batch, ...). Results are zero where it has no rows."""

    def __init__(self, ops: Ops, X: Padded):
        super().__init__(ops, X)
        self.order = (X.size_at_t, X.lengths, X.indices)
        self.shape = X.data.shape

    def enter(self, X):
        return X.data

    def leave(self, Y):
        return Padded(self._zero_padding(Y), *self.order)

    def enter_gradient(self, dY):
        return self._zero_padding(dY.data)

    def leave_gradient(self, dX, dY=None):
        return padded_like(dY, dX)

    def _zero_padding(self, Y):
        """Y with zeros after the end of each sequence: Y itself if there is no such place."""
        xp = self.ops.xp
        time, batch = self.shape[:2]
        if Y.shape[:2] != (time, batch):
            raise ValueError(
                f"expected an array of shape ({time}, {batch}, ...), the time steps and "
                f"sequences of the Padded, got {Y.shape}"
            )
        size_at_t = self.order[0]
        is_padding = xp.arange(batch)[None, :] >= size_at_t[:, None]
        if xp is numpy:
            if not is_padding.any():
                return Y
            Y = Y.copy()
            Y[is_padding] = 0
            return Y
        # On a GPU, any() and a selection by a mask would have to be waited for.
        return xp.where(is_padding.reshape((time, batch) + (1,) * (Y.ndim - 2)), 0, Y)


class PaddedAsArray2d(PaddedAsArray):
    """The data of a Padded as (time * batch, width)."""

    def enter(self, X):
        return _merge_batch(X.data)

    def leave(self, Y):
        return super().leave(Y.reshape((*self.shape[:2], *Y.shape[1:])))

    def enter_gradient(self, dY):
        return _merge_batch(super().enter_gradient(dY))

    def leave_gradient(self, dX, dY=None):
        return super().leave_gradient(dX.reshape(self.shape), dY)


def _merge_batch(data):
    time, batch, *trailing = data.shape
    return data.reshape((time * batch, *trailing))


# ---- for children that take a list --------------------------------------------------


class RaggedAsList(Conversion):
    """One array for each sequence of a Ragged: views of its rows."""

    def __init__(self, ops: Ops, X: Ragged):
        super().__init__(ops, X)
        self.lengths = X.lengths
        self.make_gradient = ragged_maker(X)

    def enter(self, X):
        return self.ops.unflatten(X.dataXd, self.lengths)

    def leave(self, Ys):
        return Ragged(self.ops.flatten(Ys), self.lengths)

    def leave_gradient(self, dXs, dY=None):
        return self.make_gradient(self.ops.flatten(dXs))


class PaddedAsList(Conversion):
    """The sequences of a Padded, in their original order."""

    def __init__(self, ops: Ops, X: Padded):
        super().__init__(ops, X)
        self.pad = padded_maker(ops, X)

    def enter(self, X):
        return self.ops.padded2list(X)

    def leave(self, Ys):
        return self.pad(Ys)


# ---- for children that take a Ragged ------------------------------------------------


class ListAsRagged(Conversion):
    """Sequences end to end, with their lengths."""

    def __init__(self, ops: Ops, X: Sequence[ArrayXd]):
        super().__init__(ops, X)
        self.lengths = sequence_lengths(ops, X)
        self.trailing = getattr(X[0], "shape", ())[1:] if len(X) else None

    def enter(self, X):
        return Ragged(self.ops.flatten(X), self.lengths)

    def leave(self, Y):
        return self.ops.unflatten(Y.dataXd, Y.lengths)

    def leave_gradient(self, dX, dY=None):
        if self.trailing is None:
            return []
        rows = dX.data.reshape((dX.data.shape[0], *self.trailing))
        return self.ops.unflatten(rows, self.lengths)


class PaddedAsRagged(Conversion):
    """The sequences of a Padded end to end, in their original order."""

    def __init__(self, ops: Ops, X: Padded):
        super().__init__(ops, X)
        self.pad = padded_maker(ops, X)

    def enter(self, X):
        Xs = self.ops.padded2list(X)
        return Ragged(self.ops.flatten(Xs), sequence_lengths(self.ops, Xs))

    def leave(self, Y):
        return self.pad(self.ops.unflatten(Y.dataXd, Y.lengths))


class PairAsRagged(Conversion):
    """A tuple (data, lengths), the fields of a Ragged."""

    def enter(self, X):
        return Ragged(*X)

    def leave(self, Y):
        return (Y.dataXd, Y.lengths)


# ---- for children that take a Padded ------------------------------------------------


class ListAsPadded(Conversion):
    """Sequences side by side, the longest first."""

    def enter(self, X):
        return self.ops.list2padded([] if X is None else X)

    def leave(self, Y):
        return self.ops.padded2list(Y)


class RaggedAsPadded(Conversion):
    """The sequences of a Ragged side by side, the longest first."""

    def __init__(self, ops: Ops, X: Ragged):
        super().__init__(ops, X)
        self.lengths = X.lengths
        self.make_gradient = ragged_maker(X)

    def enter(self, X):
        # A Padded has a width, which 1-d data only have as the Ragged's 2-d data.
        data = X.dataXd if len(X.data_shape) > 2 else X.data
        return self.ops.list2padded(self.ops.unflatten(data, self.lengths))

    def leave(self, Y):
        return Ragged(self.ops.flatten(self.ops.padded2list(Y)), self.lengths)

    def leave_gradient(self, dX, dY=None):
        return self.make_gradient(self.ops.flatten(self.ops.padded2list(dX)))


class ArrayAsPadded(Conversion):
    """An array (time, batch, ...) of sequences that are all equally long."""

    def __init__(self, ops: Ops, X: Any):
        super().__init__(ops, X)
        if X.ndim < 2:
            raise IndexError(f"expected an array of shape (time, batch, ...), got {X.shape}")
        time, batch = X.shape[:2]
        self.order = (
            ops.asarray(numpy.full((time,), batch, dtype="int32")),
            ops.asarray(numpy.full((batch,), time, dtype="int32")),
            ops.asarray(numpy.arange(batch)),
        )

    def enter(self, X):
        return Padded(X, *self.order)

    def leave(self, Y):
        return Y.data


class FieldsAsPadded(Conversion):
    """A tuple of the four fields of a Padded."""

    def enter(self, X):
        return Padded(*X)

    def leave(self, Y):
        return (Y.data, Y.size_at_t, Y.lengths, Y.indices)
