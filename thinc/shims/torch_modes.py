"""Switching a torch.nn.Module between training and evaluation, and back as it was."""

import threading
from typing import Any, Callable, Dict, List

from .. import compat

# A way to undo a switch.
Undo = Callable[[], None]


def set_mode(module: Any, training: bool) -> Undo:
    """As module.train(training). Returns a function that brings the old modes back.

    Modules may have modes of their own (a frozen part that is never in training mode),
    and may do something when they are switched; both are respected.
    """
    wrong = []
    for member in _members(module):
        if not _is_plain(member):
            return _switch_by_call(module, training)
        if member.training is not training:
            wrong.append(member)
    if not wrong:
        return _nothing
    # The same without the calls: for small modules they cost more than all the rest.
    _set_flags(wrong, training)
    return lambda: _set_flags(wrong, not training)


def _switch_by_call(module: Any, training: bool) -> Undo:
    before = [(member, member.training) for member in module.modules()]
    module.train(training)

    def undo() -> None:
        module.train(before[0][1])
        for member, mode in before:
            if member.training is not mode:
                member.training = mode

    return undo


def _nothing() -> None:
    pass


def _members(module: Any) -> List[Any]:
    """The modules of a tree, each once: module.modules(), only faster."""
    found = [module]
    seen = {id(module)}
    for member in found:
        for child in member._modules.values():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                found.append(child)
    return found


_plain_types: Dict[type, bool] = {}


def _is_plain(member: Any) -> bool:
    """Whether train() and eval() set the flag of this module and do nothing else."""
    cls = type(member)
    plain = _plain_types.get(cls)
    if plain is None:
        Module = compat.torch.nn.Module
        plain = _plain_types[cls] = (
            cls.train is Module.train  # type: ignore[attr-defined]
            and cls.eval is Module.eval  # type: ignore[attr-defined]
            and not hasattr(cls, "training")
        )
    return plain and "training" in member.__dict__


def _set_flags(members: List[Any], training: bool) -> None:
    for member in members:
        member.__dict__["training"] = training


class EvaluationMode:
    """Puts a module into evaluation mode while somebody is inside, in whatever thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_inside = 0
        self._undo: Undo = _nothing

    def enter(self, module: Any) -> None:
        """Count one more inside. Each call has to be followed by one of leave."""
        with self._lock:
            if self._n_inside == 0:
                self._undo = set_mode(module, False)
            self._n_inside += 1

    def leave(self) -> None:
        """The last one out brings the old modes back."""
        with self._lock:
            self._n_inside -= 1
            if self._n_inside == 0:
                undo, self._undo = self._undo, _nothing
                undo()

    def __reduce__(self) -> Any:
        return EvaluationMode, ()  # a copy has nobody inside
