"""Options are declared once at the field, and checked, listed and built by that declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import pytest

from werkbund.core.errors import ConfigError
from werkbund.core.methods import Registry, check_options, option, options_of


@dataclass(frozen=True)
class Turned:
    """A method with an option of every type."""

    angle: float = option(0.5, "how far", at_least=0, below=1)
    number: int = option(3, "how often", above=0)
    way: Literal["left", "right", "none"] = option("left", "whereto")
    most: float | None = option(None, "at most so far", at_most=8)
    open: bool = option(False, "whether it stays open")
    parts: dict[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "turned"

    def __post_init__(self) -> None:
        check_options(self, "strategy.turning")


@dataclass(frozen=True)
class Bare:
    """A method whose option has no default."""

    size: int
    name: ClassVar[str] = "bare"


def _registry() -> Registry:
    return Registry("strategy.turning", "a method", ("name",), {"turned": Turned, "bare": Bare}, "docs")


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("angle", 1.0, r"in \[0, 1\)"),
        ("angle", -0.1, r"in \[0, 1\)"),
        ("angle", float("nan"), r"in \[0, 1\)"),
        ("angle", "x", r"in \[0, 1\)"),
        ("angle", True, r"in \[0, 1\)"),
        ("number", 0, "> 0"),
        ("number", 1.5, "> 0"),
        ("way", "up", "left, right or none"),
        ("most", 9.0, "<= 8"),
        ("open", 1, "true or false"),
        ("parts", 3, "given"),
    ],
)
def test_a_value_that_breaks_its_rule_is_refused_by_key_rule_and_value(name: str, value: Any, rule: str) -> None:
    with pytest.raises(ConfigError, match=rf"strategy\.turning\.{name} must be {rule}, got"):
        Turned(**{name: value})
    with pytest.raises(ConfigError, match=rf"strategy\.turning\.{name} must be {rule}, got"):
        _registry().build("turned", {name: value})


@pytest.mark.parametrize(
    "options", [{}, {"angle": 0}, {"most": None}, {"most": 8}, {"way": "none", "open": True, "parts": {"a": 1}}]
)
def test_values_within_their_rules_are_taken_and_whole_numbers_become_floats(options: Mapping[str, Any]) -> None:
    made = _registry().build("turned", options)
    assert isinstance(made.angle, float)
    assert {name: getattr(made, name) for name in options} == dict(options)


def test_options_are_listed_with_default_and_purpose() -> None:
    listed = options_of(Turned)
    assert list(listed) == ["angle", "number", "way", "most", "open", "parts"]
    assert (listed["angle"].what, listed["angle"].default, listed["angle"].at_least) == ("how far", 0.5, 0)
    assert listed["way"].choices == ("left", "right", "none")


def test_unknown_and_lacking_options_are_named() -> None:
    with pytest.raises(ConfigError, match=r"takes no option angel; did you mean angle\?; it takes angle, number, way"):
        _registry().build("turned", {"angel": 0.5})
    with pytest.raises(ConfigError, match="'bare' needs size"):
        _registry().build("bare", {})
    assert _registry().build("bare", {"size": 2}) == Bare(2)


def test_a_name_is_registered_once() -> None:
    @dataclass(frozen=True)
    class Another:
        name: ClassVar[str] = "turned"

    registry = _registry()
    assert registry.register(Turned) is Turned
    with pytest.raises(ConfigError, match="a method of the name 'turned' is there already"):
        registry.register(Another)
