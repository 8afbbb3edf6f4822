"""Losses: how far guesses are from the truths, and the gradient for training."""

from itertools import chain
from typing import Any, Generic, List, Optional, Sequence, Tuple, TypeVar, Union

from .backends.device_facts import gpu_checks, limits_of
from .loss_targets import WHO, Label, LabelReader, target_and_mask
from .registration import registry
from .types import Floats2d, Ints1d
from .util import get_array_module, is_cupy_array

__all__ = [
    "SequenceCategoricalCrossentropy",
    "CategoricalCrossentropy",
    "L2Distance",
    "CosineDistance",
]

GuessT = TypeVar("GuessT")
TruthT = TypeVar("TruthT")
GradT = TypeVar("GradT")
LossT = TypeVar("LossT")

CategoricalTruths = Union[Ints1d, Floats2d, Sequence[Label], Sequence[Sequence[float]]]


class Loss(Generic[GuessT, TruthT, GradT, LossT]):
    """The interface of all losses. loss(guesses, truths) gives (gradient, value)."""

    def __init__(self, **kwargs: Any) -> None: ...

    def __call__(self, guesses: GuessT, truths: TruthT) -> Tuple[GradT, LossT]:
        """The gradient and the value. The arguments are not changed."""
        return self.get_grad(guesses, truths), self.get_loss(guesses, truths)

    def get_grad(self, guesses: GuessT, truths: TruthT) -> GradT:
        """The gradient, in the form of the guesses."""
        return None  # type: ignore[return-value]

    def get_loss(self, guesses: GuessT, truths: TruthT) -> LossT:
        """The value."""
        return None  # type: ignore[return-value]


class CategoricalCrossentropy(Loss[Floats2d, CategoricalTruths, Floats2d, float]):
    """Softmax outputs against one class for each row, or a probability for each class.

    The gradient is that of the cross-entropy -sum(T log G), G = softmax(Z), with respect to
    the scores Z, namely G - T: Softmax layers pass it on as it is. The value is the sum of
    the squares of that gradient, which is easier to read than to optimize.

    normalize: divide the gradient by the number of rows.
    names: the names of the classes, for truths that are names.
    missing_value: the label that says that the class is unknown. Such a row's gradient is
        zero. None among the labels always says so.
    neg_prefix: what is put before a name in labels that only say which class it is not.
    label_smoothing: the probability taken from the true class and spread over the others.
        Szegedy et al. (2015), arXiv:1512.00567.

    Guesses: floats (N, K) in [0, 1]. Truths: N labels in a list, a tuple or an integer
    array, or an (N, K) array or list of rows with values in [0, 1].
    """

    def __init__(
        self,
        *,
        normalize: bool = True,
        names: Optional[Sequence[str]] = None,
        missing_value: Label = None,
        neg_prefix: Optional[str] = None,
        label_smoothing: float = 0.0,
    ) -> None:
        self.normalize = normalize
        self.names = names
        self.missing_value = missing_value
        self.neg_prefix = neg_prefix
        self.label_smoothing = label_smoothing
        self._name_to_i = {name: i for i, name in enumerate(names or ())}

    def convert_truths(
        self, truths: CategoricalTruths, guesses: Floats2d
    ) -> Tuple[Floats2d, Floats2d]:
        """The target and the mask, new arrays of the shape of the guesses.

        The mask is 0 where nothing is known, otherwise 1. Raises what get_grad raises.
        """
        T, known = self._target_and_mask(truths, guesses)
        xp = get_array_module(guesses)
        mask = xp.ones(T.shape, dtype="float32")
        if known is not None:
            mask *= known
        dtype = T.dtype if T.dtype.kind == "f" else xp.result_type(guesses.dtype, T.dtype)
        return T.astype(dtype), mask

    def _target_and_mask(self, truths: Any, guesses: Floats2d) -> Tuple[Any, Any]:
        """T and M of target_and_mask, T within [0, 1] and of the shape of the guesses."""
        xp = get_array_module(guesses)
        reader = LabelReader(self._name_to_i, self.missing_value, self.neg_prefix)
        read = reader.read(truths, xp)
        T, known = target_and_mask(
            read, guesses.shape, self.label_smoothing, self.missing_value, xp
        )
        if guesses.shape != T.shape:
            raise ValueError(f"{WHO}: mismatched shapes: {guesses.shape} vs {T.shape}.")
        if T is read and _is_outside_unit_interval(T):
            raise ValueError(f"{WHO} with truth values outside the [0,1] interval.")
        return T, known

    def __call__(self, guesses: Floats2d, truths: CategoricalTruths) -> Tuple[Floats2d, float]:
        """The gradient and the value."""
        gradient = self.get_grad(guesses, truths)
        return gradient, _sum_of_squares(gradient)

    def get_grad(self, guesses: Floats2d, truths: CategoricalTruths) -> Floats2d:
        """(G - T) * M, of the shape of the guesses; divided by N if normalize.

        Raises ValueError if the shapes do not match, if a guess or a target is outside
        [0, 1], for a negative label, and for names without `names`; IndexError for a label
        of K or more; KeyError for an unknown name; TypeError for truths of another kind.
        On a GPU, values that only the device knows are not looked at, since the host would
        wait (see set_gpu_checks); the gradient of a row with such a wrong label is NaN.
        """
        gradient = self._difference(guesses, truths)
        if self.normalize and len(guesses):
            gradient /= len(guesses)
        return gradient

    def get_loss(self, guesses: Floats2d, truths: CategoricalTruths) -> float:
        """The sum of the squares of the gradient."""
        return _sum_of_squares(self.get_grad(guesses, truths))

    def _difference(self, guesses: Floats2d, truths: Any) -> Floats2d:
        """(G - T) * M in new memory."""
        xp = get_array_module(guesses)
        if self.names and len(self.names) != guesses.shape[-1]:
            raise ValueError(
                f"{WHO}: there are {len(self.names)} names, but guesses of shape {guesses.shape}."
            )
        if _is_outside_unit_interval(guesses):
            raise ValueError(f"{WHO} with guesses outside the [0,1] interval.")
        T, known = self._target_and_mask(truths, guesses)
        difference: Any = guesses - T
        if difference.dtype.kind != "f":
            difference = difference.astype("float64")
        if known is not None:
            difference = xp.where(known, difference, difference.dtype.type(0))
        return difference


