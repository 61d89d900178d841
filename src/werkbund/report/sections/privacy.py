"""What the server saw of the plants' answers, and what training promised of a row, a machine or a plant."""

from __future__ import annotations

from collections.abc import Mapping

from werkbund.report.folder import RunFolder
from werkbund.report.page import PageSection, TextTable
from werkbund.report.text import number_text, plural
from werkbund.report.values import Json, number

_ABSENT = "The run did not write down what its server could see."
_SUMMED, _EACH = "in sums over several plants alone", "of each plant"


def seen(run: RunFolder) -> PageSection:
    """Return what the server learnt of the plants, and what hiding the rest took."""
    told = run.about.get("server_sees")
    told = told if isinstance(told, Mapping) else {}
    named = (("sums", _SUMMED), ("each", _EACH))
    rows = tuple((str(what), how) for key, how in named for what in told.get(key) or ())
    tables = (TextTable(("What left the plants", "The server saw it"), rows, numeric=False),) if rows else ()
    return PageSection(
        "seen", "Seen", "What could the server see?", _sentence(run, told), (), tables + _spent(run), absent=_ABSENT
    )


def _sentence(run: RunFolder, told: Mapping[str, object]) -> str:
    """Say in words whether single answers were hidden, and from whom they were not."""
    if not told:
        return ""
    if not told.get("sums"):
        return "The server saw every answer of each plant. With privacy.secure_sums it would have seen sums alone."
    others = max(len(run.clients) - 1, 1)
    return (
        "Updates, counts, statistics and trees were added under masks: the server learnt their sums over the plants "
        f"that took part, and no plant's own. {plural(others, 'plant')} of {len(run.clients)} that put their own parts "
        "together would know the last one's, and what sums themselves tell is not hidden."
    )


def _spent(run: RunFolder) -> tuple[TextTable, ...]:
    """Return what secure sums took; nothing where there were none."""
    lines = [line for line in run.rounds if line.sum_trips]
    if not lines:
        return ()
    trips, up = sum(line.sum_trips for line in lines), sum(line.bytes_up for line in lines)
    facts = (
        ("Round trips of secure sums", number_text(trips, 0)),
        ("A round", number_text(trips / len(lines), 1)),
        ("Bytes from the plants", f"{up / 1e6:,.1f} MB, masked words do not compress"),
    )
    return (TextTable(("Secure sums", "What they took"), facts, numeric=False),)


_UNPROMISED = "Training promised nothing of single rows, machines or plants, which the key unit of [privacy] does."


def promised(run: RunFolder) -> PageSection:
    """Return what training promised, what each plant spent of it, and what the promise does not cover."""
    told = run.result.privacy if run.result else {}
    tables = (_spending(told), _uncovered(told)) if told else ()
    return PageSection(
        "promised", "Promised", "What does training tell of a row?", _promise(told), (), tables, absent=_UNPROMISED
    )


def _promise(told: Json) -> str:
    """Say in words what the promise is about, how it is kept, and where it is none."""
    if not told:
        return ""
    if told.get("seeded"):
        return "Noise was drawn by the run's seed, for a test: who knows the seed takes it away. It protects nobody."
    most = number(told.get("epsilon"), "privacy.epsilon")
    unit, delta = told.get("unit"), number(told.get("delta"), "privacy.delta")
    bound = "no bound: a plant's epsilon is not known, or infinite" if most != most else f"epsilon {most:.2f} at most"
    return (
        f"Unit: a {unit} ({told.get('relation')}), {bound}, delta {delta:g}. Mechanism: {told.get('mechanism')}. With "
        f"this, no reader of what training sent can tell well whether a {unit} was there: the chances that he is right "
        "differ by a factor of e to the power of epsilon at most, but for the chance delta."
    )


def _spending(told: Json) -> TextTable:
    rows = tuple(
        (
            str(one.get("client")),
            number_text(number(one.get("trainings"), "trainings"), 0),
            number_text(number(one.get("noise"), "noise"), 2),
            number_text(number(one.get("epsilon"), "epsilon"), 2),
        )
        for one in told.get("clients") or ()
    )
    return TextTable(("Plant", "Trainings", "Noise, in clips", "Epsilon"), rows)


def _uncovered(told: Json) -> TextTable:
    rows = tuple((str(what),) for what in told.get("not_charged") or ())
    return TextTable(("Not noised, and not covered by epsilon",), rows, numeric=False)
