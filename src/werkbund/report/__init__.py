"""The report on a run: reads the run's folder only, and says honestly whether federating paid."""

from werkbund.report.folder import Result, RunFolder, read_run
from werkbund.report.html import write_report
from werkbund.report.verdict import Verdict, judge

__all__ = ["Result", "RunFolder", "Verdict", "judge", "read_run", "write_report"]
