"""Who is in which cluster, and who is better off with a model of its own."""

from __future__ import annotations

from collections.abc import Sequence

from werkbund.report.folder import RunFolder
from werkbund.report.page import PageSection, TextTable
from werkbund.report.text import plural

_ABSENT = "There is one model for all plants, where clusters would train several for fleets that do not fit one."


def clustered(run: RunFolder) -> PageSection:
    """Return which plants have a model together."""
    written = run.result.clusters if run.result else {}
    members = [list(map(str, names)) for names in written.get("members", ())]
    rows = tuple((str(number), str(len(names)), ", ".join(names)) for number, names in enumerate(members, start=1))
    tables = (TextTable(("Cluster", "Plants", "Their names"), rows, numeric=False),) if rows else ()
    return PageSection(
        "clusters", "Clusters", "Which plants have a model together?", cluster_sentence(run), (), tables, absent=_ABSENT
    )


def cluster_sentence(run: RunFolder) -> str:
    """Say how many models there are and for whom none is good enough; empty where there are no clusters."""
    written = run.result.clusters if run.result else {}
    if not written:
        return ""
    members, own = written["members"], [str(name) for name in written.get("keep_their_own") or ()]
    several = f"{plural(sum(map(len, members)), 'plant')} share {plural(len(members), 'model')}: " + "; ".join(
        f"cluster {number} has {_named(names)}" for number, names in enumerate(members, start=1)
    )
    if unused := int(written.get("unused") or 0):
        several += (
            f". {plural(unused, 'model')} fitted no plant best: which do follows from the first weights, so try "
            "others (strategy.clusters.start)"
        )
    if not own:
        return f"{several}."
    return (
        f"{several}. Clearly worse with it than with a model alone, by their own validation rows, and therefore left "
        f"their own: {', '.join(own)}."
    )


def _named(names: Sequence[str]) -> str:
    return ", ".join(map(str, names)) if len(names) <= 8 else f"{plural(len(names), 'plant')}"
