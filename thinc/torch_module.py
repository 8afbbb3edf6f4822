"""A Model inside PyTorch: as_torch_module. PyTorch is imported when it is called."""

from typing import Any

from .interop import assert_pytorch_installed
from .model import Model


def as_torch_module(model: Model) -> Any:
    """A torch.nn.Module that runs a Model: in loops, losses and optimizers of PyTorch.

    The module's parameters are the Model's own arrays, seen as tensors; whatever updates
    the one updates the other. They are named by their place: "layers.0.W" is W of
    model.layers[0]. PyTorch modules wrapped inside the Model are submodules, "shims.0" of
    their node. state_dict, requires_grad, to(), double() and copy.deepcopy work as usual.

    The module is called with what the Model takes, tensors in the place of arrays, also
    inside lists, tuples, dicts, Ragged, Padded, Pairs and ArgsKwargs; everything else passes
    as it is (texts, numpy arrays, ...). Its output is the Model's, with tensors again. In
    training mode the Model runs with is_train=True, in evaluation mode with False. Gradients
    can be taken once, not of gradients.

    Careful: the backward pass of Softmax and its like takes the gradient of the logits. Call
    Y.backward(Y - truth) there; or use a Linear layer and cross_entropy of PyTorch's.

    model: initialized: all parameters have values.

    Raises ImportError if PyTorch is not installed; ValueError for a parameter without a
    value and for a wrapped model of a third framework.
    """
    assert_pytorch_installed()
    from .torch_module_class import ThincModule

    return ThincModule(model)
