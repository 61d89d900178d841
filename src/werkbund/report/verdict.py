"""Whether federating pays, in a sentence with its numbers, and beside it what a careful reader should know.

What decides is the contest on the plants' own held-out rows, by the rule of `werkbund.evaluation.ruling`. Where doing
without any model costs no more, that is said first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from werkbund.evaluation import FEWEST_FAILURES, GLOBAL, Contest, Interval, Outcome, Ruling, rule
from werkbund.report.folder import RunFolder
from werkbund.report.text import article, interval_text, plural, signed
from werkbund.report.theme import contender

FEW_FAILURES = 30
METRIC = "average_precision"
_REACHES = {"average_precision": "reaches an average precision of", "rmse": "has a root mean squared error of"}

_LEADS = {
    "pays": "Federating pays here",
    "mixed": "Federating pays for a part of the plants here",
    "level": "Federating makes no clear difference here",
    "loses": "Federating does not pay here",
}
_HABITS = {
    "nothing": "inspecting nothing",
    "everything": "inspecting every row",
    "interval": "inspecting each machine by interval",
}
_ALONE = {"local_mean": "the same model learnt alone", "local_trees_mean": "a plant's own trees"}
_NAMED = 8


@dataclass(frozen=True)
class Verdict:
    """Hold the outcome, the sentence that says it, and what a careful reader should know beside it."""

    outcome: Outcome
    sentence: str
    remarks: tuple[str, ...] = ()


def judge(run: RunFolder) -> Verdict:
    """Return the verdict on a run, or on the runs of several seeds."""
    if not math.isfinite(average(run, "federated")):
        return Verdict("unknown", _unscored(run))
    contest = run.own_rows
    ruling = rule(contest) if contest else None
    if contest is None or ruling is None or ruling.outcome == "unknown":
        return Verdict("unknown", _uncompared(run))
    return Verdict(ruling.outcome, _sentence(run, contest, ruling), _remarks(run, contest, ruling))


def attack_sentence(run: RunFolder) -> str:
    """Say who attacked in a simulation, and how; empty where nobody did."""
    attack = run.about.get("attack") or {}
    who = [str(name) for name in attack.get("attackers") or ()]
    if not who:
        return ""
    num_clients, options = len(run.clients), attack.get("options") or {}
    how = ", ".join([str(attack["kind"]), *(f"{key} {value}" for key, value in options.items() if value is not None)])
    first = " with the first seed" if len(run.seeds) > 1 else ""
    return (
        f"This run has attackers: {_listed(who)}, {len(who)} of {plural(num_clients, 'plant')}{first}. Each "
        f"{attack['what']} ({how}) from round {attack['from_round']} on. Figures are over the rows of the other "
        f"{plural(num_clients - len(who), 'plant')}."
    )


def average(run: RunFolder, who: str, metric: str = METRIC) -> float:
    """Return a contender's metric on everybody's rows: the mean over seeds where several were run, else the run's."""
    means = [row.mean for row in run.comparison if row.who == who and row.metric == metric]
    return means[0] if means else run.scores(who)[metric]


def _sentence(run: RunFolder, contest: Contest, ruling: Ruling) -> str:
    """Say the outcome with the measure of both sides, the interval, and the failures that it rests on."""
    measure = contest.measure
    federated, alone = (contest.figures[who][measure].by_rows.mean for who in ("federated", ruling.rival))
    show = _shower(federated, alone)
    seeds = f", in the mean of {len(run.seeds)} seeds" if run.comparison and len(run.seeds) > 1 else ""
    return (
        f"{_first(contest, ruling)}{_LEADS[ruling.outcome]}: on the plants' own held-out rows, which hold "
        f"{plural(contest.failures, 'failure')}{seeds}, {_ours(contest)} {_REACHES[measure]} "
        f"{show(federated)} against {show(alone)} of {_ALONE[ruling.rival]}"
        f"{_between(contest.minus[ruling.rival][measure].by_rows)}."
    )


