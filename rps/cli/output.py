"""The run directory, from outside: refused, cleared, begun, and listed at the end."""

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
from rps.cli.errors import InputError

FILES = ("config.yaml", "metrics.json", "table.md", "dp_curve.png")
FOLDERS = ("grids", "images", "records", "features")
HEADER = "# rps "


def refuse_unless_free(output: Path, overwrite: bool, inputs: Sequence[str] = ()) -> None:
    """Errors: InputError when the run would touch something that is not its own. Nothing is changed here.

    inputs: paths that the run reads.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output} is a file; give the name of a folder, new or empty")
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not overwrite:
        raise InputError(
            f"output {output} is not empty; give another --output, or --overwrite to replace the run in it"
        )
    if not _is_run(output):
        raise InputError(
            f"output {output} was not written by rps (it has no config.yaml of a run), so --overwrite could remove "
            "what is not its own; give another --output"
        )
    inside = [given for given in inputs if output.resolve() in Path(given).expanduser().resolve().parents]
    if inside:
        raise InputError(f"--overwrite would remove {inside[0]}, which this run reads; give another --output")


def begin(output: Path, config: str, command: Sequence[str]) -> None:
    """Removes what an earlier run wrote, and writes config.yaml: the config, below the versions that read it."""
    for name in (*FILES, *FOLDERS):
        path = output / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    output.mkdir(parents=True, exist_ok=True)
    versions = {"rps": __version__, "python": platform.python_version()}
    for package in ("torch", "torchvision", "lightning", "diffusers", "datasets", "timm", "torchmetrics"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    header = [
        f"{HEADER}predict --config THIS_FILE --output DIR repeats this run.",
        "# versions: " + ", ".join(f"{name} {number}" for name, number in versions.items()),
        f"# date: {datetime.now(timezone.utc).isoformat(timespec='seconds')}",
        f"# command: {shlex.join(['rps', 'predict', *command])}",
    ]
    (output / "config.yaml").write_text("\n".join(header) + "\n" + config.rstrip() + "\n", encoding="utf-8")


def abandon(output: Path, created: bool) -> bool:
    """Removes the config.yaml of a run that wrote nothing else, and the folder if it was made for it.  -> Was it so?"""
    if not output.is_dir():
        return True
    if [path for path in output.rglob("*") if not path.is_dir() and path != output / "config.yaml"]:
        return False
    if _is_run(output):
        (output / "config.yaml").unlink()
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
    for path in sorted(output.iterdir(), key=lambda path: (order.get(path.name, len(order)), path.name)):
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
