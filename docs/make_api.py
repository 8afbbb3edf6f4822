"""Writes docs/api.md, the list of all public names, from their docstrings.

    python docs/make_api.py            write docs/api.md
    python docs/make_api.py --check    exit with 1 if docs/api.md is not what would be written

Signatures show names and defaults; the annotations are left to the source, because how
Python prints them changes from version to version.
"""

import argparse
import inspect
import sys
from pathlib import Path

import catalogue

import thinc.api
import thinc.config
import thinc.testing

PAGE = Path(__file__).with_name("api.md")

INTRODUCTION = """\
# Every public name

Written by `python docs/make_api.py`: the beginning of each docstring. The whole docstrings
say which shapes and types are expected and which errors are raised. All of the first part is
imported from `thinc.api`."""

# The sections of thinc.api: the title, and the modules the names come from.
SECTIONS = [
    ("Models", ["thinc.model", "thinc.model_state", "thinc.shims"]),
    ("Layers and combinators", ["thinc.layers"]),
    ("Losses", ["thinc.loss"]),
    ("Optimizers", ["thinc.optimizers"]),
    ("Schedules", ["thinc.schedules"]),
    ("Initializers", ["thinc.initializers"]),
    ("Backends", ["thinc.backends"]),
    ("Data types", ["thinc.types"]),
    ("Config", ["thinc.config"]),
    (
        "Other frameworks",
        ["thinc.interop", "thinc.compat", "thinc.torch_module", "thinc.jax_function"],
    ),
    ("Utilities", ["thinc.util", "thinc.data_validation"]),
]

# Names that are not ours to document, or that differ between machines: where they
# belong, and what to say.
DESCRIBED_HERE = {
    "AppleOps": ("thinc.backends", "None: the package thinc-apple-ops registers its own."),
    "Config": (
        "thinc.config",
        "A dict with sections, read from and written as text. Confection's.",
    ),
    "ConfigValidationError": ("thinc.config", "A config does not fit its functions. Confection's."),
    "has_cupy": ("thinc.compat", "Whether CuPy can be imported."),
    "keras_model_fns": (
        "thinc.shims",
        "Registry of the functions that make subclassed Keras models, see keras_subclass.",
    ),
}

# Attributes, which have no docstrings. Those of other classes are in the class's docstring.
ATTRIBUTES = {
    "Model.id": "A number of its own for each node, which the optimizer keeps its state by.",
    "Model.init": "The function that infers dimensions and allocates parameters, or None.",
    "Model.name": "The type of the layer. Not unique.",
    "Model.ops": "The backend.",
    "Model.global_id": "The id that was given out last.",
    "Model.global_id_lock": "Held while an id is given out.",
    "Shim.global_id": "The id that was given out last.",
    "Shim.global_id_lock": "Held while an id is given out.",
    "Ops.name": "What get_ops finds the backend by.",
    "Ops.xp": "The array module: numpy or cupy.",
}

CLASSES = [
    thinc.api.Model,
    thinc.api.Shim,
    thinc.api.Ops,
    thinc.api.Optimizer,
    thinc.api.Schedule,
    thinc.api.CategoricalCrossentropy,
    thinc.api.Ragged,
    thinc.api.Padded,
    thinc.api.ArgsKwargs,
    thinc.api.registry,
]


OPERATORS = ["__call__", "__getitem__", "__len__"]


def page() -> str:
    """The text of docs/api.md."""
    parts = [INTRODUCTION, *api_sections()]
    parts += [class_section(cls) for cls in CLASSES]
    testing = [(name, getattr(thinc.testing, name)) for name in thinc.testing.__all__]
    parts.append(section("thinc.testing", [row(name, value) for name, value in testing]))
    parts.append("## Registered functions")
    parts += registries()
    return "\n\n".join(parts) + "\n"


