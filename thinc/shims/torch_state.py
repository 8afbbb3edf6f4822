"""The weights of a torch.nn.Module as bytes, and back: all of them, or none."""

import io
import pickle
from typing import Any, Callable, Dict, List

from .. import compat
from ..serialize import DeserializationError

MAX_NAMED = 5  # names in an error message


def default_serialize_torch_model(model: Any) -> bytes:
    """The state_dict of a torch.nn.Module, in the format of torch.save."""
    buffer = io.BytesIO()
    compat.torch.save(model.state_dict(), buffer)
    return buffer.getvalue()


def default_deserialize_torch_model(
    model: Any, state_bytes: bytes, device: Any, weights_only: bool = True
) -> Any:
    """Load what default_serialize_torch_model returned. Returns the model, on the device.

    weights_only: refuse data that holds anything but tensors and plain values. Without it,
        loading runs whatever code the data brings along: for data you trust only.
    Raises DeserializationError (a ValueError) if the data cannot be read or does not fit;
    then the model is as it was.
    """
    if model is None:
        raise DeserializationError(
            "there is no PyTorch module to load weights into: make one first, or give "
            "PyTorchWrapper_v3 a deserialize_model that does"
        )
    load_weights(model, read_state(state_bytes, device, weights_only))
    return model.to(device)


def read_state(state_bytes: bytes, device: Any, weights_only: bool) -> Dict[str, Any]:
    try:
        state = compat.torch.load(
            io.BytesIO(state_bytes), map_location=device, weights_only=weights_only
        )
    except pickle.UnpicklingError as error:
        if not weights_only:
            raise DeserializationError(f"not weights saved by PyTorch: {error}") from error
        reason = str(error).splitlines()[-1]
        raise DeserializationError(
            "the data is damaged, or holds objects other than tensors and plain values, which "
            "could run code when loaded, and so are refused (torch.load with weights_only=True). "
            "If you trust where it comes from, give PyTorchWrapper_v3 the argument "
            "deserialize_model=functools.partial(default_deserialize_torch_model, "
            f"weights_only=False). PyTorch says: {reason}"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, OSError) as error:
        raise DeserializationError(f"not weights saved by PyTorch: {error}") from error
    if not isinstance(state, dict):
        raise DeserializationError(
            f"the data holds a {type(state).__name__}, expected a state_dict with weights by name"
        )
    return state


def load_weights(model: Any, state: Dict[str, Any]) -> None:
    """model.load_state_dict(state), except that after an error nothing has changed."""
    current = model.state_dict()
    mismatches = find_mismatches(current, state)
    # Modules may know how to load state of older versions of themselves.
    before = {name: _copied(value) for name, value in current.items()} if mismatches else {}
    try:
        model.load_state_dict(state)
    except Exception as error:
        if before:
            model.load_state_dict(before)
        reason = "; ".join(mismatches) or str(error)
        raise DeserializationError(
            f"the weights do not fit the {type(model).__name__}: {reason}"
        ) from error


def _copied(value: Any) -> Any:
    return value.clone() if isinstance(value, compat.torch.Tensor) else value


def find_mismatches(current: Dict[str, Any], state: Dict[str, Any]) -> List[str]:
    """What differs between two state dicts in names and shapes, in words."""
    problems = []
    if len(current) != len(state):
        problems.append(f"it has {len(current)} arrays, the data {len(state)}")
    missing = [name for name in current if name not in state]
    unknown = [name for name in state if name not in current]
    if missing:
        problems.append(f"missing are {_listed(missing)}")
    if unknown:
        problems.append(f"unknown are {_listed(unknown)}")
    for name in current:
        if name in state:
            expected, came = (getattr(d[name], "shape", None) for d in (current, state))
            if expected != came:
                problems.append(f"{name!r} is of shape {_plain(came)}, expected {_plain(expected)}")
    return problems


def _plain(shape: Any) -> Any:
    return None if shape is None else tuple(shape)


def _listed(names: List[Any]) -> str:
    shown = ", ".join(repr(name) for name in names[:MAX_NAMED])
    more = len(names) - MAX_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


# What serialize_model and deserialize_model of PyTorchShim are.
SerializeModel = Callable[[Any], bytes]
DeserializeModel = Callable[[Any, bytes, Any], Any]
