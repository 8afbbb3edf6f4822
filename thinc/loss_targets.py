"""From the truths a user gives, to target probabilities and a mask."""

from numbers import Integral
from operator import index
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy

from .backends.device_facts import facts_of, gpu_checks, limits_of, remember_upload
from .util import _check_smoothing, get_array_module, to_categorical

WHO = "Cannot calculate CategoricalCrossentropy loss"

# A class's position or name, or what stands for an unknown one.
Label = Union[int, str, None]


class Labels(NamedTuple):
    """One class for each row.

    classes: ints (N,). missing: bools (N,), whether the row does not count, or None if all
    rows do. negative: bools (N,), whether the row is known *not* to be of its class, or None.
    """

    classes: Any
    missing: Any = None
    negative: Any = None


class LabelReader(NamedTuple):
    """Understands truths: names of classes, their numbers, or probabilities.

    class_of: the classes by name. missing_value: the label that stands for an unknown class.
    neg_prefix: what comes before a class's name in labels that say "not this one".
    """

    class_of: Dict[str, int]
    missing_value: Label
    neg_prefix: Optional[str]

    def read(self, truths: Any, xp: Any) -> Any:
        """Labels, if truths has one item for each row; otherwise an array, as it is.

        truths: a list, a tuple or an array of labels, or an array or a list of rows. xp: the
        module of the arrays wanted.
        """
        if hasattr(truths, "dtype"):
            if truths.ndim == 1 and truths.dtype.kind in "iub":
                return self._from_array(xp.asarray(truths))
            if truths.shape == (0,):
                return Labels(xp.zeros(0, dtype="int64"))
            if truths.dtype.kind not in "OUS":
                return xp.asarray(truths)
            truths = truths.tolist()
        if not isinstance(truths, (list, tuple)):
            raise TypeError(f"{WHO}: expected truths as an array or a list, got {type(truths)}.")
        first = next((item for item in truths if item is not None), None)
        if isinstance(first, (list, tuple)) or getattr(first, "ndim", 0) > 0:
            return xp.stack([xp.asarray(row) for row in truths])
        if first is None or isinstance(first, (Integral, numpy.bool_)):
            return self._from_ints(truths, xp)
        return self._from_names(truths, xp)

    def _from_array(self, classes: Any) -> Labels:
        if not _is_int(self.missing_value):
            return Labels(classes)
        xp = get_array_module(classes)
        host = None if xp is numpy else facts_of(classes).host
        if host is not None:
            # What the host knows is better said there.
            labels = self._from_array(host)
            return Labels(_sent(labels.classes, xp), xp.asarray(labels.missing))
        missing = classes == self.missing_value
        # A missing label need not be a class.
        return Labels(xp.where(missing, 0, classes), missing)

    def _from_ints(self, truths: Sequence, xp: Any) -> Labels:
        try:
            classes = numpy.array([_position(item) for item in truths], dtype="int64")
        except TypeError:
            raise TypeError(f"{WHO}: expected integers as truths, got {truths!r:.200}.") from None
        labels = self._from_array(classes)
        missing = labels.missing
        if None in truths:
            unknown = numpy.array([item is None for item in truths])
            missing = unknown if missing is None else missing | unknown
        return Labels(
            _sent(labels.classes, xp), None if missing is None else xp.asarray(missing)
        )

    def _from_names(self, truths: Sequence, xp: Any) -> Labels:
        if not self.class_of:
            raise ValueError(
                "Cannot calculate loss from list of strings without names. You can pass the "
                "names as a keyword argument when you create the loss object, e.g. "
                "CategoricalCrossentropy(names=['dog', 'cat'])"
            )
        classes: List[int] = []
        missing: List[bool] = []
        negative: List[bool] = []
        prefix = self.neg_prefix
        for item in truths:
            is_missing = item is None or item == self.missing_value
            is_negative = False
            if prefix is not None and not is_missing and str(item).startswith(prefix):
                is_negative = True
                item = item[len(prefix) :]
            missing.append(is_missing)
            negative.append(is_negative)
            classes.append(0 if is_missing else self.class_of[item])
        return Labels(
            _sent(numpy.array(classes, dtype="int64"), xp),
            xp.asarray(missing) if any(missing) else None,
            xp.asarray(negative) if any(negative) else None,
        )


def _sent(classes: Any, xp: Any) -> Any:
    """Labels from the host as an array of xp, which knows their limits."""
    return classes if xp is numpy else remember_upload(xp.asarray(classes), classes)


def _position(item: Any) -> int:
    if item is None:
        return 0
    return int(item) if isinstance(item, numpy.bool_) else index(item)


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def target_and_mask(
    truths: Any, shape: Tuple[int, ...], label_smoothing: float, missing_value: Label, xp: Any
) -> Tuple[Any, Any]:
    """What LabelReader.read gave, as target probabilities T and a mask M.

    T: floats (N, K). M: bools, (N, 1) or (N, K), false where nothing is known; None if it
    would be true everywhere. shape: that of the guesses, (N, K).
    Raises ValueError for probabilities together with label_smoothing.
    """
    if isinstance(truths, Labels):
        return _from_labels(truths, shape[-1], label_smoothing, xp)
    if label_smoothing:
        raise ValueError(
            "Label smoothing is only applied, when truths have type List[str], List[int] or "
            f"Ints1d, but it was applied to an array of shape {truths.shape}."
        )
    known = None
    if _is_int(missing_value) and truths.ndim == 2 and truths.shape[-1]:
        known = truths.argmax(axis=-1)[:, None] != missing_value
    return truths, known


def _from_labels(labels: Labels, K: int, smoothing: float, xp: Any) -> Tuple[Any, Any]:
    classes, missing, negative = labels
    T = _one_hot(classes, K, smoothing, xp)
    known = None if missing is None else ~missing[:, None]
    if negative is not None:
        is_class = classes[:, None] == xp.arange(K)
        T = xp.where(negative[:, None], xp.float32(0), T)
        seen = ~negative[:, None] | is_class
        known = seen if known is None else known & seen
    return T, known


def _one_hot(classes: Any, K: int, smoothing: float, xp: Any) -> Any:
    """to_categorical, but labels that only a GPU knows are not looked at: NaN if wrong."""
    limits = None if xp is numpy else limits_of(classes)
    is_known = limits is not None and limits[0] >= 0 and limits[1] < K
    if xp is numpy or not classes.size or (gpu_checks() is True and not is_known):
        return to_categorical(classes, n_classes=K, label_smoothing=smoothing)
    if limits is not None and not is_known:
        # The message is that of the CPU.
        lowest_and_highest: Any = numpy.array(limits, dtype="int64")
        to_categorical(lowest_and_highest, n_classes=K, label_smoothing=smoothing)
    _check_smoothing(smoothing, K, classes.size)
    others = xp.float32(smoothing / (K - 1) if smoothing else 0.0)
    column = classes[:, None]
    T = xp.where(column == xp.arange(K), xp.float32(1.0 - smoothing), others)
    return T if is_known else xp.where((column >= 0) & (column < K), T, xp.float32(numpy.nan))
