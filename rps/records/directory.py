"""The run directory: how it is recognised, what a run may remove from it, and how one run replaces another."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rps.bounded_yaml import load_yaml
from rps.records.changes import changes
from rps.records.choices import NONE, Choices
from rps.records.config_file import new_config, with_event
from rps.records.files import PICTURES, TEMPORARY, file_name, level_name, spread_name, write_text
from rps.records.lock import NAME as LOCK
from rps.records.reader import has_records
from rps.records.rows import NAME
from rps.records.staging import current, settle

MARKER = ".rps-run"
"""A file that only `RunDirectory.begin` writes: a folder with this file is a run."""
CONTENT = "rps run directory, format 1\n"
REPLACED = ".rps-replaced"
"""The folder that holds the files of an earlier run until the run that replaces it has restored its first batch."""
LOGS = "logs"
"""The folder of the loggers' files, which are theirs: some loggers create it before the run begins."""
EVALUATED = re.compile(r"trainer\.callbacks\.\d+\.(metrics|features|reference)\b")
"""Values of a config that `rps evaluate` changes."""
FILES = ("config.yaml", "metrics.json", "table.md", "dp_curve.png", "report.html")
FOLDERS = ("grids", "images", "records", "features")
GRID = re.compile(r"rank(\d+)_(loader\d+_)?batch(\d+)\.png")
NAMES = {"records": NAME, "features": NAME, "grids": GRID}
"""Names of a run's files in these folders; pictures are named by the ids in the records."""


class RunRefused(ValueError):
    """This run may not write to, or cannot use, the directory."""


class RunRemoved(OSError):
    """The directory was removed while the run was writing to it."""

    exit_code = 1
    """Exit code of the command: not 2, since the input is not at fault."""


def is_run(folder: Path) -> bool:
    """Whether the folder is a run, by its marker."""
    try:
        return (folder / MARKER).read_text(encoding="utf-8") == CONTENT
    except (OSError, UnicodeDecodeError):
        return False


def check_has_records(folder: Path) -> None:
    """Errors: RunRefused if there is nothing to merge or to compare."""
    if not folder.is_dir():
        raise RunRefused(f"there is no run {folder}; give the --output folder of a run")
    if not has_records(folder):
        what = "has no records yet" if is_run(folder) else "is not a run: it has no records"
        raise RunRefused(f"{folder} {what}; rps predict writes records after each batch")


