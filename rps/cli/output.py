"""The run directory, from outside: refused, cleared, begun or gone on with, and listed at the end."""

from __future__ import annotations

import json
import platform
import shlex
import shutil
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rps import __version__
from rps.cli.changes import changes
from rps.cli.errors import InputError

FILES = ("config.yaml", "metrics.json", "table.md", "dp_curve.png", "report.html")
FOLDERS = ("grids", "images", "records", "features")
HEADER = "# rps "


def check(output: Path, config: str, overwrite: bool, inputs: Sequence[str] = ()) -> bool:
    """Can a run of this config be written here?  -> Does it go on with one that is there?  Nothing is changed.

    config: as YAML. inputs: paths that the run reads. Errors: InputError when the run would touch what is not its own,
    or when the one in the directory is of another config.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output} is a file; give the name of a folder, new or empty")
    # Names that begin with a dot are our own lock, and what a run that was killed was about to write.
    if not output.is_dir() or all(path.name.startswith(".") for path in output.iterdir()):
        return False
    if not _is_run(output):
        raise InputError(
            f"output {output} is not empty and was not written by rps (it has no config.yaml of a run); give another "
            "--output"
        )
    if not overwrite:
        _refuse_other_config(output, config)
        return True
    inside = [given for given in inputs if output.resolve() in Path(given).expanduser().resolve().parents]
    if inside:
        raise InputError(f"--overwrite would remove {inside[0]}, which this run reads; give another --output")
    return False


def _refuse_other_config(output: Path, given: str) -> None:
    import yaml

    found = changes(config(output), yaml.safe_load(given))
    if found:
        more = f", and {len(found) - 5} more" if len(found) > 5 else ""
        raise InputError(
            f"output {output} holds a run of another config: {'; '.join(found[:5])}{more}; go on with the same config, "
            "give another --output, or --overwrite to replace the run"
        )


def config(output: Path) -> dict[str, Any]:
    """config.yaml of a run."""
    import yaml

    try:
        found = yaml.safe_load((output / "config.yaml").read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{output / 'config.yaml'} is not YAML any more; --overwrite starts the run afresh") from error
    return found if isinstance(found, dict) else {}


def begin(output: Path, config: str, command: Sequence[str]) -> None:
    """Removes what an earlier run wrote, and writes config.yaml: the config, below the versions that read it.

    Records go first, since they promise that the rest is there, and the sign that this is a run last.
    """
    from rps.records.files import write_text

    for name in (*reversed(FOLDERS), *reversed(FILES)):
        path = output / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    versions = {"rps": __version__, "python": platform.python_version()}
    for package in ("torch", "torchvision", "lightning", "diffusers", "datasets", "timm", "torchmetrics"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    header = [
        f"{HEADER}predict --config THIS_FILE --output DIR repeats this run.",
        "# versions: " + ", ".join(f"{name} {number}" for name, number in versions.items()),
        f"# date: {_now()}",
        f"# command: {shlex.join(['rps', 'predict', *command])}",
    ]
    write_text(output / "config.yaml", "\n".join(header) + "\n" + config.rstrip() + "\n")


def go_on(output: Path, command: Sequence[str]) -> None:
    """Notes in config.yaml, which stays, that the run goes on, and removes what killed processes left half-written."""
    from rps.records.done import sweep
    from rps.records.files import write_text

    sweep(output)
    lines = (output / "config.yaml").read_text(encoding="utf-8").splitlines()
    comments = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    lines.insert(comments, f"# gone on with: {_now()}: {shlex.join(['rps', 'predict', *command])}")
    write_text(output / "config.yaml", "\n".join(lines) + "\n")


def abandon(output: Path, created: bool) -> bool:
    """Removes the config.yaml of a run that wrote nothing else, and the folder if it was made for it.  -> Was it so?"""
    from rps.records.lock import NAME as LOCK

    if not output.is_dir():
        return True
    ours = {output / "config.yaml", output / LOCK}
    if [path for path in output.rglob("*") if not path.is_dir() and path not in ours]:
        return False
    if _is_run(output):
        for path in ours:
            path.unlink(missing_ok=True)
        for folder in sorted((path for path in output.rglob("*") if path.is_dir()), reverse=True):
            folder.rmdir()
        if created:
            output.rmdir()
    return True


def written(output: Path, since: float) -> list[str]:
    """What the run has written, one line each; folders with the number of their files.

    since: when the run began, in seconds since the epoch.
    """
    order = {name: i for i, name in enumerate((*FILES, *FOLDERS))}
    lines = []
    found = [path for path in output.iterdir() if not path.name.startswith(".")]
    for path in sorted(found, key=lambda path: (order.get(path.name, len(order)), path.name)):
        files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
        # Clocks of file systems tick more coarsely than ours.
        files = [file for file in files if file.stat().st_mtime >= since - 2]
        if files:
            lines.append(f"{path}/ ({len(files)} file{'s' * (len(files) != 1)})" if path.is_dir() else str(path))
    return lines


def metrics(output: Path) -> dict[str, Any]:
    """metrics.json of a run; empty when nobody has written it."""
    path = output / "metrics.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _is_run(output: Path) -> bool:
    path = output / "config.yaml"
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().startswith(HEADER)


def reasons(output: Path) -> dict[str, str]:
    """id -> reason of the samples that failed, of all processes, from the records; empty when there are none."""
    import pyarrow.parquet

    found: dict[str, str] = {}
    for path in sorted((output / "records").glob("[!.]*.parquet")):
        rows = pyarrow.parquet.read_table(path)
        if {"id", "status", "reason"} <= set(rows.column_names):
            found |= {row["id"]: row["reason"] for row in rows.to_pylist() if row["status"] == "failed"}
    return found
