"""The texts and tables of runs on a page."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rps.records.files import level_name
from rps.report.changes import caption, changes
from rps.report.findings import findings
from rps.report.oracle_rows import oracle_rows
from rps.report.paired_table import Comparison, paired_columns, paired_notes
from rps.report.shown import Shown
from rps.report.table import columns, notes


def without_folders(text: str) -> str:
    """Cuts the folders off absolute paths: a page that is sent to others does not show where its files were."""
    return re.sub(r"(?<![\w./~-])(?:~|\.\.)?(?:/[^\s'\"/]+)+/(?=[^\s'\"/])", "…/", text)


def run_view(run: Shown, told: Callable[[str], str]) -> dict[str, Any]:
    """The texts and tables of a run.  told: what is shown of a text that may have paths in it."""
    summary, table, changed = run.summary, columns(run.summary, counts=True), changes(run.summary)
    exact = [(f"{summary['knob']} {level_name(v['level'])}", v["oracle"]) for v in summary["levels"] if v.get("oracle")]
    return {
        "name": run.name,
        "knob": summary["knob"],
        "command": told(_command(run.folder)),
        "n": max((level["n"] for level in summary["levels"]), default=0),
        "levels": run.levels,
        "titles": [title for title, _ in table],
        "lines": list(zip(*(cells for _, cells in table), strict=True)),
        "findings": list(map(told, findings(summary))),
        "change_titles": [title for title, _ in changed],
        "change_lines": list(zip(*(cells for _, cells in changed), strict=True)),
        "caption": caption(summary) if changed else "",
        "exact": oracle_rows(exact) if exact else [],
        "notes": list(map(told, notes(summary))),
        "failures": [(id_, told(reason)) for id_, reason in sorted((summary.get("failures") or {}).items())],
        "failed": summary.get("failed") or 0,
        "definitions": summary.get("definitions") or {},
        "versions": summary.get("versions") or {},
    }


def paired_view(compared: Sequence[Comparison], told: Callable[[str], str]) -> dict[str, Any]:
    """The table of the first run and the others, and its notes."""
    table = paired_columns(*compared)
    left, remarks = paired_notes(*compared)
    lines = list(zip(*(cells for _, cells in table), strict=True))
    return {"titles": [title for title, _ in table], "lines": lines, "notes": list(map(told, [*left, *remarks]))}


def _command(folder: Path) -> str:
    """The command of the run, from the head of its config.yaml; else a command that repeats it."""
    config = folder / "config.yaml"
    text = config.read_text(encoding="utf-8") if config.is_file() else ""
    found = re.search("^# command: (.*)$", text, re.MULTILINE)
    return found[1] if found else shlex.join(["rps", "predict", "--config", f"{folder.resolve().name}/config.yaml"])
