"""Models that not all clients use, each on its clients' rows: where it begins to raise alarms, and how it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add

from werkbund.core.arrays import Int64Array
from werkbund.core.defaults import ENOUGH_FAILURES
from werkbund.core.types import RoundRecord
from werkbund.evaluation.costs import Costs
from werkbund.evaluation.counts import Counts
from werkbund.evaluation.measures import Metrics, metrics
from werkbund.evaluation.thresholds import Threshold, choose_threshold


def own_threshold(counts: Counts, common: Threshold, costs: Costs) -> Threshold:
    """Return where a client's own model raises alarms: chosen by cost, or as the common model with few failures.

    Parameters
    ----------
    counts
        Of the client's validation rows.
    common
        Of the common model.
    costs
        How decisions are priced.
    """
    return choose_threshold(counts, costs) if counts.positives >= ENOUGH_FAILURES else common


def own_thresholds(
    record: RoundRecord, common: Threshold, costs: Costs, sharing: Sequence[Int64Array] | None = None
) -> dict[int, Threshold]:
    """Return the threshold of each client's model, by the client's number; nothing where all have one model.

    Parameters
    ----------
    record
        Counts with one row a client, each of its own model.
    common, costs
        As for `own_threshold`.
    sharing
        The numbers of the clients that share a model, of each; None where each has one of its own.
    """
    counted = _by_client(record, "validation")
    if sharing is None:
        return {client: own_threshold(counts, common, costs) for client, counts in counted.items()}
    if len(sharing) == 1:
        return {}
    chosen = dict[int, Threshold]()
    for members in sharing:
        own = [counted[client] for client in members.tolist() if client in counted]
        together = own_threshold(reduce(add, own), common, costs) if own else common
        chosen |= dict.fromkeys(members.tolist(), together)
    return chosen


def own_figures(
    record: RoundRecord, chosen: Mapping[int, Threshold], common: Threshold, costs: Costs, mode_names: Sequence[str]
) -> dict[int, Metrics]:
    """Return how each client's own model does on the client's test rows, by its number.

    Parameters
    ----------
    record, common, costs
        As for `own_thresholds`.
    chosen
        What that returned.
    mode_names
        Names of the failure modes that are counted.
    """
    counted = _by_client(record, "test")
    return {client: metrics(own, chosen.get(client, common), costs, mode_names) for client, own in counted.items()}


def _by_client(record: RoundRecord, split: str) -> dict[int, Counts]:
    """Return the counts of each client on one split of its rows, by its number; nothing where they came added."""
    clients = record.evaluated.get(split, ())
    if any(len(rows) != len(clients) for rows in record.counts.get(split, {}).values()):
        return {}
    return {
        int(client): Counts.from_arrays(record.counts[split], place, record.edges)
        for place, client in enumerate(clients)
    }
