"""Studies: several runs from one file, with one table and one figure."""

from rps.study.file import read_study
from rps.study.report import begin, check_output, write_report
from rps.study.results import Result, read_results
from rps.study.settings import Runs, Study
from rps.study.table import study_columns, study_notes

__all__ = [
    "Result",
    "Runs",
    "Study",
    "begin",
    "check_output",
    "read_results",
    "read_study",
    "study_columns",
    "study_notes",
    "write_report",
]