def _ours(contest: Contest) -> str:
    """Return what the federation gives a plant, in words: with personal parts a model of its own."""
    return "what federating gives each plant as its own model" if GLOBAL in contest.figures else "the federated model"


def _first(contest: Contest, ruling: Ruling) -> str:
    """Say first that doing without any model costs no more, or not clearly."""
    if not ruling.habit or ruling.surely_useful:
        return ""
    habit, spent = _HABITS[ruling.habit], _cost(contest, ruling.habit)
    ours = _cost(contest, "federated")
    if not ruling.useful:
        return f"{habit.capitalize()} costs no more than the model's alarms: {spent} per 1,000 rows against {ours}. "
    return f"It is not clear that the model's alarms cost less than {habit}: {ours} per 1,000 rows against {spent}. "


def _cost(contest: Contest, who: str) -> str:
    return f"{contest.figures[who]['cost'].by_rows.mean:,.0f}"


def _between(difference: Interval) -> str:
    """Return a difference with its interval, as the end of a sentence; a small one is not rounded to nothing."""
    ends = difference.mean, difference.low, difference.high
    mean, low, high = (signed(value, 3 if any(0 < abs(end) < 0.005 for end in ends) else 2) for value in ends)
    if not math.isfinite(difference.low + difference.high):
        return f": {mean}"
    return f": {mean}, with a 95% interval of {low} to {high}"


def _shower(*values: float) -> Callable[[float], str]:
    """Return a formatter with two decimals, or three where two would make unequal values look equal."""
    known = {value for value in values if math.isfinite(value)}
    digits = 2 if len({f"{value:.2f}" for value in known}) == len(known) else 3
    return lambda value: f"{value:.{digits}f}"


def _uncompared(run: RunFolder) -> str:
    """Say how good the model is where no plant's own was judged beside it."""
    reached = f"The federated model reaches an average precision of {average(run, 'federated'):.2f} on held-out rows; "
    if run.result is not None and run.result.delivered:
        taken = sum(word == "taken" for word, _ in run.result.delivered.values())
        return f"{reached}{taken} of {plural(len(run.result.delivered), 'plant')} took it into use."
    return f"{reached}no plant was trained alone beside it, so this run cannot say whether federating pays."


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


def _remarks(run: RunFolder, contest: Contest, ruling: Ruling) -> tuple[str, ...]:
    remarks = (
        _plants(contest, ruling),
        _alarms(run, contest, ruling),
        _others(contest, ruling),
        _everywhere(run),
        _personal(run, contest),
        _evidence(contest),
        contest.covers,
        _next(run, contest, ruling),
    )
    return tuple(remark for remark in remarks if remark)


def _plants(contest: Contest, ruling: Ruling) -> str:
    """Name the plants that are clearly better and worse, each by its own interval."""
    parts = [
        f"Clearly better with {_ours(contest)}: {_listed(ruling.better)}." if ruling.better else "",
        f"Clearly worse, so better off with a model of its own: {_listed(ruling.worse)}." if ruling.worse else "",
        f"Not clear at {plural(len(ruling.open), 'plant')} taken alone." if ruling.open else "",
    ]
    return " ".join(part for part in parts if part)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _alarms(run: RunFolder, contest: Contest, ruling: Ruling) -> str:
    """Compare what alarms and missed failures cost at the threshold chosen, with plants alone and with no model."""
    if "cost" not in contest.minus.get(ruling.rival, {}):
        return ""
    threshold = _risk(run.result.threshold) if run.result else "its threshold"
    since = "the risk that each chose on" if GLOBAL in contest.figures else f"a risk of {threshold} on"
    alone = contest.minus[ruling.rival]["cost"].by_rows
    low, high = (signed(value, 0) for value in (alone.low, alone.high))
    between = f" ({signed(alone.mean, 0)}, {low} to {high})" if math.isfinite(alone.low) else ""
    text = (
        f"With alarms from {since}, {_ours(contest)} costs {_cost(contest, 'federated')} per 1,000 "
        f"rows, {_ALONE[ruling.rival]} {_cost(contest, ruling.rival)}{between}"
    )
    return f"{text}, {_HABITS[ruling.habit]} {_cost(contest, ruling.habit)}." if ruling.habit else f"{text}."


