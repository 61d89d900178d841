"""The pages of benches: of selection at equal cost, and of defences against attacks."""

from typing import TYPE_CHECKING

from werkbund._lazy import lazy_names

if TYPE_CHECKING:
    from werkbund.report.bench.matrix import MATRIX, MatrixFolder, matrix_sentence, read_matrix, write_matrix_report
    from werkbund.report.bench.page import bench_sentence, write_bench_report
    from werkbund.report.bench.values import BenchFolder, BenchLine, read_bench
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "MATRIX",
    "BenchFolder",
    "BenchLine",
    "MatrixFolder",
    "bench_sentence",
    "matrix_sentence",
    "read_bench",
    "read_matrix",
    "write_bench_report",
    "write_matrix_report",
]
