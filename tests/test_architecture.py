"""ARCHITECTURE.md is true: every room imports its own floor and those below it only."""

import ast
import re
from pathlib import Path

import rps.operators
from rps.metrics import standard
from tests.rps.solvers import kinds

ROOT = Path(__file__).parent.parent
SHARED = {"rps/__init__.py"}
"""The front door, which imports all rooms, is none itself."""


def floors() -> dict[str, int]:
    """Path, or its beginning, -> floor, from the table."""
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    return {
        path.removesuffix(".py").removesuffix("*"): int(floor)
        for floor, names in rows
        for path in re.findall(r"`([^`]+)`", names)
    }


def floor_of(path: str) -> int | None:
    """Of a file: that of the longest beginning which the table names."""
    found = [name for name in floors() if path.startswith(name)]
    return floors()[max(found, key=len)] if found else None


def imported(path: Path) -> set[str]:
    """Files of ours that a file imports anywhere, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    places = [name.replace(".", "/") for name in names if name.split(".")[0] in ("rps", "modules", "datamodules")]
    files = {f"{place}{end}" for place in places for end in (".py", "/__init__.py")}
    return {file for file in files if (ROOT / file).is_file()}


def test_nothing_imports_upward():
    wrong = []
    for room in ("rps", "modules", "datamodules"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name in SHARED:
                continue
            floor = floor_of(name)
            assert floor is not None, f"ARCHITECTURE.md has no room for {name}"
            for other in imported(path) - SHARED:
                above = floor_of(other)
                if above is not None and above > floor:
                    wrong.append(f"{name} (floor {floor}) imports {other} (floor {above})")
    assert not wrong, "\n".join(wrong)


def test_lightning_stays_in_its_rooms():
    for path in sorted((ROOT / "rps").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(("rps/callbacks/", "rps/cli/", "rps/oracle/recorder.py")):
            assert not re.search(r"^\s*(import|from) lightning\b", path.read_text(), re.MULTILINE), name


def test_no_metric_is_named_outside_its_room():
    """Tables, records and comparisons know metrics by what these say of themselves."""
    metrics = {metric.name for metric in standard()} | {"arniqa"}  # lpips is a package as well
    rooms = [ROOT / "rps" / room for room in ("report", "records", "callbacks", "cli", "study")]
    for path in (path for room in rooms for path in room.glob("*.py")):
        texts = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert not texts & metrics, path.name


def names(path: Path) -> set[str]:
    """Every name that the code of a file uses, not its docstrings."""
    tree = ast.walk(ast.parse(path.read_text()))
    return {getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", "") for node in tree}


def test_no_sampler_names_an_operator():
    """Samplers know linear operators and their singular values, and no task. (check_sampler has one to try them on.)"""
    operators = set(kinds(rps.operators, rps.operators.Operator))
    assert "SuperResolution" in names(ROOT / "rps" / "samplers" / "check.py") & operators
    for path in (ROOT / "rps" / "samplers").glob("*.py"):
        if path.name != "check.py":
            assert not names(path) & operators, path.name