def _risk(probability: float) -> str:
    """Return a threshold; one that is next to 1 or 0 is not rounded to it."""
    return f"{probability:.3g}" if probability <= 0.999 else f"1 - {1 - probability:.2g}"


def _others(contest: Contest, ruling: Ruling) -> str:
    """Say what the other contenders reach on the same rows."""
    others = [
        who
        for who in contest.figures
        if who not in ("federated", ruling.rival) and contest.measure in contest.figures[who]
    ]
    words = [f"{_ALONE.get(who) or contender(who).label} {_reached(contest, who)}" for who in others]
    return f"On the same rows: {'; '.join(words)}." if words else ""


def _reached(contest: Contest, who: str) -> str:
    return interval_text(contest.figures[who][contest.measure].by_rows, lambda value: f"{value:.2f}")


def _everywhere(run: RunFolder) -> str:
    """Say what a plant's own model knows of the other plants' machines, which is another question."""
    measure = run.own_rows.measure if run.own_rows else METRIC
    federated, local = average(run, "federated", measure), average(run, "local_mean", measure)
    if not math.isfinite(federated + local):
        return ""
    return (
        f"On everybody's held-out rows, machines of other plants included, the federated model reaches {federated:.2f} "
        f"and a plant's own {local:.2f}: that is what a plant would know of machines that it does not have yet."
    )


def _personal(run: RunFolder, contest: Contest) -> str:
    """Say that each plant has a model of its own, and who never trained."""
    if GLOBAL not in contest.figures:
        return ""
    never = run.result.untrained if run.result else ()
    without = f" {_listed(never)} never trained, and has the values that training began with." if never else ""
    return f"Each plant's own model stays with it; the run's folder holds the common one alone.{without}"


def _evidence(contest: Contest) -> str:
    """Warn of few failures."""
    if contest.failures >= FEW_FAILURES:
        return ""
    few = f"Only {plural(contest.failures, 'failure')} to test on: one more or less moves these figures visibly"
    return (
        f"{few}, and no interval is believed below {FEWEST_FAILURES}."
        if contest.failures < FEWEST_FAILURES
        else f"{few}."
    )


def _next(run: RunFolder, contest: Contest, ruling: Ruling) -> str:
    """Say what to do next, with the command."""
    behind = contest.minus.get("pooled_gbdt", {}).get(METRIC)
    kind = ((run.about.get("config") or {}).get("model") or {}).get("kind")
    if ruling.outcome != "pays" and kind != "trees" and behind and behind.by_rows.high < 0:
        trees = contest.figures["pooled_gbdt"][METRIC].by_rows.mean
        return (
            "Next: “werkbund run --set model.kind=trees” federates boosted trees; with all rows in one place these "
            f"reach {trees:.2f}."
        )
    if ruling.outcome in ("pays", "mixed"):
        keeps = " for the plants that gain" if ruling.outcome == "mixed" else ""
        seeds = "" if run.comparison else "“werkbund compare” repeats it over several seeds; "
        return f"Next: {seeds}“werkbund provision” writes what server and plants need for a real federation{keeps}."
    if ruling.outcome == "loses":
        return (
            "Next: let each plant keep its own model; “werkbund compare” shows whether that holds over several seeds."
        )
    more = "Next: more failures decide it, from more machines or a longer time"
    if run.comparison:
        return f"{more}."
    return f"{more}; meanwhile “werkbund compare” shows how far the figures move from seed to seed."
