"""Walking, changing and copying trees of models.

A node may stand in several places of a tree, and a tree may contain itself: every
function here visits a node once.
"""

import copy
from collections import deque
from functools import partial
from typing import Any, Dict, Iterable, Iterator, List

ORDERS = ("bfs", "dfs_pre", "dfs_post")


def walk(root, order: str) -> Iterator:
    """The nodes of a tree, each once. Raises ValueError for an unknown order."""
    if order == "bfs":
        return _breadth_first(root)
    if order == "dfs_pre":
        return _depth_first(root, after=False)
    if order == "dfs_post":
        return _depth_first(root, after=True)
    raise ValueError(f"Invalid order, must be one of: {', '.join(ORDERS)}. Got: {order!r}")


def _breadth_first(root) -> Iterator:
    seen = {id(root)}
    queue = deque([root])
    while queue:
        node = queue.popleft()
        yield node
        for child in node.layers:
            if id(child) not in seen:
                seen.add(id(child))
                queue.append(child)


def _depth_first(root, after: bool) -> Iterator:
    """Depth first without recursion: a node comes before its children, or after them."""
    seen = {id(root)}
    if not after:
        yield root
    stack = [(root, iter(list(root.layers)))]
    while stack:
        node, children = stack[-1]
        for child in children:
            if id(child) not in seen:
                seen.add(id(child))
                if not after:
                    yield child
                stack.append((child, iter(list(child.layers))))
                break
        else:
            stack.pop()
            if after:
                yield node


def remove_node(root, node) -> None:
    """Take `node` out of every list of layers, and unset references that then point
    out of the tree."""
    for parent in list(root.walk()):
        if any(child is node for child in parent.layers):
            parent.layers[:] = [child for child in parent.layers if child is not node]
    rest = list(root.walk())
    inside = {id(member) for member in rest}
    for member in rest:
        for name, target in member._refs.items():
            if id(target) not in inside:
                member._refs[name] = None


def replace_node(root, old, new) -> bool:
    """Put `new` in every place of `old`: lists of layers (changed in place) and references.

    Returns whether `old` is in the tree. The root has no place in its own tree, so it is
    never replaced. `new` may contain `old`, and keeps it.
    """
    nodes = list(root.walk(order="dfs_post"))
    if old is root or not any(node is old for node in nodes):
        return old is root
    for node in nodes:
        if node is old or node is new:
            continue
        if any(child is old for child in node.layers):
            node.layers[:] = [new if child is old else child for child in node.layers]
        for name, target in node._refs.items():
            if target is old:
                node._refs[name] = new
    return True


def copy_tree(root, make, default_init, memo: Dict[int, Any]) -> Any:
    """A copy of the tree with new ids; layers, shims and references that occur several
    times in the tree do so in the copy.

    Deep-copied: parameters, gradients, dims, attributes. Shims copy themselves. Functions
    and ops are shared. A reference to a node outside of the tree is unset in the copy.

    make: from a node to the bare new node (same name, functions, ops; nothing else).
    default_init: the init function that is bound to its own model.
    memo: as for copy.deepcopy, filled with the copies.
    """
    nodes: List[Any] = list(root.walk())
    for node in nodes:
        memo[id(node)] = make(node)
    for node in nodes:
        copied = memo[id(node)]
        if isinstance(node.init, partial) and node.init.func is default_init:
            copied.init = partial(default_init, copied)
        copied._layers[:] = [memo[id(child)] for child in node.layers]
        copied._shims[:] = [_copy_once(shim, memo) for shim in node.shims]
        for name, target in node._refs.items():
            copied._refs[name] = None if target is None else memo.get(id(target))
        copied._dims.update(copy.deepcopy(node._dims, memo))
        copied._attrs.update(copy.deepcopy(node._attrs, memo))
        _copy_arrays(node, copied, memo)
    return memo[id(root)]


def _copy_once(shim, memo: Dict[int, Any]):
    if id(shim) not in memo:
        memo[id(shim)] = shim.copy()
    return memo[id(shim)]


def _copy_arrays(node, copied, memo: Dict[int, Any]) -> None:
    for name in node.param_names:
        value = node.get_param(name) if node.has_param(name) else None
        copied.set_param(name, copy.deepcopy(value, memo))
    for name, grad in stored_grads(node):
        copied.set_grad(name, copy.deepcopy(grad, memo))


def stored_grads(node) -> Iterable:
    """(name, gradient) of every gradient stored in a node, also those of no parameter."""
    server = node._params
    return [(name, grad) for (_, name), grad in server._grads.items()]
