"""The run directory: rows and features in small files, merged at the end into metrics.json."""

from rps.records.directory import RunDirectory, check_has_records, is_run, sweep
from rps.records.done import levels_left, outcomes, recorded_ids
from rps.records.evaluate import evaluate
from rps.records.evaluation_session import EvaluationSession
from rps.records.files import file_name, level_name, write_json, written
from rps.records.lock import RunLock, RunLocked
from rps.records.reader import Records, has_records, read_records
from rps.records.rows import Origin, RecordWriter, Row, Vectors
from rps.records.session import Session, paths_in
from rps.records.summary import summary

__all__ = [
    "EvaluationSession",
    "Origin",
    "RecordWriter",
    "Records",
    "Row",
    "RunDirectory",
    "RunLock",
    "RunLocked",
    "Session",
    "Vectors",
    "check_has_records",
    "evaluate",
    "file_name",
    "has_records",
    "is_run",
    "level_name",
    "levels_left",
    "outcomes",
    "paths_in",
    "read_records",
    "recorded_ids",
    "summary",
    "sweep",
    "write_json",
    "written",
]
