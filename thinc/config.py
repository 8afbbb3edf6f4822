"""The config system: confection's, with thinc's registries of functions."""

import re
from importlib import import_module
from typing import Any, Callable, Dict, Optional, Protocol, TypeVar

import catalogue
import confection
from confection import Config, ConfigValidationError, Promise

from .registration import LATE_MODULES, take_over

__all__ = ["Config", "registry", "ConfigValidationError", "Promise", "VARIABLE_RE"]

# A reference in a config's text: ${section.key}, ${section:key} or ${key}.
VARIABLE_RE = re.compile(r"\$\{[\w\.:]+\}")


FunctionT = TypeVar("FunctionT")


class FunctionRegistry(Protocol):
    """What a catalogue registry can do: catalogue itself has no type annotations."""

    def __call__(
        self, name: str, func: Optional[Any] = None
    ) -> Callable[[FunctionT], FunctionT]: ...

    def register(
        self, name: str, *, func: Optional[Any] = None
    ) -> Callable[[FunctionT], FunctionT]: ...

    def get(self, name: str) -> Any: ...

    def get_all(self) -> Dict[str, Any]: ...

    def find(self, name: str) -> Dict[str, Any]: ...

    def get_entry_points(self) -> Dict[str, Any]: ...

    def get_entry_point(self, name: str, default: Optional[Any] = None) -> Any: ...

    def __contains__(self, name: str) -> bool: ...


class registry(confection.registry):
    """Functions by name, for configs and for other packages.

    Each attribute is a catalogue registry: `@registry.layers("my_layer.v1")` registers
    a function, `registry.layers.get("my_layer.v1")` finds it. Packages can also announce
    functions under the entry-point group "thinc_layers" (and so on).
    """

    optimizers: FunctionRegistry = catalogue.create("thinc", "optimizers", entry_points=True)
    schedules: FunctionRegistry = catalogue.create("thinc", "schedules", entry_points=True)
    layers: FunctionRegistry = catalogue.create("thinc", "layers", entry_points=True)
    losses: FunctionRegistry = catalogue.create("thinc", "losses", entry_points=True)
    initializers: FunctionRegistry = catalogue.create("thinc", "initializers", entry_points=True)
    datasets: FunctionRegistry = catalogue.create("thinc", "datasets", entry_points=True)
    ops: FunctionRegistry = catalogue.create("thinc", "ops", entry_points=True)

    @classmethod
    def create(cls, registry_name: str, entry_points: bool = False) -> None:
        """Add a registry: afterwards `registry.<registry_name>` is a decorator.

        entry_points: whether to look for functions that other packages announce under
            the entry-point group "thinc_<registry_name>".
        Raises ValueError if the class has an attribute of that name.
        """
        if hasattr(cls, registry_name):
            raise ValueError(f"Registry '{registry_name}' already exists")
        reg: Any = catalogue.create("thinc", registry_name, entry_points=entry_points)
        setattr(cls, registry_name, reg)

    @classmethod
    def fill(
        cls,
        config,
        *,
        schema=None,
        overrides: Dict[str, Any] = {},
        interpolate: bool = False,
        validate: bool = True,
    ):
        """Add the default arguments of every registered function (see confection).

        Returns a new Config. Neither this nor `resolve`, which starts with it, changes the
        config given, overrides or not.
        Raises ConfigValidationError if an argument is missing, unknown or of a wrong type.
        """
        return super().fill(
            _own_sections(config),
            schema=schema,
            overrides=overrides,
            interpolate=interpolate,
            validate=validate,
        )


def _own_sections(config):
    """The same config in new dicts, so that overrides stay out of the caller's."""
    if isinstance(config, Config):
        copied = {key: _own_sections(value) for key, value in config.items()}
        return Config(
            copied, is_interpolated=config.is_interpolated, section_order=config.section_order
        )
    if type(config) is dict:
        return {key: _own_sections(value) for key, value in config.items()}
    return config


take_over(lambda kind, name, func: getattr(registry, kind).register(name, func=func))
for _module in LATE_MODULES:
    import_module(_module)
