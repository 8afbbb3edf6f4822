"""The config system is confection's. These tests are about how thinc relies on it."""

import copy
from typing import Callable, Dict, Optional

import catalogue
import pytest

from thinc.config import VARIABLE_RE, Config, ConfigValidationError, Promise, registry

TEXT = """
[training]
width = 4
name = "run-${training.width}"

[training.tool]
@tools = "tool.v1"
width = ${training.width}

[training.tool.inner]
@tools = "tool.v1"
width = 1
"""


@pytest.fixture(autouse=True)
def tools():
    registry.create("tools")

    @registry.tools("tool.v1")
    def make_tool(width: int, rate: float = 0.5, inner: Optional[Dict] = None) -> Dict:
        return {"width": width, "rate": rate, "inner": inner}

    @registry.tools("list.v1")
    def make_list(*items: Callable):
        return list(items)

    yield registry.tools
    del registry.tools
    for path in list(catalogue.REGISTRY):
        if path[:2] == ("thinc", "tools"):
            del catalogue.REGISTRY[path]


def test_resolve_calls_the_functions_from_the_inside():
    resolved = registry.resolve(Config().from_str(TEXT))
    assert type(resolved) is dict
    assert resolved["training"]["name"] == "run-4"
    assert resolved["training"]["tool"] == {
        "width": 4, "rate": 0.5, "inner": {"width": 1, "rate": 0.5, "inner": None},
    }  # fmt: skip


def test_fill_adds_defaults_and_keeps_variables():
    config = Config().from_str(TEXT, interpolate=False)
    filled = registry.fill(config)
    assert filled["training"]["tool"]["width"] == "${training.width}"
    assert filled["training"]["tool"]["rate"] == 0.5
    assert filled["training"]["tool"]["@tools"] == "tool.v1"
    assert not filled.is_interpolated


def test_positional_arguments():
    config = {"all": {"@tools": "list.v1", "*": {"a": {"@tools": "tool.v1", "width": 1}}}}
    assert registry.resolve(config)["all"] == [{"width": 1, "rate": 0.5, "inner": None}]


@pytest.mark.parametrize(
    "block, message",
    [
        ({"@tools": "tool.v1"}, "width"),
        ({"@tools": "tool.v1", "width": "wide"}, "width"),
        ({"@tools": "tool.v1", "width": 1, "hight": 2}, "hight"),
        ({"@tools": "tool.v1", "@layers": "x", "width": 1}, "only contain one function"),
    ],
)
def test_wrong_arguments_are_refused(block, message):
    with pytest.raises(ConfigValidationError, match=message):
        registry.resolve({"block": block})


def test_the_top_level_is_no_promise():
    with pytest.raises(ConfigValidationError, match="top-level config object"):
        registry.resolve({"@tools": "tool.v1", "width": 1})


@pytest.mark.parametrize("function", [registry.resolve, registry.fill])
@pytest.mark.parametrize("as_config", [True, False])
def test_overrides_do_not_change_the_config_given(function, as_config):
    config = Config().from_str(TEXT)
    config = config if as_config else dict(config)
    before = copy.deepcopy(config)
    result = function(config, overrides={"training.tool.width": 7})
    assert result["training"]["tool"]["width"] == 7
    assert config == before


def test_overrides_need_an_existing_section():
    with pytest.raises(ConfigValidationError, match="overrid"):
        registry.resolve(Config().from_str(TEXT), overrides={"absent.width": 7})


def test_objects_pass_through_unchanged():
    marker = object()
    config = {"block": {"@tools": "tool.v1", "width": 1, "inner": {"x": marker}}, "y": marker}
    resolved = registry.resolve(config)
    assert resolved["y"] is marker and resolved["block"]["inner"]["x"] is marker


def test_round_trips(tmp_path):
    config = Config().from_str(TEXT)
    assert Config().from_str(config.to_str()) == config
    assert Config().from_bytes(config.to_bytes()) == config
    config.to_disk(tmp_path / "config.cfg")
    assert Config().from_disk(tmp_path / "config.cfg") == config


def test_variables_are_recognized():
    assert VARIABLE_RE.findall("a ${b.c} ${d:e} $f {g}") == ["${b.c}", "${d:e}"]
    assert VARIABLE_RE.pattern == r"\$\{[\w\.:]+\}"


def test_the_error_tells_where():
    error = ConfigValidationError(errors=[{"loc": ["a", "b"], "msg": "is odd"}], title="Title")
    assert isinstance(error, ValueError)
    assert "Title" in str(error) and "a -> b\tis odd" in str(error)
    assert Promise is not None
