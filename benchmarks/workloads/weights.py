"""The same numbers as weights for every library."""
import zlib
from typing import Dict

import numpy


def drawn(name: str, *shape: int) -> numpy.ndarray:
    """Weights that depend on the name and shape alone, of a size that keeps signals alive."""
    rng = numpy.random.default_rng(zlib.crc32(name.encode()))
    fan_in = shape[-1] if len(shape) > 1 else 10
    return (rng.normal(size=shape) / numpy.sqrt(fan_in)).astype("float32")


def set_weights(model) -> None:
    """Give each parameter of a thinc model drawn("layer.param#n", ...), n counting from 0."""
    counts: Dict[str, int] = {}
    for node in model.walk():
        for param in node.param_names:
            if param == "HC0":
                continue  # an LSTM's initial states stay zero
            name = f"{node.name}.{param}"
            n = counts.setdefault(name, 0)
            counts[name] += 1
            node.set_param(param, drawn(f"{name}#{n}", *node.get_param(param).shape))


def load(parameter, *name_and_shape) -> None:
    """Copy drawn numbers into a PyTorch parameter, reshaped to fit."""
    import torch

    with torch.no_grad():
        values = torch.from_numpy(drawn(*name_and_shape))
        parameter.copy_(values.reshape(parameter.shape))