def _is_outside_unit_interval(X: Any) -> bool:
    if is_cupy_array(X) and gpu_checks() is not True:
        # To look would make the host wait for the device.
        limits = limits_of(X)
        return limits is not None and (limits[0] < 0 or limits[1] > 1)
    if not X.size or (X.min() >= 0 and X.max() <= 1):
        return False
    # The rest is slower, but NaN is not outside.
    return bool((X > 1).any() or (X < 0).any())


def _sum_of_squares(X: Any) -> Any:
    return (X * X).sum()


class SequenceCategoricalCrossentropy(
    Loss[Sequence[Floats2d], Sequence[CategoricalTruths], List[Floats2d], float]
):
    """CategoricalCrossentropy of a list of sequences, one array of guesses for each.

    The options are those of CategoricalCrossentropy, but normalize divides the gradients by
    the number of sequences.
    """

    def __init__(
        self,
        *,
        normalize: bool = True,
        names: Optional[Sequence[str]] = None,
        missing_value: Label = None,
        neg_prefix: Optional[str] = None,
        label_smoothing: float = 0.0,
    ) -> None:
        self.normalize = normalize
        self.cc = CategoricalCrossentropy(
            normalize=False,
            names=names,
            missing_value=missing_value,
            neg_prefix=neg_prefix,
            label_smoothing=label_smoothing,
        )

    def __call__(
        self, guesses: Sequence[Floats2d], truths: Sequence[CategoricalTruths]
    ) -> Tuple[List[Floats2d], float]:
        """The gradients and the value; ([], 0.0) without sequences."""
        gradients = self.get_grad(guesses, truths)
        return gradients, self._loss_of(gradients)

    def get_grad(
        self, guesses: Sequence[Floats2d], truths: Sequence[CategoricalTruths]
    ) -> List[Floats2d]:
        """One gradient for each sequence. See CategoricalCrossentropy for the errors."""
        if len(guesses) != len(truths):
            raise ValueError(
                "Cannot calculate SequenceCategoricalCrossentropy loss: guesses and truths must "
                f"be same length, got {len(guesses)} and {len(truths)}."
            )
        together = _concatenated(guesses, truths)
        if together is None:
            gradients = [self.cc.get_grad(G, t) for G, t in zip(guesses, truths, strict=True)]
        else:
            gradients = _split(self.cc.get_grad(*together), guesses)
        if self.normalize:
            for gradient in gradients:
                gradient /= len(guesses)
        return gradients

    def get_loss(self, guesses: Sequence[Floats2d], truths: Sequence[CategoricalTruths]) -> float:
        """The sum of the squares of all gradients."""
        return self._loss_of(self.get_grad(guesses, truths))

    def _loss_of(self, gradients: List[Floats2d]) -> float:
        return sum((_sum_of_squares(gradient) for gradient in gradients), 0.0)


