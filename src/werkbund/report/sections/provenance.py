"""The model card, the methods with their sources, and all that it takes to repeat the run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from werkbund.report.folder import RunFolder
from werkbund.report.page import CodeBlock, PageSection, TextTable

_LONGEST_LIST = 30
_SHOWN_ELSEWHERE = ("metrics", "data", "created")  # in the comparison, and among what it takes to repeat the run


def card(run: RunFolder) -> PageSection:
    """Return the model card: one row a fact, and a table of its own for each list of objects, such as the inputs."""
    written = {key: value for key, value in (run.card or {}).items() if key not in _SHOWN_ELSEWHERE}
    lists = {key: value for key, value in written.items() if _objects(value)}
    rows = tuple(_facts({key: value for key, value in written.items() if key not in lists}))
    facts = (TextTable(("Property", "Value"), rows, numeric=False),) if rows else ()
    tables = (*facts, *(_listed(key, value) for key, value in lists.items()))
    lead = "What the exported model is, what it reads, and where it must not be trusted."
    absent = "No model card was written for this run."
    return PageSection("model", "Model card", "Model card", lead, tables=tables, absent=absent)


def _objects(value: object) -> bool:
    """Return whether a value of the card is a list of objects, which gets a table of its own."""
    return isinstance(value, list) and bool(value) and all(isinstance(entry, Mapping) for entry in value)


def _listed(key: str, objects: Sequence[Mapping[str, Any]]) -> TextTable:
    """Return one row an object, its name first."""
    columns = list(dict.fromkeys(column for entry in objects for column in ("name", *entry)))
    head = (_words(key)[:1].upper() + _words(key)[1:], *(_words(column) for column in columns[1:]))
    rows = tuple(tuple("" if entry.get(key) is None else _text(entry[key]) for key in columns) for entry in objects)
    return TextTable(head, rows, numeric=False)


def methods(run: RunFolder) -> PageSection:
    """Return the methods that this run used, with their sources."""
    citations = [entry for entry in run.about.get("citations") or () if isinstance(entry, Mapping)]
    rows = tuple((str(citation.get("what", "")), str(citation.get("source", ""))) for citation in citations)
    tables = (TextTable(("Method", "Source"), rows, numeric=False),) if rows else ()
    absent = "The run did not list the sources of its methods."
    return PageSection("methods", "Methods", "Methods used, with sources", tables=tables, absent=absent)


def repeat(run: RunFolder) -> PageSection:
    """Return command, versions, data checksum, fingerprint and the resolved configuration."""
    origin, layout = run.about.get("data") or {}, run.about.get("layout") or {}
    facts = {
        "Created": run.about.get("created"),
        "Seed": run.about.get("seed"),
        **{name.capitalize(): run.about.get(name) for name in ("werkbund", "python", "torch")},
        "Other versions": _object(run.about.get("versions") or {}),
        "Data": origin.get("path") or origin.get("source"),
        "Data, sha256": origin.get("sha256"),
        "Data, generated": origin.get("generated"),
        "Layout fingerprint": layout.get("fingerprint"),
        "Parameters": layout.get("parameters"),
        "Features": run.about.get("features"),
        "Machine": _object(run.about.get("machine") or {}),
    }
    rows = tuple(_facts({name: value for name, value in facts.items() if value not in (None, "", {}, [])}))
    code = (("Command", _command(run.about.get("command"))), ("Resolved configuration (config.toml)", run.config))
    shown = tuple(CodeBlock(label, text.rstrip()) for label, text in code if text.strip())
    lead = "The same command with the same data and seed gives the same model."
    tables = (TextTable(("Fact", "Value"), rows, numeric=False),) if rows else ()
    absent = "The run wrote neither its command nor its configuration."
    return PageSection("repeat", "Repeat", "Repeat this run", lead, tables=tables, code=shown, absent=absent)


def _command(written: object) -> str:
    return shlex.join(map(str, written)) if isinstance(written, list | tuple) else str(written or "")


def _facts(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Flatten nested objects into (name, text) pairs, depth first."""
    for key, inner in value.items():
        name = f"{above}, {_words(key)}" if above else _words(key)[:1].upper() + _words(key)[1:]
        if isinstance(inner, Mapping):
            yield from _facts(inner, name)
        elif inner is not None and inner != "" and inner != []:
            yield name, _text(inner)


def _words(key: str) -> str:
    return str(key).replace("_", " ")


def _text(value: object) -> str:
    """Return a value as a reader wants it: lists in a line, long ones shortened, objects by name."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return f"{value}"
    if isinstance(value, list | tuple):
        shown = [_text(entry) for entry in value[:_LONGEST_LIST]]
        between = "; " if any(isinstance(entry, Mapping) for entry in value) else ", "
        between = " " if all(text.endswith(".") for text in shown) else between  # sentences
        joined = between.join(shown)
        return joined + (f"{between}… ({len(value)} in all)" if len(value) > _LONGEST_LIST else "")
    if isinstance(value, Mapping):
        return _object(value)
    return str(value)


def _object(value: Mapping[str, Any]) -> str:
    """Return one object in a line: its name, and the rest in brackets."""
    fields = {key: inner for key, inner in value.items() if key != "name" and inner not in (None, "")}
    inside = ", ".join(f"{_words(key)} {_text(inner)}" for key, inner in fields.items())
    return f"{value['name']} ({inside})" if inside and "name" in value else str(value.get("name", inside))
