import subprocess
import sys

import catalogue
import pytest

import thinc
import thinc.config
from thinc.config import registry

NAMES = ["optimizers", "schedules", "layers", "losses", "initializers", "datasets", "ops"]


@pytest.fixture
def cats():
    registry.create("cats")
    yield registry.cats
    del registry.cats
    for path in list(catalogue.REGISTRY):
        if path[:2] == ("thinc", "cats"):
            del catalogue.REGISTRY[path]


def test_one_registry_under_all_names():
    assert thinc.registry is thinc.config.registry is registry
    assert thinc.__all__ == ["registry", "__version__"]
    with pytest.raises(AttributeError, match="module 'thinc' has no attribute 'nothing'"):
        thinc.nothing  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_the_seven_registries(name):
    reg = getattr(registry, name)
    assert isinstance(reg, catalogue.Registry)
    assert reg.namespace == ("thinc", name)
    assert reg.entry_points and reg.entry_point_namespace == f"thinc_{name}"


def test_functions_are_registered_and_found(cats):
    def func(a: int):
        return a

    assert cats("cat.v1")(func) is func
    cats.register("cat.v2", func=func)
    assert registry.get("cats", "cat.v1") is registry.get("cats", "cat.v2") is func
    assert registry.has("cats", "cat.v1") and not registry.has("cats", "dog.v1")
    assert not registry.has("dogs", "cat.v1")
    with pytest.raises(ValueError, match="Unknown registry: 'dogs'"):
        registry.get("dogs", "cat.v1")
    with pytest.raises(catalogue.RegistryError, match="Cant't find 'dog.v1' in registry"):
        registry.get("cats", "dog.v1")


@pytest.mark.parametrize("name", ["cats", "layers", "get", "create"])
def test_names_are_created_once(cats, name):
    with pytest.raises(ValueError, match=f"Registry '{name}' already exists"):
        registry.create(name)


def test_create_belongs_to_the_class_it_is_called_on():
    class other(registry):
        pass

    other.create("only_there", entry_points=True)
    assert other.only_there.entry_point_namespace == "thinc_only_there"
    assert not hasattr(registry, "only_there") and other.layers is registry.layers


def test_constructors_and_arguments():
    block = {"@layers": "x.v1", "*": {"first": 1}, "width": 2}
    assert registry.is_promise(block) and not registry.is_promise({"width": 2})
    assert registry.get_constructor(block) == ("layers", "x.v1")
    assert registry.parse_args(block) == ({"first": 1}, {"width": 2})


def run(code):
    """Run in a new interpreter, without what this one has imported."""
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_importing_thinc_imports_nothing_else():
    code = (
        "import sys, thinc; thinc.__version__; thinc.get_include;"
        "print([m for m in ('numpy', 'confection', 'catalogue', 'msgpack') if m in sys.modules])"
    )
    assert run(code) == "[]"


def test_headers_are_found():
    from pathlib import Path

    folder = Path(thinc.get_include())
    assert (folder / "thinc" / "config.hpp").is_file()


def test_missing_headers_are_reported(monkeypatch, tmp_path):
    from thinc import include_dir

    monkeypatch.setattr(include_dir, "_candidates", lambda: (tmp_path,))
    with pytest.raises(FileNotFoundError, match="headers are missing"):
        include_dir.get_include()
