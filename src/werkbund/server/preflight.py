"""Before the first round every client is asked about itself, and the operator sees what does not fit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from werkbund._version import __version__
from werkbund.core.errors import ClientError
from werkbund.core.kinds import COUNTS
from werkbund.core.text import one_line
from werkbund.core.types import Failure, Tasks
from werkbund.data import Schema
from werkbund.data.checks import Finding
from werkbund.data.schema_json import differences, schema_fingerprint
from werkbund.engine import Grid
from werkbund.engine.asking import ask, check_quorum
from werkbund.plant.facts import Facts
from werkbund.plant.leaving import HELLO

CLOCK_TOLERANCE_S = 60.0
"""Above this a client's clock is reported; its messages bear the server's time, but its own hours and days do not."""

FEWEST_APART = 4
"""Of fewer plants, each learns much about the others from what all learn: it subtracts its own."""

EVERYBODY = "all plants"
"""Stands for a client's name in a check of the whole federation; no client's name has a space."""

_MOST_ROWS = 10**6

_REMEDIES = {
    "silent": "see on its side with `werkbund client check`, and whether its service runs",
    "version": "install the same version of Werkbund there",
    "schema": "mend the columns or units in its client.toml",
    "clock": "let its clock follow a time server",
    "counts": "it is left out of this run; when its table is mended, begin another",
    "bins": "a plant may set a smaller policy.minimum_bin_rows, which tells more of single rows; whether it takes the "
    "model it judges by exact scores",
    "trees": 'to take part, it adds "trees" to policy.signals in its client.toml',
}


@dataclass(frozen=True)
class Check:
    """Say one thing about one client.

    Parameters
    ----------
    client
        Its name, or `EVERYBODY`.
    level
        `ok`; `warning` where it takes part all the same; `error` where it cannot.
    what
        What was found.
    remedy
        What to do; empty where nothing is to be done.
    """

    client: str
    level: str
    what: str
    remedy: str = ""


@dataclass(frozen=True)
class Preflight:
    """Hold what all clients said about themselves.

    Parameters
    ----------
    facts
        By client name, of those that answered.
    checks
        At least one a client, in the grid's order; then what is to be said of all together.
    schema
        The one that most clients share.
    mode_names
        All failure modes that a fitting client has, sorted; or the schema's columns.
    """

    facts: Mapping[str, Facts]
    checks: tuple[Check, ...]
    schema: Schema
    mode_names: tuple[str, ...]

    @property
    def least_cell_rows(self) -> int:
        """The most rows below which some client lets no cell of trees leave; 0 where all let each leave."""
        return max((_least_cell_rows(facts) for facts in self.facts.values()), default=0)

    def without(self, refused: Collection[str], reasons: Mapping[str, str]) -> Preflight:
        """Return this with an error for each client whose counts cannot be used, which is left out of the run.

        Parameters
        ----------
        refused
            Their names.
        reasons
            Why, by name.
        """
        kept = [check for check in self.checks if not (check.client in refused and check.level == "ok")]
        odd = [Check(name, "error", one_line(reasons[name]), _REMEDIES["counts"]) for name in sorted(refused)]
        return replace(self, checks=(*kept, *odd))

    def doubting(self, findings: Sequence[Finding]) -> Preflight:
        """Return this with a warning for each thing that looks odd about the sums that a client told."""
        odd = [
            Check(name, "warning", one_line(f"{finding.column}: {finding.message}"), finding.lines)
            for finding in findings
            for name in finding.clients
        ]
        return replace(self, checks=(*self.checks, *odd))

    def to_json(self) -> dict[str, Any]:
        """Return facts, checks and modes as values that JSON holds."""
        return {
            "facts": {name: facts.to_json() for name, facts in self.facts.items()},
            "checks": [vars(check) for check in self.checks],
            "modes": list(self.mode_names),
        }


def preflight(grid: Grid, timeout_s: float, quorum: float, asked: Collection[str]) -> Preflight:
    """Ask every client about itself.

    Parameters
    ----------
    grid
        Reaches the clients.
    timeout_s
        Seconds to wait for their answers.
    quorum
        Share of the clients that must be able to take part.
    asked
        Signals that the run asks for; that a client refuses another is not spoken of.

    Raises
    ------
    QuorumError
        If fewer than the quorum of all clients can take part; it names what is wrong with each.
    """
    names = grid.clients()
    facts, silent = _hello(grid, timeout_s)
    schema = _most_common([own.schema for own in facts.values()])
    checks: list[Check] = []
    for name in names:
        if name in silent or schema is None:
            checks.append(Check(name, "error", silent.get(name, "no answer"), _REMEDIES["silent"]))
        else:
            checks += _unfit(name, facts[name], schema, asked) or [Check(name, "ok", _summary(facts[name]))]
    _check_quorum(checks, names, quorum)
    assert schema is not None  # noqa: S101 - somebody has answered
    unable = {check.client for check in checks if check.level == "error"}
    able = {name: own for name, own in facts.items() if name not in unable}
    checks += [*_apart(len(able)), *(_in_bins(able) if COUNTS.name in asked else ())]
    return Preflight(facts, tuple(checks), schema, _modes(schema, list(able.values())))


def _hello(grid: Grid, timeout_s: float) -> tuple[dict[str, Facts], dict[str, str]]:
    """Ask every client about itself; return the facts of those that answered, and why the others did not, by name."""
    names = grid.clients()
    silent: dict[str, str] = {}
    facts: dict[str, Facts] = {}
    for arrival in ask(grid, [Tasks(HELLO, 0, np.arange(len(names)))], timeout_s):
        if isinstance(arrival, Failure):
            silent[names[arrival.client]] = arrival.reason
            continue
        texts = arrival.clear.get("facts")
        if texts is None or texts.shape != (len(arrival),):
            texts = np.full(len(arrival), "")
        for client, text in zip(arrival.clients.tolist(), texts, strict=True):
            try:
                facts[names[client]] = Facts.from_json(_object(str(text)))
            except ClientError as error:
                silent[names[client]] = str(error)
    return {name: facts[name] for name in names if name in facts}, silent


def _object(text: str) -> Mapping[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ClientError(f"its facts about itself are not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ClientError("its facts about itself are not an object")
    return values


def _most_common(schemas: Sequence[Schema]) -> Schema | None:
    prints = [schema_fingerprint(schema) for schema in schemas]
    if not prints:
        return None
    return schemas[prints.index(Counter(prints).most_common(1)[0][0])]


def _unfit(name: str, facts: Facts, schema: Schema, asked: Collection[str]) -> list[Check]:
    """Return what does not fit about a client; nothing if all does."""
    checks = []
    version = facts.versions.get("werkbund", "unknown")
    if _release(version) != _release(__version__):
        what = f"runs Werkbund {version}, the server {__version__}"
        checks.append(Check(name, "error", what, _REMEDIES["version"]))
    odd = differences(facts.schema, schema)
    if odd:
        what = one_line(f"has another schema than most: {'; '.join(odd)}")
        checks.append(Check(name, "error", what, _REMEDIES["schema"]))
    behind = (datetime.now(UTC) - datetime.fromisoformat(facts.clock)).total_seconds()
    if abs(behind) > CLOCK_TOLERANCE_S:
        what = f"its clock is {abs(behind):.0f} s {'behind' if behind > 0 else 'ahead'}"
        checks.append(Check(name, "warning", what, _REMEDIES["clock"]))
    refused = [signal for signal in facts.policy.get("refused") or [] if signal in asked]
    if refused:
        what = one_line(f"does not tell {', '.join(map(str, refused))}, by its policy")
        without = "trees" in refused  # there is nothing else that it could tell
        checks.append(Check(name, "error" if without else "warning", what, _REMEDIES["trees"] if without else ""))
    least = _least_cell_rows(facts)
    if "trees" in asked and least > 1:
        what = f"withholds cells and leaves of fewer than {least} rows: trees are not those of the pooled rows"
        checks.append(Check(name, "warning", what))
    return checks


def _apart(plants: int) -> list[Check]:
    """Return a warning where so few plants take part that each can subtract what it knows from what all learn."""
    if not 1 < plants < FEWEST_APART:
        return []
    others = "the other's" if plants == 2 else "the two others' together"
    what = (
        f"{plants} take part: each plant can subtract its own from the common sums and has {others} training rows, "
        "share of failures, means and scales"
    )
    remedy = f"{FEWEST_APART} or more plants tell each other less; else let all agree to it"
    return [Check(EVERYBODY, "warning", what, remedy)]


def _in_bins(facts: Mapping[str, Facts]) -> list[Check]:
    """Return a warning where clients count scores in bins of several rows, by which figures come out too low."""
    least = {name: rows for name, own in facts.items() if (rows := least_bin_rows(own)) > 1}
    if not least:
        return []
    named = {size: [name for name, rows in least.items() if rows == size] for size in sorted(set(least.values()))}
    whose = "; ".join(
        f"of {size} rows at {EVERYBODY if len(names) == len(facts) else ', '.join(names)}"
        for size, names in named.items()
    )
    what = (
        "held-out rows are counted in bins of several rows, and average precision comes out far too low where a plant "
        f"has few of them (bins of 20 rows need 1,000): {whose}"
    )
    return [Check(EVERYBODY, "warning", one_line(what), _REMEDIES["bins"])]


def least_bin_rows(facts: Facts) -> int:
    """Return of how many rows at least a client's bins of held-out scores are; 0 or 1 where each leaves as it is."""
    return _least_rows(facts, "minimum_bin_rows")


