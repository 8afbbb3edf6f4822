"""What a Model expects of an object that wraps another framework's model."""

import contextlib
import copy
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, Optional, Tuple


class Shim:
    """A model of another framework, seen from ours.

    A subclass implements __call__, finish_update, to_device, to_bytes and from_bytes
    for one framework; a Model holds shims in its list `shims` and includes them when it
    updates, copies, moves or saves itself.

    model: the other framework's object, whatever it is.
    config: settings that from_bytes needs to rebuild it; copied into `cfg`.
    optimizer: the other framework's optimizer, if it has one.
    """

    global_id: int = 0
    global_id_lock: threading.Lock = threading.Lock()
    cfg: Dict
    _model: Any
    _optimizer: Optional[Any]

    def __init__(self, model: Any, config: Optional[Dict] = None, optimizer: Any = None):
        self.id = self._new_id()
        self.cfg = dict(config) if config is not None else {}
        self._model = model
        self._optimizer = optimizer

    @staticmethod
    def _new_id() -> int:
        # Shims and models share one counter: optimizers keep their state by
        # (id, parameter name), and a shim's parameter may well be called "W".
        from ..model import Model

        with Shim.global_id_lock:
            Shim.global_id = Model._new_id()
            return Shim.global_id

    def __call__(self, inputs: Any, is_train: bool) -> Tuple[Any, Callable[..., Any]]:
        """Run the model: returns its output and a callback from d_output to d_input."""
        raise NotImplementedError(f"{type(self).__name__} does not implement __call__.")

    def predict(self, fwd_args: Any) -> Any:
        """The output only."""
        Y, backprop = self(fwd_args, is_train=False)
        return Y

    def begin_update(self, fwd_args: Any) -> Tuple[Any, Callable[..., Any]]:
        """The output and the callback for the backward pass."""
        return self(fwd_args, is_train=True)

    def finish_update(self, optimizer: Any) -> None:
        """Update the weights with the gradients collected so far, and clear those."""
        raise NotImplementedError(f"{type(self).__name__} does not implement finish_update.")

    @contextlib.contextmanager
    def use_params(self, params: Dict) -> Iterator[None]:
        """Use other weights inside the block. The base class has none to exchange."""
        yield

    def copy(self) -> "Shim":
        """A deep copy, with an id of its own."""
        copied = copy.deepcopy(self)
        copied.id = self._new_id()
        return copied

    def to_device(self, device_type: str, device_id: int) -> None:
        """Move the weights: ("cpu", -1) or ("gpu", number)."""
        raise NotImplementedError(f"{type(self).__name__} does not implement to_device.")

    def to_disk(self, path: Any) -> None:
        """Write to_bytes() to a file."""
        path = Path(path) if isinstance(path, str) else path
        with path.open("wb") as file_:
            file_.write(self.to_bytes())

    def from_disk(self, path: Any) -> "Shim":
        """Load what to_disk wrote."""
        path = Path(path) if isinstance(path, str) else path
        with path.open("rb") as file_:
            return self.from_bytes(file_.read())

    def to_bytes(self) -> bytes:
        """Weights and settings as bytes."""
        raise NotImplementedError(f"{type(self).__name__} does not implement to_bytes.")

    def from_bytes(self, data: bytes) -> "Shim":
        """Load what to_bytes returned."""
        raise NotImplementedError(f"{type(self).__name__} does not implement from_bytes.")
