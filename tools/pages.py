"""Run studies, and write their tables and figures to the pages of docs/ that they name.

    python tools/pages.py tools/studies/traversals.yaml

Runs or resumes `rps study FILE --output runs/studies/NAME`, and replaces what is between <!-- NAME --> and
<!-- end of NAME --> in docs/PAGE.md, where NAME is that of the study file and PAGE its key `page`.
"""

from __future__ import annotations

import argparse
import shutil
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


def write_study(path: Path, output: Path) -> None:
    """Writes the table and the figures of a study, whose folder is `output`, to its page."""
    from rps.study import read_study

    study, name = read_study(path), path.stem
    if study.page is None:
        raise SystemExit(f"{path} names no page; rps study {path} --output DIR shows its table")
    lines = (output / "table.md").read_text(encoding="utf-8").splitlines()
    figures = []
    for task in study.tasks:
        for figure in study.plots(task).values():
            target = f"{name}.png" if figure == "curves.png" else f"{name}_{figure}"
            shutil.copyfile(output / figure, DOCS / "figures" / target)
            figures.append(f"![{study.title} {task}](figures/{target})")
    table = "\n".join(line for line in lines if line.startswith("|"))
    parts = [f"    python tools/pages.py {path}", *filter(None, ["\n".join(figures)]), table]
    write_part(study.page, name, "\n" + "\n\n".join(parts) + "\n")


def main() -> None:
    from rps.cli import main as rps

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", type=Path, nargs="+", help="files in tools/studies/")
    for path in parser.parse_args().studies:
        output = Path("runs/studies") / path.stem
        if status := rps(["study", str(path), "--output", str(output)]):
            raise SystemExit(status)
        write_study(path, output)


if __name__ == "__main__":
    main()
