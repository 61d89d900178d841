"""The report on a run or a bench: reads its folder only, and says honestly whether federating, or choosing, paid."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.report.bench import (
        MATRIX,
        BenchFolder,
        MatrixFolder,
        bench_sentence,
        matrix_sentence,
        read_bench,
        read_matrix,
        write_bench_report,
        write_matrix_report,
    )
    from werkbund.report.folder import Result, RunFolder, read_run
    from werkbund.report.notebook import run_html
    from werkbund.report.run_page import write_report
    from werkbund.report.sections.clusters import cluster_sentence
    from werkbund.report.sections.contributions import contribution_sentence
    from werkbund.report.sections.later import later_sentence
    from werkbund.report.verdict import Verdict, attack_sentence, judge
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "MATRIX",
    "BenchFolder",
    "MatrixFolder",
    "Result",
    "RunFolder",
    "Verdict",
    "attack_sentence",
    "bench_sentence",
    "cluster_sentence",
    "contribution_sentence",
    "judge",
    "later_sentence",
    "matrix_sentence",
    "read_bench",
    "read_matrix",
    "read_run",
    "run_html",
    "write_bench_report",
    "write_matrix_report",
    "write_report",
]