def _concatenated(guesses: Sequence, truths: Sequence) -> Optional[Tuple[Any, Any]]:
    """All sequences as one, if they are so alike that nothing changes; else None."""
    if len(guesses) < 2:
        return None
    first = guesses[0]
    for G, t in zip(guesses, truths, strict=True):
        if G.shape[1:] != first.shape[1:] or G.dtype != first.dtype or len(G) != len(t):
            return None
    xp = get_array_module(first)
    if all(getattr(t, "ndim", 0) == 1 and t.dtype.kind in "iu" for t in truths):
        labels: Any = xp.concatenate(truths)
    elif all(isinstance(t, list) for t in truths):
        labels = list(chain.from_iterable(truths))
        kinds = set(map(type, labels)) - {type(None)}
        if kinds not in ({str}, {int}):
            return None
    else:
        return None
    return xp.concatenate(guesses), labels


def _split(X: Any, like: Sequence) -> List[Any]:
    parts = []
    start = 0
    for array in like:
        parts.append(X[start : start + len(array)])
        start += len(array)
    return parts


class L2Distance(Loss[Floats2d, Floats2d, Floats2d, float]):
    """Squared Euclidean distance.

    The gradient is G - T, half of that of the square; divided by N if normalize. The value is
    the sum of the squares of that gradient, so it carries 1/N^2 if normalize.
    """

    def __init__(self, *, normalize: bool = True) -> None:
        self.normalize = normalize

    def __call__(self, guesses: Floats2d, truths: Floats2d) -> Tuple[Floats2d, float]:
        """The gradient and the value."""
        gradient = self.get_grad(guesses, truths)
        return gradient, _sum_of_squares(gradient)

    def get_grad(self, guesses: Floats2d, truths: Floats2d) -> Floats2d:
        """G - T, of any equal shapes; ValueError if they differ."""
        if guesses.shape != truths.shape:
            raise ValueError(
                "Cannot calculate L2 distance: mismatched shapes: "
                f"{guesses.shape} vs {truths.shape}."
            )
        difference: Any = guesses - truths
        if self.normalize and len(guesses):
            difference = difference / len(guesses)
        return difference

    def get_loss(self, guesses: Floats2d, truths: Floats2d) -> float:
        """The sum of the squares of the gradient."""
        return _sum_of_squares(self.get_grad(guesses, truths))


class CosineDistance(Loss[Floats2d, Floats2d, Floats2d, float]):
    """One minus the cosine of the angle between each guess and its truth.

    normalize: divide value and gradient by N. ignore_zeros: leave out rows whose truth is all
    zeros. 1e-8 is added to every number, so that a zero vector has a direction, that of ones.
    """

    def __init__(self, *, normalize: bool = True, ignore_zeros: bool = False) -> None:
        self.normalize = normalize
        self.ignore_zeros = ignore_zeros

    def __call__(self, guesses: Floats2d, truths: Floats2d) -> Tuple[Floats2d, float]:
        """The gradient and the value."""
        return self.get_grad(guesses, truths), self.get_loss(guesses, truths)

    def get_similarity(self, guesses: Floats2d, truths: Floats2d) -> Floats2d:
        """The cosines, (N, 1). ValueError if the shapes differ."""
        g, t = self._shifted(guesses, truths)
        return (g * t).sum(axis=1, keepdims=True) / (_norms(g) * _norms(t))

    def get_grad(self, guesses: Floats2d, truths: Floats2d) -> Floats2d:
        """c g / |g|^2 - t / (|g| |t|), c the cosine: the derivative of 1 - c, row by row."""
        g, t = self._shifted(guesses, truths)
        g_norms = _norms(g)
        norms = g_norms * _norms(t)
        cosines = (g * t).sum(axis=1, keepdims=True) / norms
        gradient = cosines * g / (g_norms * g_norms) - t / norms
        if self.ignore_zeros:
            gradient = _without(gradient, _zero_rows(truths))
        if self.normalize and len(guesses):
            gradient /= len(guesses)
        return gradient

    def get_loss(self, guesses: Floats2d, truths: Floats2d) -> float:
        """The sum of |c - 1| over the rows."""
        losses: Any = abs(self.get_similarity(guesses, truths) - 1)
        if self.ignore_zeros:
            losses = _without(losses, _zero_rows(truths))
        loss = losses.sum()
        if self.normalize and len(guesses):
            loss = loss / len(guesses)
        return loss

    def _shifted(self, guesses: Floats2d, truths: Floats2d) -> Tuple[Any, Any]:
        if guesses.shape != truths.shape:
            raise ValueError(
                "Cannot calculate cosine similarity: mismatched shapes: "
                f"{guesses.shape} vs {truths.shape}."
            )
        return guesses + 1e-8, truths + 1e-8


