"""Attacks and faults to test the rules of aggregation with, in process, each by its name."""

from collections.abc import Mapping
from typing import Any

from werkbund.attack.backdoor import Backdoor
from werkbund.attack.contract import Attack
from werkbund.attack.rows import BrokenSensor, DuplicatedRows, LabelFlip, Reference
from werkbund.attack.updates import FreeRider, Gaussian, InnerProduct, LittleIsEnough, MinMax, MinSum, SignFlip
from werkbund.core.methods import Option, Registry, options_of

ATTACKS: dict[str, type[Any]] = {
    attack.name: attack
    for attack in (
        LabelFlip,
        SignFlip,
        Gaussian,
        Backdoor,
        InnerProduct,
        LittleIsEnough,
        MinMax,
        MinSum,
        FreeRider,
        BrokenSensor,
        DuplicatedRows,
        Reference,
    )
}
"""The attacks and faults by name."""

_REGISTRY = Registry(
    key="attack",
    noun="an attack",
    parts=("name", "what"),
    methods=ATTACKS,
    page="docs/strategy.md",
    naming="kind",
)


def build_attack(kind: str, options: Mapping[str, Any]) -> Attack:
    """Return the attack of a name, or of one's own: `folder/file.py:Class` or `package.module:Class`.

    Raises
    ------
    ConfigError
        If there is none of this name, or an option is unknown or breaks its rule.
    """
    made: Attack = _REGISTRY.build(kind, options)
    return made


def attack_options(kind: str) -> dict[str, Option]:
    """Return an attack's options, each with its default, its range and what it is for."""
    return options_of(_REGISTRY.find(kind))


__all__ = ["ATTACKS", "Attack", "attack_options", "build_attack"]