class RunDirectory:
    """A folder that holds one run: call `check` before anything heavy, then `begin` or `resume`, and `commit`.

    `begin` sets the files of an earlier run aside, `commit` removes them, and `abandon` puts them back, as does the
    next start if the process was killed in between. Only files with names that a run writes are ever touched.

    A marker among the files set aside means that they are the run of the directory: it is moved first, moved back last,
    and removed first by `commit`. Files set aside without a marker are to be removed.

    choices: what a config only chooses, so that a run is extended to another choice and not refused.
    """

    def __init__(self, path: str | Path, choices: Choices = NONE) -> None:
        self.path, self.choices = Path(path), choices
        self._aside = self.path / REPLACED

    def __str__(self) -> str:
        return str(self.path)

    def config(self) -> dict[str, Any]:
        """config.yaml of the run; empty if there is none.  Errors: RunRefused if it is not YAML."""
        places = [*([self._aside] if is_run(self._aside) else []), current(self.path), self.path]
        for path in (place / "config.yaml" for place in places):
            if path.is_file():
                try:
                    found = load_yaml(path.read_text(encoding="utf-8"))
                except ValueError as error:
                    raise RunRefused(
                        f"{path} is no longer valid YAML; restore it, or give --overwrite to start from scratch"
                    ) from error
                return found if isinstance(found, dict) else {}
        return {}

    def check(self, config: str, overwrite: bool, inputs: Sequence[str] = ()) -> bool:
        """Whether a run of this config resumes an existing one.  Nothing is changed.

        config: as YAML. inputs: paths that the run reads. Errors: RunRefused if the run would touch files that are not
        its own, or if the run in the directory has another config.
        """
        output, place = self.path, self.path.resolve()
        if output.exists() and not output.is_dir():
            raise RunRefused(f"output {output} is a file; give a new or empty folder")
        for path in inputs:
            if overwrite and place in Path(path).expanduser().resolve().parents:
                raise RunRefused(f"--overwrite could remove {path}, which this run reads; give another --output")
        if checkpoint := next(output.glob("hpc_ckpt_*.ckpt"), None):
            raise RunRefused(f"Lightning would load the weights in {checkpoint} into the prior; move that file away")
        for folder in ("records", "features"):
            if (output / folder).is_symlink():
                raise RunRefused(
                    f"{output / folder} is a link, but a run writes only to its own folders; remove the link"
                )
        if not is_run(output) and not is_run(self._aside):
            # Names that begin with a dot are our lock and the temporary files of killed runs.
            names = {path.name for path in output.iterdir()} if output.is_dir() else set()
            if any(not name.startswith(".") for name in names - {LOGS}):
                raise RunRefused(
                    f"output {output} is not empty and was not written by rps (it has no file {MARKER}); give another "
                    "--output"
                )
            return False
        found = {} if overwrite else self.config()
        if not overwrite and not found and any(_named(output, "records")):
            raise RunRefused(
                f"output {output} has records, but their config.yaml is missing; restore it, or give --overwrite to "
                "start from scratch"
            )
        if found:  # a run that was killed early has no config
            self._refuse_other_config(found, config)
        return bool(found)

    def _refuse_other_config(self, before: Mapping[str, Any], given: str) -> None:
        import yaml

        found = changes(*self.choices.common(before, yaml.safe_load(given)))
        if found:
            more = f", and {len(found) - 5} more" if len(found) > 5 else ""
            metrics = all(map(EVALUATED.match, found))
            instead = f"; rps evaluate {self.path} changes the metrics of a run" if metrics else ""
            raise RunRefused(
                f"output {self.path} holds a run of another config: {'; '.join(found[:5])}{more}; resume it with the "
                f"same config, give another --output, or --overwrite to replace it{instead}"
            )

    def begin(self, config: str, command: Sequence[str]) -> None:
        """Sets the files of an earlier run aside and writes config.yaml: versions, command and config."""
        self.recover()
        if is_run(self.path):
            _move(self.path, self._aside, [MARKER, *_own_files(self.path)])
        write_text(self.path / MARKER, CONTENT)
        write_text(self.path / "config.yaml", new_config(config, ["predict", *command]))

    def recover(self) -> None:
        """Cleans up after a killed process."""
        if not self.put_back():
            self.commit()
        settle(self.path)
        sweep(self.path)

    def resume(self, config: str, command: Sequence[str]) -> None:
        """Adds the command to the comments of config.yaml, and levels and samples to its values if the run is extended.
        Removes the temporary files of killed processes."""
        import yaml

        self.recover()
        before, given = self.config(), yaml.safe_load(config)
        united = self.choices.united(before, given)
        event, values = ("extended", united) if changes(before, united) else ("resumed", None)
        text = (self.path / "config.yaml").read_text(encoding="utf-8")
        write_text(self.path / "config.yaml", with_event(text, event, ["predict", *command], values))

    def commit(self) -> None:
        """Removes the files that `begin` set aside: the directory now holds this run. Any process may call it."""
        if self._aside.is_dir():
            (self._aside / MARKER).unlink(missing_ok=True)
            with suppress(OSError):  # another process may remove the same files; the next start removes the rest
                for name in _all_files(self._aside):
                    (self._aside / name).unlink(missing_ok=True)
                _remove_empty(self._aside)

    def put_back(self) -> bool:
        """Removes this run's files and puts back those that `begin` set aside.  -> whether there were any."""
        if not is_run(self._aside):
            return False
        if is_run(self.path):
            for name in (MARKER, *_own_files(self.path)):
                (self.path / name).unlink(missing_ok=True)
        _move(self._aside, self.path, [*_all_files(self._aside), MARKER])
        return True

    def abandon(self, created: bool) -> bool:
        """Undoes `begin` if the run has written nothing else; an earlier run is put back.  -> whether it was undone.

        created: whether the folder was made for this run.
        """
        if self.put_back():
            return True
        if is_run(self.path):
            made = [path for name in FOLDERS for path in (self.path / name).rglob("*") if path.is_file()]
            if made or any((self.path / name).is_file() for name in FILES if name != "config.yaml"):
                return False
            for name in (MARKER, "config.yaml", LOCK):
                (self.path / name).unlink(missing_ok=True)
            for name in FOLDERS:
                _remove_empty(self.path / name)
            if created:
                _remove_empty(self.path)
        return True

    def check_there(self) -> None:
        """Errors: RunRemoved if the directory or its marker was removed since `begin`."""
        if not is_run(self.path):
            raise RunRemoved(f"the run directory {self.path} was removed while the run was writing to it")

    def written(self, since: float) -> list[str]:
        """The files and folders that the run has written, one line each; folders with their number of files.

        since: start of the run, in seconds since the epoch.
        """
        order = {name: i for i, name in enumerate((*FILES, *FOLDERS))}
        lines = []
        found = [path for path in self.path.iterdir() if not path.name.startswith(".")]
        for path in sorted(found, key=lambda path: (order.get(path.name, len(order)), path.name)):
            files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
            # File systems have coarser clocks than ours.
            files = [file for file in files if file.exists() and file.stat().st_mtime >= since - 2]
            if files:
                lines.append(f"{path}/ ({len(files)} file{'s' * (len(files) != 1)})" if path.is_dir() else str(path))
        return lines

    def metrics(self) -> dict[str, Any]:
        """metrics.json of the run; empty if it does not exist."""
        path = self.path / "metrics.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def sweep(run: str | Path) -> int:
    """Removes the temporary files of killed processes; call it when no run is writing.  -> their number."""
    folders = [Path(run), *(Path(run) / name for name in FOLDERS)]
    folders += [path for path in (Path(run) / "images").glob("*") if path.is_dir()]
    stale = [path for folder in folders for path in folder.glob(".*") if TEMPORARY.fullmatch(path.name)]
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)


