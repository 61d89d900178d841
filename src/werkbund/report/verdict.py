"""Whether federating pays, in one sentence with its numbers.

The rule is fixed before anyone looks: the federated model must beat the mean of the plants that learn alone, in
average precision on the same test rows, by at least `MARGIN`; over several seeds in every one of them, in a single
run by at least what one failure more or less could move, 1 / (failures in the test rows). The same rule the other
way round says that it does not pay, and everything between is no clear difference. Where it pays across plants and
yet most plants do no better on their own rows, the sentence says so.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from werkbund.report.folder import RunFolder
from werkbund.report.text import article, plural, signed

MARGIN = 0.02
FEW_FAILURES = 30
METRIC = "average_precision"

Outcome = Literal["pays", "mixed", "level", "loses", "unknown"]

_LEADS = {
    "pays": "Federating pays here",
    "mixed": "Federating pays across plants here, but most plants do no better on their own rows",
    "level": "Federating makes no clear difference here",
    "loses": "Federating does not pay here",
}


@dataclass(frozen=True)
class Verdict:
    """Hold the outcome, the sentence that says it, and what a careful reader should know beside it."""

    outcome: Outcome
    sentence: str
    remarks: tuple[str, ...] = ()


def judge(run: RunFolder) -> Verdict:
    """Return the verdict on a run."""
    federated, local = average(run, "federated"), average(run, "local_mean")
    if not math.isfinite(federated):
        return Verdict("unknown", _unscored(run))
    if not math.isfinite(local):
        return Verdict("unknown", _uncompared(run, federated), _remarks(run))
    outcome = decide(federated - local, run.scores("federated")["positives"], _differences(run))
    shared, alone = _own_rows(run)
    if outcome == "pays" and 2 * sum(map(operator.gt, shared, alone)) < len(shared):
        outcome = "mixed"
    return Verdict(outcome, _sentence(run, outcome, federated, local), _remarks(run))


def decide(difference: float, failures: float, by_seed: tuple[float, ...] = ()) -> Outcome:
    """Apply the rule to federated minus local average precision.

    Parameters
    ----------
    difference
        The mean difference, or that of a single run.
    failures
        Number of failures in the test rows; NaN if it is not known.
    by_seed
        The difference of each seed; with fewer than two the rule for a single run holds.

    Examples
    --------
    >>> decide(0.40, 68), decide(0.01, 68), decide(-0.10, 68)
    ('pays', 'level', 'loses')
    >>> decide(0.05, 12), decide(0.05, 12, (0.02, 0.08)), decide(0.10, 68, (0.30, -0.10))
    ('level', 'pays', 'level')
    """
    several = len(by_seed) > 1
    margin = MARGIN if several or not failures > 0 else max(MARGIN, 1 / failures)
    if difference >= margin and all(gain > 0 for gain in by_seed):
        return "pays"
    if difference <= -margin and all(gain < 0 for gain in by_seed):
        return "loses"
    return "level"


def average(run: RunFolder, who: str, metric: str = METRIC) -> float:
    """Return a contender's metric: the mean over seeds where a comparison was made, else the run's."""
    means = [row.mean for row in run.comparison if row.who == who and row.metric == metric]
    return means[0] if means else run.scores(who)[metric]


def _differences(run: RunFolder) -> tuple[float, ...]:
    """Return federated minus local by seed, paired; empty if one seed was run."""
    values = {row.who: row.values for row in run.comparison if row.metric == METRIC}
    federated, local = values.get("federated", ()), values.get("local_mean", ())
    if len(federated) != len(local):
        return ()
    return tuple(shared - alone for shared, alone in zip(federated, local, strict=True))


def _sentence(run: RunFolder, outcome: Outcome, federated: float, local: float) -> str:
    """Say the outcome, with the average precision of each contender that is known."""
    pooled, boosted = average(run, "pooled"), average(run, "pooled_gbdt")
    show = _shower(federated, local, pooled, boosted)
    seeds = f" (mean of {len(run.seeds)} seeds)" if run.comparison and len(run.seeds) > 1 else ""
    others = {"the same model": pooled, "gradient boosting": boosted}
    known = [f"{who} reaches {show(value)}" for who, value in others.items() if math.isfinite(value)]
    tail = f"; with all rows in one place, {' and '.join(known)}" if known else ""
    return (
        f"{_LEADS[outcome]}: on held-out rows the federated model reaches an average precision of "
        f"{show(federated)}{seeds}, against {show(local)} for plants that learn alone{tail}."
    )


def _uncompared(run: RunFolder, federated: float) -> str:
    """Say how good the model is where no plant's own was judged on everybody's rows."""
    reached = f"The federated model reaches an average precision of {federated:.2f} on held-out rows; "
    if run.result is not None and run.result.delivered:
        taken = sum(word == "taken" for word, _ in run.result.delivered.values())
        return f"{reached}{taken} of {plural(len(run.result.delivered), 'plant')} took it into use."
    return f"{reached}no plant was trained alone beside it, so this run cannot say whether federating pays."


def _shower(*values: float) -> Callable[[float], str]:
    """Return a formatter with two decimals, or three where two would make unequal values look equal."""
    known = {value for value in values if math.isfinite(value)}
    digits = 2 if len({f"{value:.2f}" for value in known}) == len(known) else 3
    return lambda value: f"{value:.{digits}f}"


def _unscored(run: RunFolder) -> str:
    """Say why the federated model cannot be judged: no failure held out, no score, or a run that goes on."""
    rounds = len(run.trained)
    if run.scores("federated")["positives"] == 0:
        return "The held-out rows hold no failure, so this run cannot show whether any model finds one."
    if run.result is not None:
        return "The run wrote no average precision of the federated model, so there is nothing to judge."
    if rounds == 0:
        return "This run has not finished a round yet, so there is nothing to judge."
    known = [line.scores["validation"][METRIC] for line in run.rounds if "validation" in line.scores]
    best = max((value for value in known if math.isfinite(value)), default=math.nan)
    reached = f"; the best average precision on validation rows so far is {best:.2f}" if math.isfinite(best) else ""
    return f"This run is not finished: {plural(rounds, 'round')} {article(rounds)} recorded{reached}."


def _remarks(run: RunFolder) -> tuple[str, ...]:
    remarks = (_paired(run), _of_pooled(run), _gains(run), _cost(run), _boosted(run), _evidence(run))
    return tuple(remark for remark in remarks if remark)


def _paired(run: RunFolder) -> str:
    """State the gain over the seeds with its interval, which the two means alone do not give."""
    rows = [row for row in run.comparison if row.who == "federated minus local_mean" and row.metric == METRIC]
    if not rows or not math.isfinite(rows[0].low + rows[0].high):
        return ""
    gain, low, high = (signed(value) for value in (rows[0].mean, rows[0].low, rows[0].high))
    return f"Seed by seed, federated minus alone is {gain} on average, with a 95% interval of {low} to {high}."


def _of_pooled(run: RunFolder) -> str:
    """Say how much of the pooled model's average precision federating reaches."""
    federated, pooled = average(run, "federated"), average(run, "pooled")
    if not (math.isfinite(pooled) and pooled > 0):
        return ""
    if federated >= pooled:
        return (
            "It is as good as the same model trained on everybody's rows in one place, and no row had to leave a plant."
        )
    return f"It reaches {federated / pooled:.0%} of what the same model does with everybody's rows in one place."


