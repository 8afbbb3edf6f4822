"""ParamServer: where a model keeps its parameters and gradients."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from ..types import FloatsXd

Key = Tuple[int, str]


class ParamServer:
    """Arrays by (model id, name), optionally mirrored by a proxy.

    A proxy is an object with get_param, set_param, set_grad and inc_grad of the
    same signatures, for instance one that shares parameters between processes:
    parameters are fetched from it and sent to it, gradients go only to it.
    """

    def __init__(
        self,
        params: Optional[Dict[Key, Optional[FloatsXd]]] = None,
        grads: Optional[Dict[Key, FloatsXd]] = None,
        *,
        proxy: Optional[Any] = None,
    ) -> None:
        self._params: Dict[Key, Any] = dict(params or {})
        self._grads: Dict[Key, Any] = dict(grads or {})
        self.proxy = proxy

    @property
    def param_keys(self) -> Tuple[Key, ...]:
        """All registered keys, those without a value included."""
        return tuple(self._params)

    @property
    def grad_keys(self) -> Tuple[Key, ...]:
        """The registered keys that have a gradient."""
        return tuple(key for key in self._params if key in self._grads)

    def has_param(self, model_id: int, name: str) -> bool:
        return (model_id, name) in self._params

    def has_grad(self, model_id: int, name: str) -> bool:
        return (model_id, name) in self._grads

    def get_param(self, model_id: int, name: str) -> FloatsXd:
        """The parameter. Raises KeyError if it is not registered."""
        key = (model_id, name)
        if self.proxy is not None:
            self._params[key] = self.proxy.get_param(model_id, name)
        return self._params[key]

    def get_grad(self, model_id: int, name: str) -> FloatsXd:
        """The gradient. Raises KeyError if there is none."""
        return self._grads[(model_id, name)]

    def set_param(self, model_id: int, name: str, value: Optional[FloatsXd]) -> None:
        if self.proxy is not None:
            self.proxy.set_param(model_id, name, value)
        self._params[(model_id, name)] = value

    def set_grad(self, model_id: int, name: str, value: FloatsXd) -> None:
        """Store value itself, not a copy."""
        if self.proxy is not None:
            self.proxy.set_grad(model_id, name, value)
        else:
            self._grads[(model_id, name)] = value

    def inc_grad(self, model_id: int, name: str, value: FloatsXd) -> None:
        """Add value to the gradient, which starts as a copy of it."""
        key = (model_id, name)
        if self.proxy is not None:
            self.proxy.inc_grad(model_id, name, value)
        elif key in self._grads:
            self._grads[key] += value
        else:
            self._grads[key] = value.copy()