def _least_cell_rows(facts: Facts) -> int:
    """Return below how many rows a client lets no cell of trees leave."""
    return _least_rows(facts, "minimum_cell_rows")


def _least_rows(facts: Facts, name: str) -> int:
    """Return an entry of a client's policy that is a number of rows; 0 if it is none: the client may run other code."""
    least = facts.policy.get(name, 0)
    return least if isinstance(least, int) and not isinstance(least, bool) and 0 < least < _MOST_ROWS else 0


def _release(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def _summary(facts: Facts) -> str:
    rows = "" if facts.rows is None else f"{facts.rows} rows, "
    return f"{rows}Werkbund {facts.versions.get('werkbund')}, Python {facts.versions.get('python')}"


def _check_quorum(checks: Sequence[Check], names: Sequence[str], quorum: float) -> None:
    wrong: dict[str, str] = {}
    for check in checks:
        if check.level == "error":
            wrong[check.client] = "; ".join(filter(None, (wrong.get(check.client), check.what)))
    check_quorum(len(names), len(names) - len(wrong), quorum, 0, wrong)


def _modes(schema: Schema, facts: Sequence[Facts]) -> tuple[str, ...]:
    if schema.mode is None:
        return schema.modes
    return tuple(sorted({mode for own in facts for mode in own.modes}))
