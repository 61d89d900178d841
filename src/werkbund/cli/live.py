"""Progress for people: a live table of rounds in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from werkbund.core.text import fixed

if TYPE_CHECKING:
    from werkbund.evaluation import RoundNews

_ROWS = 8
_NAMED, _FEW = 3, 20


class LiveRounds:
    """Show the last rounds, how far the run is, and how long it will take.

    Parameters
    ----------
    console
        Where to; without a terminal behind it, a line a stage and ten lines a run are written.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._recent: deque[RoundNews] = deque(maxlen=_ROWS)
        self._stage = "starting"
        self._first: tuple[int, float] | None = None
        self._live = Live(console=console, refresh_per_second=8, transient=True, get_renderable=self._picture)

    def __enter__(self) -> LiveRounds:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def stage(self, what: str) -> None:
        """Say what is done now."""
        self._stage = what
        if not self._console.is_terminal:
            self._console.print(f"{what} ...", highlight=False)

    def round(self, news: RoundNews) -> None:
        """Take in a round."""
        if self._first is None:
            self._first = (news.record.round, time.perf_counter())
        before = _noted(self._recent[-1]) if self._recent else {}
        self._recent.append(news)
        number, last = news.record.round, news.last
        if self._console.is_terminal:
            return
        for line in _changes(before, news):
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        if number <= last and number % max(last // 10, 1) == 0:
            self._console.print(f"round {number} of {last}: {_score(news)}", highlight=False)

    def _picture(self) -> Group:
        parts: list[Table | Text | ProgressBar] = []
        if self._recent:
            parts += [self._table(), *_failures(_noted(self._recent[-1])), self._bar()]
        parts.append(Text(f"{self._stage} ...", style="dim"))
        return Group(*parts)

    def _table(self) -> Table:
        table = Table(box=None, header_style="bold", padding=(0, 2))
        for name in ("round", "clients", "loss", "validation AP", "F1", "update", "best"):
            table.add_column(name, justify="right")
        for news in self._recent:
            table.add_row(*_cells(news))
        return table

    def _bar(self) -> Text:
        news = self._recent[-1]
        done, last = min(news.record.round, news.last), news.last
        width = 30
        filled = round(width * done / last)
        bar = Text("━" * filled, style="cyan") + Text("━" * (width - filled), style="bright_black")
        return bar + Text(f" {done} of {last} rounds{self._left(done, last)}")

    def _left(self, done: int, last: int) -> str:
        if self._first is None or done <= self._first[0] or done >= last:
            return ""
        pace = (time.perf_counter() - self._first[1]) / (done - self._first[0])
        return f", about {_duration(pace * (last - done))} left"


def _failures(failed: Mapping[str, str]) -> list[Text]:
    """Return a line for each of the first clients that failed, and how many more there are."""
    lines = [Text(f"  {name}: {reason}", style="yellow") for name, reason in list(failed.items())[:_NAMED]]
    return lines + ([Text(f"  and {len(failed) - _NAMED} more", style="yellow")] if len(failed) > _NAMED else [])


def _changes(before: Mapping[str, str], news: RoundNews) -> list[str]:
    """Return who failed that had not failed in the round before, and who is back; of few clients alone."""
    if not 0 < len(news.record.cohort) <= _FEW:
        return []
    number, noted = news.record.round, _noted(news)
    lines = [f"round {number}: {name}: {reason}" for name, reason in noted.items() if name not in before]
    return lines + [f"round {number}: {name} is back" for name in before if name not in noted]


def _noted(news: RoundNews) -> Mapping[str, str]:
    """Return who failed, and whose update stood out, each with how."""
    return {**news.remarks, **news.failed}


def _cells(news: RoundNews) -> tuple[str, ...]:
    record, scores = news.record, news.scores.get("validation")
    failed = f" ({len(record.failures)} failed)" if record.failures else ""
    return (
        str(record.round) if record.cohort else "end",
        f"{len(record.cohort)}{failed}",
        "-" if record.loss is None else fixed(record.loss, 4),
        "-" if scores is None else fixed(scores.average_precision, 3),
        "-" if scores is None else fixed(scores.f1, 3),
        fixed(record.update_norm, 3),
        "●" if news.best_round == record.scored else "",
    )


def _score(news: RoundNews) -> str:
    scores = news.scores.get("validation")
    loss = "" if news.record.loss is None else f"loss {fixed(news.record.loss, 4)}, "
    if scores and math.isfinite(scores.rmse):
        return f"{loss}validation RMSE {fixed(scores.rmse, 2)}"
    return f"{loss}validation average precision {fixed(scores.average_precision, 3)}" if scores else loss


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
