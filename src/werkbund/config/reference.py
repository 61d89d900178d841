"""The reference of all configuration keys as Markdown, from the sections themselves."""

from __future__ import annotations

from typing import Any

import tomlkit
from pydantic.fields import FieldInfo

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
            lines += ["", f"## [{head}]", "", "| key | default | what |", "| --- | --- | --- |"]
            section = head
        lines.append(f"| `{name}` | {_default(field)} | {field.description} |")
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True)
    return "-" if value is None else f"`{tomlkit.item(value).as_string() or value}`"
