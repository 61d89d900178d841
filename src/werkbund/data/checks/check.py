"""All checks of a table, in the order of how much they matter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import polars.selectors as cs

from werkbund.data.checks.clients import check_clients
from werkbund.data.checks.columns import check_columns, check_roles
from werkbund.data.checks.finding import LEVELS, Finding, share
from werkbund.data.checks.labels import check_label
from werkbund.data.checks.units import check_units
from werkbund.data.table import Table

_MANY_ROWS = 2_000_000


def check_rows(table: Table) -> Iterator[Finding]:
    """Yield rows that repeat another one in every column."""
    # Of very many rows only hashes are compared: a fraction of the memory, and two of them hardly ever agree.
    rows = table.frame.n_unique() if table.num_rows < _MANY_ROWS else table.frame.hash_rows(seed=0).n_unique()
    repeated = table.num_rows - rows
    if repeated:
        message = (
            f"{share(repeated, table.num_rows)} repeat another one in every column; a copy among the test rows "
            "flatters the model, so drop them unless they are true repetitions."
        )
        yield Finding("warning", "", "duplicate-rows", message, repeated)


CHECKS: tuple[Callable[[Table], Iterable[Finding]], ...] = (
    check_label,
    check_columns,
    check_roles,
    check_units,
    check_rows,
    check_clients,
)


def check(table: Table) -> tuple[Finding, ...]:
    """Return what is wrong or worth knowing about a table: errors first, then warnings, then notes."""
    table = replace(table, frame=table.frame.with_columns(cs.float().fill_nan(None)))
    findings = [finding for run in CHECKS for finding in run(table)]
    return tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level)))