def _own_rows(run: RunFolder) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return federated and local average precision on each client's own rows, where both have a value."""
    lines = run.result.clients if run.result else ()
    pairs = [(line.federated[METRIC], line.local[METRIC]) for line in lines if line.local is not None]
    known = [pair for pair in pairs if math.isfinite(sum(pair))]
    return tuple(shared for shared, _ in known), tuple(alone for _, alone in known)


def _gains(run: RunFolder) -> str:
    """Count who gains: the question that each plant asks for itself."""
    shared, alone = _own_rows(run)
    if run.result is None or not shared:
        return ""
    gains, ties = sum(map(operator.gt, shared, alone)), sum(map(operator.eq, shared, alone))
    left_out = len(run.result.clients) - len(shared)
    verb = article(left_out)
    missing = f"; {plural(left_out, 'plant')} without a failure to test on {verb} left out" if left_out else ""
    tied = f", {ties} equally well" if ties else ""
    which = ", in the run shown below" if run.comparison else ""
    who = "all" if gains == len(shared) > 1 else f"{gains or 'none'} of"
    return (
        f"On their own held-out rows{which}, {who} {plural(len(shared), 'plant')} "
        f"{'does' if gains == 1 else 'do'} better with the federated model than alone{tied}{missing}."
    )


def _cost(run: RunFolder) -> str:
    """Compare what alarms and missed failures cost, federated against alone, at the threshold chosen."""
    federated, local = average(run, "federated", "cost"), average(run, "local_mean", "cost")
    if not (math.isfinite(federated) and math.isfinite(local)):
        return ""
    word = "lower" if federated < local else "higher" if federated > local else "no lower"
    return (
        f"At the chosen alarm threshold its cost is {word}: {federated:,.0f} per 1,000 rows against {local:,.0f} alone."
    )


def _boosted(run: RunFolder) -> str:
    """Say what part of gradient boosting's lead is the price of federating, and what part that of the model."""
    federated, pooled, boosted = (average(run, who) for who in ("federated", "pooled", "pooled_gbdt"))
    if not boosted >= federated + MARGIN:
        return ""
    lead = f"Gradient boosting with all rows in one place is ahead by {boosted - federated:.2f}"
    if not federated <= pooled <= boosted:
        return f"{lead}."
    return (
        f"{lead}: {pooled - federated:.2f} of it is the price of leaving the rows at the plants, "
        f"{boosted - pooled:.2f} that of this kind of model."
    )


def _evidence(run: RunFolder) -> str:
    """Warn of what makes the figures uncertain: few failures to test on, or a single seed."""
    failures = run.scores("federated")["positives"]
    seeds = len(run.seeds) if run.comparison else 1
    if math.isfinite(failures) and failures < FEW_FAILURES:
        return f"Only {plural(int(failures), 'failure')} to test on: one row more or less moves these figures visibly."
    if seeds < 2:
        return "This is one seed; a comparison over several seeds shows how far such figures move by chance."
    return ""
