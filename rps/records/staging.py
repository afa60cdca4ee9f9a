"""New records of a run, made beside the old ones and put in their place at once."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from rps.records.files import write_text, written
from rps.records.rows import NAME

STAGED = ".rps-staged"
COMPLETE = "complete"
"""A file in STAGED: from the moment that it exists, the files there are those of the run."""
FOLDERS = ("records", "features")
TABLES = ("metrics.json", "table.md", "dp_curve.png", "config.yaml")


def stage(run: Path) -> Path:
    """An empty folder for the new files."""
    discard(run)
    (run / STAGED).mkdir()
    return run / STAGED


def current(run: Path) -> Path:
    """The folder with the records, features and config that count, also after a kill within `settle`."""
    return run / STAGED if (run / STAGED / COMPLETE).is_file() else run


def complete(run: Path) -> None:
    """Makes the staged files those of the run."""
    write_text(run / STAGED / COMPLETE, "")
    settle(run)


def settle(run: Path) -> bool:
    """Moves complete files to their places, or removes incomplete ones; after a kill, another call does the rest.

    -> whether they were complete.
    """
    if done := current(run) != run:
        for folder in FOLDERS:
            _replace(run / STAGED / folder, run / folder)
        for name in TABLES:
            if (run / STAGED / name).is_file():
                os.replace(run / STAGED / name, run / name)
        (run / STAGED / COMPLETE).unlink()
    discard(run)
    return done


def discard(run: Path) -> None:
    """Removes what is staged."""
    if (run / STAGED).is_dir():
        shutil.rmtree(run / STAGED)


def _replace(source: Path, target: Path) -> None:
    """Makes the files of RecordWriter in a folder those of another; the source stays, since readers use it."""
    new = {path.name for path in source.iterdir()} if source.is_dir() else set()
    for path in list(target.iterdir()) if target.is_dir() else ():
        if NAME.fullmatch(path.name) and path.name not in new:
            path.unlink()
    for name in new:
        if not (target / name).exists():
            with written(target / name) as temporary:
                with suppress(OSError):  # a file system without links
                    os.link(source / name, temporary)
                if not temporary.exists():
                    shutil.copyfile(source / name, temporary)
    with suppress(OSError):  # not empty
        target.rmdir()
