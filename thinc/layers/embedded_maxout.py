"""Frozen hash embeddings under a frozen Maxout, as tok2vec layers begin: one step, not two.

Every embedding is a sum of rows, and a product with a sum is a sum of products: once nothing
changes any more, each row of the tables can meet its part of the weights beforehand. What is
left to do for a word is to add up rows, a small part of the product's time.
"""
from functools import partial
from typing import Any, List, NamedTuple, Optional, Tuple

from ..freezing import Prediction, Watch
from ..model import Model
from .chain import FUSIONS, predict_in_turn
from .chain import forward as run_chain
from .concatenate import forward as run_concatenate
from .hashembed import hash_columns
from .maxout import forward as run_maxout
from .sequence_conversion import predict_converted
from .with_array import choose_conversion
from .with_array import forward as run_with_array


class Pair(NamedTuple):
    """Two layers of a chain that predict as one, while nothing about them has changed."""

    predict: Prediction
    watch: Watch


def fuse(first: Model, second: Model) -> Optional[Pair]:
    """The two layers as one, if the first embeds and the second begins with a Maxout; or None.

    Each may stand in a with_array. All have to be frozen.
    """
    wrapped = [layer._func is run_with_array for layer in (first, second)]
    if wrapped[0] != wrapped[1] or (wrapped[0] and (first.attrs["pad"] or second.attrs["pad"])):
        return None
    embed, mix = (first.layers[0], second.layers[0]) if wrapped[0] else (first, second)
    columns = hash_columns(embed.layers if embed._func is run_concatenate else [embed])
    maxout, rest = _first_maxout(mix)
    watched = [*first.walk(), *second.walk()]
    if columns is None or maxout is None or not all(node.is_frozen for node in watched):
        return None
    W, b = maxout.get_param("W"), maxout.get_param("b")
    compute = maxout.ops.frozen_embedded_maximum(*columns, W, b)
    if compute is None:
        return None

    def predict(ids: Any) -> Any:
        return predict_in_turn(rest, compute(ids))

    whole = partial(predict_converted, choose_conversion, first.ops, predict)
    return Pair(whole if wrapped[0] else predict, Watch(watched, ("index", "seed", "pad")))


FUSIONS.append(fuse)


def _first_maxout(model: Model) -> Tuple[Optional[Model], List[Model]]:
    """The Maxout that a layer begins with, if any, and what comes behind it."""
    rest: List[Model] = []
    while model._func is run_chain and model.layers:
        rest = model.layers[1:] + rest
        model = model.layers[0]
    return (model, rest) if model._func is run_maxout else (None, rest)