def api_sections():
    """The names of thinc.api, by the modules they come from."""
    modules = {name: home(name, getattr(thinc.api, name)) for name in thinc.api.__all__}
    left = set(modules)
    for title, prefixes in SECTIONS:
        names = [name for name in sorted(left) if belongs(modules[name], prefixes)]
        left -= set(names)
        yield section(title, [api_row(name) for name in names])
    if left:
        raise ValueError(f"no section of SECTIONS takes {sorted(left)}")


def home(name: str, value) -> str:
    return DESCRIBED_HERE[name][0] if name in DESCRIBED_HERE else value.__module__


def belongs(module: str, prefixes) -> bool:
    return any(module == prefix or module.startswith(prefix + ".") for prefix in prefixes)


def api_row(name: str) -> str:
    if name in DESCRIBED_HERE:
        return table_row(name, DESCRIBED_HERE[name][1])
    return row(name, getattr(thinc.api, name))


def class_section(cls) -> str:
    rows = []
    for name in members(cls):
        value = inspect.getattr_static(cls, name)
        if f"{cls.__name__}.{name}" in ATTRIBUTES:
            rows.append(table_row(name, ATTRIBUTES[f"{cls.__name__}.{name}"]))
        elif isinstance(value, property):
            rows.append(table_row(name, summary(value)))
        # The registries of `registry` have sections of their own.
        elif callable(getattr(cls, name)) and not isinstance(value, catalogue.Registry):
            rows.append(row(name, getattr(cls, name)))
    return section(f"Members of {cls.__name__}", rows)


def members(cls):
    """The public names that our own classes define, and the operators they document."""
    owners = [base for base in cls.__mro__ if base.__module__.startswith("thinc.")]
    names = {name for base in owners for name in vars(base)}
    operators = [
        name
        for name in OPERATORS
        if name in names and inspect.getdoc(inspect.getattr_static(cls, name))
    ]
    return sorted([*operators, *(name for name in names if not name.startswith("_"))])


def registries():
    """A section for each registry, with thinc's own functions in it."""
    found = {}
    for path, function in catalogue.REGISTRY.items():
        if path[0] == "thinc" and function.__module__.startswith("thinc."):
            found.setdefault(path[1], []).append((path[2], function))
    for kind in sorted(found):
        rows = [row(name, function) for name, function in sorted(found[kind], key=lambda f: f[0])]
        yield section(f"registry.{kind}", rows, level=3)


def section(title: str, rows, level: int = 2) -> str:
    return "\n".join(["#" * level + " " + title, "", "| name | |", "| --- | --- |", *rows])


def row(name: str, value) -> str:
    return table_row(name + signature(value), summary(value))


def table_row(left: str, right: str) -> str:
    left = left.replace("|", "\\|")
    right = right.replace("|", "\\|")
    return f"| `{left}` | {right} |"


def signature(value) -> str:
    """The parameters with their defaults, without self and without annotations."""
    parameters = list(inspect.signature(value).parameters.values())
    if parameters and parameters[0].name == "self":
        parameters = parameters[1:]
    plain = [
        parameter.replace(annotation=inspect.Parameter.empty, default=printed(parameter.default))
        for parameter in parameters
    ]
    return str(inspect.Signature(plain))


def printed(default):
    """A default that prints the same everywhere: functions by name, not by address."""
    if default is inspect.Parameter.empty:
        return default
    return Printed(getattr(default, "__qualname__", None) or repr(default))


class Printed:
    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def summary(value) -> str:
    """The first line of the docstring, and the next ones up to a line that ends a sentence."""
    text = inspect.getdoc(value)
    if not text:
        raise ValueError(f"{value!r} has no docstring")
    lines = []
    for line in text.split("\n\n")[0].splitlines():
        lines.append(line.strip())
        if line.endswith("."):
            break
    return " ".join(lines).removesuffix(":")


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    text = page()
    if not parser.parse_args().check:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.name} is not current: run python docs/make_api.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
