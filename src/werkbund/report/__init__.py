"""The report on a run or a bench: reads its folder only, and says honestly whether federating, or choosing, paid."""

from werkbund.report.bench import BenchFolder, bench_sentence, read_bench, write_bench_report
from werkbund.report.folder import Result, RunFolder, read_run
from werkbund.report.run_page import write_report
from werkbund.report.sections.later import later_sentence
from werkbund.report.verdict import Verdict, attack_sentence, judge

__all__ = [
    "BenchFolder",
    "Result",
    "RunFolder",
    "Verdict",
    "attack_sentence",
    "bench_sentence",
    "judge",
    "later_sentence",
    "read_bench",
    "read_run",
    "write_bench_report",
    "write_report",
]
