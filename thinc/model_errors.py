"""Where in a tree of layers an error happened.

A layer that fails states the fact: "input width 64 does not match nI=96". As the
exception travels outwards, every Model it passes adds its part of the place, until it
reads: relu (layers[1].layers[0] of "residual(relu>>linear)"): input width 64 does ...
"""

from collections import deque
from typing import NamedTuple, Optional

# What a layer raises on purpose, or numpy inside it. Anything else passes untouched.
LAYER_ERRORS = (ValueError, TypeError, KeyError, IndexError)

_ATTRIBUTE = "_thinc_place"


class Place(NamedTuple):
    """What an exception knows of its way so far."""

    fact: str  # the message as it was raised
    message: str  # the message as we left it
    leaf: str  # name of the node that raised it
    head: object  # the outermost node it has passed
    path: str  # from the head to that node: "layers[1].layers[0]", or ""


def add_place(error: BaseException, node) -> None:
    """Add to the error's message that it passes `node`.

    The exception stays the same object, so type and traceback stay too. Only a message
    that is one string can be extended: exceptions of another form are left alone.
    """
    args = error.args
    if len(args) != 1 or type(args[0]) is not str:
        return
    before: Optional[Place] = getattr(error, _ATTRIBUTE, None)
    if before is None or before.message != args[0]:
        fact, leaf, path = args[0], node.name, ""
    elif before.head is node:
        return
    else:
        fact, leaf = before.fact, before.leaf
        path = join(path_between(node, before.head), before.path)
    message = f"{place_text(leaf, path, node.name)}: {fact}"
    try:
        setattr(error, _ATTRIBUTE, Place(fact, message, leaf, node, path))
    except AttributeError:  # an exception class with slots
        return
    error.args = (message,)


def place_text(leaf: str, path: str, root: str) -> str:
    """'relu (layers[1] of "linear>>relu")', or 'relu' if the node is the root."""
    return f'{leaf} ({path} of "{root}")' if path else leaf


def describe_node(root, node) -> str:
    """The name of a node with its place below `root`."""
    return place_text(node.name, "" if node is root else path_between(root, node), root.name)


def join(outer: str, inner: str) -> str:
    return f"{outer}.{inner}" if inner else outer


def path_between(top, node) -> str:
    """The way from `top` down to `node`: "layers[1].layers[0]".

    A node that is not below `top` (one that a forward function keeps elsewhere, say in an
    attribute) is given by its name.
    """
    seen = {id(top)}
    queue = deque([(top, "")])
    while queue:
        parent, path = queue.popleft()
        for i, child in enumerate(parent.layers):
            here = f"{path}.layers[{i}]" if path else f"layers[{i}]"
            if child is node:
                return here
            if id(child) not in seen:
                seen.add(id(child))
                queue.append((child, here))
    return f'"{getattr(node, "name", node)}"'