def _named(run: Path, folder: str) -> Iterator[str]:
    """The files of a folder with names that a run gives, relative to the run."""
    place = run / folder
    if place.is_dir() and not place.is_symlink():
        yield from (f"{folder}/{name}" for name in sorted(os.listdir(place)) if NAMES[folder].fullmatch(name))


def _own_files(run: Path) -> list[str]:
    """Every file that a run has written except its marker, relative to the run; config.yaml first, links unresolved."""
    found = [name for name in FILES if os.path.lexists(run / name)]
    for folder in ("records", "features", "grids"):
        found += _named(run, folder)
    folders, files = _pictures(run)
    for folder in sorted(folders):
        place = run / "images" / folder
        if not place.is_symlink() and not place.parent.is_symlink() and place.is_dir():
            found += [f"images/{folder}/{name}" for name in sorted(os.listdir(place)) if name in files]
    return found


def _all_files(aside: Path) -> list[str]:
    """All files set aside except the marker, relative to their folder; none of them is the user's."""
    found = [path.relative_to(aside).as_posix() for path in aside.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(name for name in found if name != MARKER)


def _pictures(run: Path) -> tuple[set[str], set[str]]:
    """Names of the folders and files in images/, from the records that can be read."""
    import pyarrow
    import pyarrow.parquet

    folders, files = {"measurement", "reference"}, set()
    for name in _named(run, "records"):
        try:
            table = pyarrow.parquet.read_table(run / name, columns=["id", "level"])
        except (pyarrow.ArrowException, OSError):
            continue
        levels = [level_name(level) for level in table["level"].unique().to_pylist() if level is not None]
        folders |= {*levels, *map(spread_name, levels)}
        names = [file_name(id_) for id_ in table["id"].unique().to_pylist() if id_ is not None]
        files |= {f"{name}{suffix}" for name in names for suffix in PICTURES}
    return folders, files


def _move(source: Path, target: Path, names: Sequence[str]) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(source / name):
            os.replace(source / name, target / name)
    for name in (*FOLDERS, "."):
        _remove_empty(source / name)


def _remove_empty(folder: Path) -> None:
    """Removes a folder of ours and its subfolders if they are empty."""
    if folder.is_dir() and not folder.is_symlink():
        for name in os.listdir(folder):
            if folder.name in ("images", REPLACED):
                _remove_empty(folder / name)
        with suppress(OSError):  # not empty
            folder.rmdir()
