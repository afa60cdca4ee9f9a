"""rps merge: what the records of a run come to, at any time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rps.cli import output
from rps.cli.errors import one_line


def merge(argv: Sequence[str]) -> int:
    """Writes anew what is made of RUN/records, also beside a run that is under way.  -> exit code."""
    if len(argv) != 1 or argv[0].startswith("-"):
        return _error("rps merge takes one run directory, e.g. rps merge runs/demo")
    run = Path(argv[0])
    if not (run / "config.yaml").is_file():
        return _error(f"{run} holds no run: there is no config.yaml in it")
    from rps.records.reader import has_records

    if not has_records(run):
        return _error(f"{run} has no records yet; a run writes them after each of its batches")
    try:
        _merge(run)
    except (ValueError, OSError) as error:
        return _error(one_line(error))
    print((run / "table.md").read_text(encoding="utf-8").strip())
    print("\nWritten:")
    for name in ("metrics.json", "table.md", "dp_curve.png", "report.html"):
        if (run / name).is_file():
            print(f"  {run / name}")
    return 0


def _merge(run: Path) -> None:
    from rps.callbacks.metric_recorder import load_reference, lpips_definition
    from rps.report.curve import dp_curve_plot
    from rps.report.merge import merge
    from rps.report.page import write_page

    settings = _recorder(output.config(run))
    reference = settings.get("reference")
    found = merge(run, load_reference(reference) if reference else None, lpips_definition(settings.get("lpips")))
    try:
        dp_curve_plot(found, run / "dp_curve.png")
    except ValueError as reason:
        print(f"no distortion-perception curve: {reason}", file=sys.stderr)
    write_page(run, found)


def _recorder(config: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the MetricRecorder of the run.  Errors: ValueError for a recorder that merges in its own way."""
    for name, given in recorders(config).items():
        if name == "MetricRecorder":
            return given
        raise ValueError(
            f"the run was recorded by {name}, whose figures need more than the records; the rps predict command of "
            "the run, given again, merges them"
        )
    return {}


def recorders(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Class name -> arguments, of the callbacks of a config.yaml that write records."""
    callbacks = (config.get("trainer") or {}).get("callbacks") or []
    found = {}
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        name = str(callback.get("class_path")).rpartition(".")[2] if isinstance(callback, dict) else ""
        if name.endswith("Recorder"):
            found[name] = callback.get("init_args") or {}
    return found


def _error(text: str) -> int:
    print(f"rps: error: {text}", file=sys.stderr)
    return 2
