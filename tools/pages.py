"""Makes markdown tables, and writes the generated parts of docs/."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A markdown table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def write_part(page: str, name: str, text: str) -> None:
    """Replaces the text between <!-- NAME --> and <!-- end of NAME --> in docs/PAGE.md."""
    path, begin, end = DOCS / f"{page}.md", f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    if not found or end not in rest:
        raise SystemExit(f"{path} has no lines {begin.strip()} and {end}; add them where the text should go")
    path.write_text(f"{before}{begin}{text}\n{end}{rest.partition(end)[2]}", encoding="utf-8")