def _norms(X: Any) -> Any:
    return get_array_module(X).linalg.norm(X, axis=1, keepdims=True)


def _without(X: Any, rows: Any) -> Any:
    """X with zeros in the rows of a mask. By a selection, for which nothing waits on a GPU."""
    return get_array_module(X).where(rows[:, None], X.dtype.type(0), X)


def _zero_rows(X: Any) -> Any:
    return (X == 0).all(axis=1)


# ---- for configs: each version has the options it was published with -----------------


@registry.losses("CategoricalCrossentropy.v1")
def configure_CategoricalCrossentropy_v1(
    *,
    normalize: bool = True,
    names: Optional[Sequence[str]] = None,
    missing_value: Optional[Union[str, int]] = None,
) -> CategoricalCrossentropy:
    """CategoricalCrossentropy with the options of version 1."""
    return CategoricalCrossentropy(normalize=normalize, names=names, missing_value=missing_value)


@registry.losses("CategoricalCrossentropy.v2")
def configure_CategoricalCrossentropy_v2(
    *,
    normalize: bool = True,
    names: Optional[Sequence[str]] = None,
    missing_value: Optional[Union[str, int]] = None,
    neg_prefix: Optional[str] = None,
) -> CategoricalCrossentropy:
    """CategoricalCrossentropy with the options of version 2: neg_prefix."""
    return CategoricalCrossentropy(
        normalize=normalize, names=names, missing_value=missing_value, neg_prefix=neg_prefix
    )


@registry.losses("CategoricalCrossentropy.v3")
def configure_CategoricalCrossentropy_v3(
    *,
    normalize: bool = True,
    names: Optional[Sequence[str]] = None,
    missing_value: Optional[Union[str, int]] = None,
    neg_prefix: Optional[str] = None,
    label_smoothing: float = 0.0,
) -> CategoricalCrossentropy:
    """CategoricalCrossentropy with all options."""
    return CategoricalCrossentropy(
        normalize=normalize,
        names=names,
        missing_value=missing_value,
        neg_prefix=neg_prefix,
        label_smoothing=label_smoothing,
    )


@registry.losses("SequenceCategoricalCrossentropy.v1")
def configure_SequenceCategoricalCrossentropy_v1(
    *, normalize: bool = True, names: Optional[Sequence[str]] = None
) -> SequenceCategoricalCrossentropy:
    """SequenceCategoricalCrossentropy with the options of version 1."""
    return SequenceCategoricalCrossentropy(normalize=normalize, names=names)


@registry.losses("SequenceCategoricalCrossentropy.v2")
def configure_SequenceCategoricalCrossentropy_v2(
    *,
    normalize: bool = True,
    names: Optional[Sequence[str]] = None,
    neg_prefix: Optional[str] = None,
) -> SequenceCategoricalCrossentropy:
    """SequenceCategoricalCrossentropy with the options of version 2: neg_prefix."""
    return SequenceCategoricalCrossentropy(normalize=normalize, names=names, neg_prefix=neg_prefix)


@registry.losses("SequenceCategoricalCrossentropy.v3")
def configure_SequenceCategoricalCrossentropy_v3(
    *,
    normalize: bool = True,
    names: Optional[Sequence[str]] = None,
    missing_value: Optional[Union[str, int]] = None,
    neg_prefix: Optional[str] = None,
    label_smoothing: float = 0.0,
) -> SequenceCategoricalCrossentropy:
    """SequenceCategoricalCrossentropy with all options."""
    return SequenceCategoricalCrossentropy(
        normalize=normalize,
        names=names,
        missing_value=missing_value,
        neg_prefix=neg_prefix,
        label_smoothing=label_smoothing,
    )


@registry.losses("L2Distance.v1")
def configure_L2Distance(*, normalize: bool = True) -> L2Distance:
    """L2Distance."""
    return L2Distance(normalize=normalize)


@registry.losses("CosineDistance.v1")
def configure_CosineDistance(
    *, normalize: bool = True, ignore_zeros: bool = False
) -> CosineDistance:
    """CosineDistance."""
    return CosineDistance(normalize=normalize, ignore_zeros=ignore_zeros)
