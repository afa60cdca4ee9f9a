"""Studies: several runs from one file, with one table and one figure."""

from rps.study.file import read_study
from rps.study.report import begin, check_output, check_study, write_report
from rps.study.settings import Runs
from rps.study.table import column_title, standard_columns

__all__ = [
    "Runs",
    "begin",
    "check_output",
    "check_study",
    "column_title",
    "read_study",
    "standard_columns",
    "write_report",
]
