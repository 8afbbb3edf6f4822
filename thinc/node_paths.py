"""Names for the nodes and parameters of a tree of layers, for those who keep weights by name.

The root is "", its second child "layers.1", that one's first child "layers.1.layers.0". A
node that stands in several places has the name of the first one, breadth first, so that
shared weights are there once. The names depend on the structure only, not on what the
layers are called.
"""

from typing import Any, Dict, List, Tuple

from .model_errors import path_between


def node_path(root: Any, node: Any) -> str:
    """The name of a node below root: "layers.1.layers.0", "" for root itself."""
    if node is root:
        return ""
    return path_between(root, node).replace("[", ".").replace("]", "")


def node_paths(root: Any) -> List[Tuple[str, Any]]:
    """(name, node) for every node of the tree, in the order of walk()."""
    return [(node_path(root, node), node) for node in root.walk()]


def join(path: str, name: str) -> str:
    """The name of something in a node: "layers.1.W"."""
    return f"{path}.{name}" if path else name


def parameter_names(root: Any) -> Dict[str, Tuple[Any, str]]:
    """ "layers.1.W" -> (node, "W"), for every parameter, allocated or not.

    Raises ValueError if two parameters get the same name, as only names of parameters with
    dots in them can.
    """
    found: Dict[str, Tuple[Any, str]] = {}
    for path, node in node_paths(root):
        for name in node.param_names:
            full = join(path, name)
            if full in found:
                raise ValueError(f"Two parameters of {root.name!r} have the name {full!r}.")
            found[full] = (node, name)
    return found
