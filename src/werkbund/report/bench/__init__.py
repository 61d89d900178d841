"""The report on a bench: who beats uniform selection at equal cost, where, and what each method takes."""

from werkbund.report.bench.page import bench_sentence, write_bench_report
from werkbund.report.bench.values import BenchFolder, BenchLine, read_bench

__all__ = ["BenchFolder", "BenchLine", "bench_sentence", "read_bench", "write_bench_report"]
