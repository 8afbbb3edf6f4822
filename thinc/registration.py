"""Registering thinc's own functions without importing the registry.

The registry brings catalogue, confection and importlib.metadata, which take as long to
import as all of our modules together, and most programs never look a function up by
name. So our modules announce their functions here, in the registry's own notation
(`@registry.layers("Relu.v1")`), and thinc.config takes them over when it is imported.
"""

from typing import Any, Callable, List, Optional, Tuple, TypeVar

FunctionT = TypeVar("FunctionT")
Receiver = Callable[[str, str, Any], None]

# Modules that nothing else imports, because they are for users of GPUs and of other frameworks
# (which they do not load): their announcements are fetched when the registry is.
LATE_MODULES = (
    "thinc.backends.cupy_ops",
    "thinc.layers.jaxwrapper",
    "thinc.layers.mxnetwrapper",
    "thinc.layers.pytorchlstm",
    "thinc.layers.pytorchwrapper",
)

_waiting: List[Tuple[str, str, Any]] = []
_receiver: Optional[Receiver] = None


class Announcements:
    """Stands in for one registry: a decorator factory that takes a name."""

    def __init__(self, registry_name: str) -> None:
        self.registry_name = registry_name

    def __call__(self, name: str) -> Callable[[FunctionT], FunctionT]:
        def announce(func: FunctionT) -> FunctionT:
            if _receiver is None:
                _waiting.append((self.registry_name, name, func))
            else:
                _receiver(self.registry_name, name, func)
            return func

        return announce


class registry:
    """The registries that our own modules register in."""

    initializers = Announcements("initializers")
    layers = Announcements("layers")
    losses = Announcements("losses")
    ops = Announcements("ops")
    optimizers = Announcements("optimizers")
    schedules = Announcements("schedules")


def take_over(receiver: Receiver) -> None:
    """Pass all announcements, those so far and those to come, to
    receiver(registry name, function name, function)."""
    global _receiver
    _receiver = receiver
    while _waiting:
        receiver(*_waiting.pop(0))
