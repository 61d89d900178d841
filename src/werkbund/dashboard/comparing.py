"""Runs side by side: the words that name one, its figures with intervals, and the keys in which several differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from werkbund.dashboard.runs import Seen
from werkbund.dashboard.standing import known
from werkbund.evaluation.contest import Contest

_TAGGED = (
    ("model.kind", "mlp"),
    ("strategy.aggregation.name", "fedavg"),
    ("strategy.selection.name", None),
    ("strategy.personal.name", None),
    ("strategy.clusters.name", None),
)
"""Keys whose values are a run's tags, and what stands where a run does not say."""

_UNSAID = (None, "none", "all")
_MODELS = ("federated", "global", "local_mean", "local_trees_mean", "pooled", "nothing")


def tags(seen: Seen) -> list[str]:
    """Return a few words by which a run is known: methods, privacy, seed."""
    settings = seen.settings
    found = [str(settings.get(key, usual)) for key, usual in _TAGGED if settings.get(key, usual) not in _UNSAID]
    if settings.get("privacy.unit", "none") != "none":
        found.append(f"DP: {settings['privacy.unit']}")
    if settings.get("privacy.secure_sums"):
        found.append("secure sums")
    if (seen.run.about.get("data") or {}).get("generated"):
        found.append("generated rows")
    return [*found, f"seed {settings.get('federation.seed', 0)}"]


def figures(seen: Seen) -> list[dict[str, Any]]:
    """Return the figures of a finished run on the plants' own rows, each with its interval."""
    contest = seen.run.own_rows
    if contest is None:
        return []
    return [line for who in _MODELS if who in contest.figures for line in _of(contest, who)]


def _of(contest: Contest, who: str) -> list[dict[str, Any]]:
    lines = []
    for figure, mean in contest.figures[who].items():
        ends = {"mean": known(mean.by_rows.mean), "low": known(mean.by_rows.low), "high": known(mean.by_rows.high)}
        if ends["mean"] is not None:
            lines.append({"who": who, "figure": figure, **ends})
    return lines


def differences(runs: Sequence[Seen]) -> list[dict[str, Any]]:
    """Return the keys of the configuration in which runs differ, each with its value in every run.

    Examples
    --------
    >>> from pathlib import Path
    >>> from werkbund.report.folder import RunFolder
    >>> one = Seen("a", "a", RunFolder(Path("a"), {}), {"federation.seed": 1, "model.kind": "mlp"})
    >>> two = Seen("b", "b", RunFolder(Path("b"), {}), {"federation.seed": 2, "model.kind": "mlp"})
    >>> differences([one, two])
    [{'key': 'federation.seed', 'values': ['1', '2']}]
    """
    settings: list[Mapping[str, Any]] = [seen.settings for seen in runs]
    keys = sorted({key for each in settings for key in each})
    rows = [{"key": key, "values": [_text(each.get(key)) for each in settings]} for key in keys]
    return [row for row in rows if len(set(row["values"])) > 1]


def _text(value: Any) -> str:
    return "–" if value is None else str(value)
