"""Studies: several runs from one file, with one table and one figure."""

from rps.study.file import read_study
from rps.study.report import begin, check_output, write_report
from rps.study.settings import Runs

__all__ = [
    "Runs",
    "begin",
    "check_output",
    "read_study",
    "write_report",
]
