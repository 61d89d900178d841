"""What people see in a terminal of a run's figures."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from werkbund.cli.tables import comparison_table

FIGURES = {"average_precision": 0.44, "roc_auc": 0.9, "f1": 0.5, "recall": 0.5, "cost": 12.0}


def _shown(**bounds: float | None) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(comparison_table({"federated": FIGURES | bounds, "pooled": FIGURES}))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_figure_that_bins_leave_in_doubt_says_between_what_it_lies() -> None:
    shown = _shown(average_precision_low=0.4, average_precision_high=0.87, roc_auc_low=0.899, roc_auc_high=0.901)
    assert "Federated: avg prec 0.440, bins allow 0.400 to 0.870" in " ".join(shown.split())
    assert "ROC AUC 0.9" not in shown


@pytest.mark.parametrize("bounds", [{}, {"average_precision_low": None, "average_precision_high": None}])
def test_figures_that_are_known_well_say_nothing_of_bins(bounds: dict[str, None]) -> None:
    assert "bins allow" not in _shown(**bounds)
