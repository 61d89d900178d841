"""The reference of all configuration keys as Markdown, from the sections themselves."""

from __future__ import annotations

from typing import Any

import tomlkit
from pydantic.fields import FieldInfo

from werkbund.aggregation import AGGREGATORS, DEFAULT, aggregation_options
from werkbund.config.reading import valid_keys


def configuration_reference() -> str:
    """Return the page that lists every key with its default."""
    lines = ["# Configuration", ""]
    lines += ["Every key has a default; an empty file is the built-in federation.", ""]
    lines += ["`--set section.key=value` changes one key on the command line.", ""]
    lines += ["An unknown key, a wrong type or a value out of range is refused with the nearest valid key.", ""]
    section = ""
    for key, field in valid_keys().items():
        head, _, name = key.rpartition(".")
        if head != section:
            lines += _options_of_other_rules() if section == "strategy.aggregation" else []
            lines += ["", f"## [{head}]", "", "| key | default | what |", "| --- | --- | --- |"]
            section = head
        lines.append(f"| `{name}` | {_default(field)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _options_of_other_rules() -> list[str]:
    """Return the table of options of aggregators that are not the default one; those alike stand in one row."""
    rules: dict[tuple[str, str, str], list[str]] = {}
    for rule in AGGREGATORS:
        for key, declared in aggregation_options(rule).items() if rule != DEFAULT else ():
            rules.setdefault((key, _value(declared.default), declared.what), []).append(f"`{rule}`")
    lines = ["", "## [strategy.aggregation] of another name", "", "| key | default | what | of |"]
    lines += ["| --- | --- | --- | --- |"]
    return lines + [f"| `{key}` | {value} | {what} | {', '.join(of)} |" for (key, value, what), of in rules.items()]


def _default(field: FieldInfo) -> str:
    return _value(field.get_default(call_default_factory=True))


def _value(value: Any) -> str:
    return "-" if value is None else f"`{tomlkit.item(value).as_string() or value}`"
