"""The table and figures of a study go to its page of docs/."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import pages

STUDY = """
title: "a title"
page: results
tasks: [sr4, inpaint]
figures: {"": "", "grids/*.png": grid}
runs: {MAP-RPS: {configs: [embedded/TASK]}}
"""


@pytest.fixture
def docs(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "DOCS", tmp_path / "docs")
    (tmp_path / "docs" / "figures").mkdir(parents=True)
    (tmp_path / "docs" / "results.md").write_text("before\n<!-- mine -->\nold\n<!-- end of mine -->\nafter\n")
    return tmp_path / "docs"


def test_a_study_is_written_between_its_markers(docs, tmp_path):
    path, output = tmp_path / "mine.yaml", tmp_path / "runs"
    path.write_text(STUDY)
    output.mkdir()
    (output / "table.md").write_text("# a title\n\n| run |\n|----:|\n|   a |\n\nA note.\n")
    for name in ("sr4.png", "sr4_grid.png", "inpaint.png", "inpaint_grid.png"):
        (output / name).write_text(name)
    pages.write_study(path, output)
    text = (docs / "results.md").read_text()
    assert text.startswith("before\n<!-- mine -->\n") and text.endswith("\n<!-- end of mine -->\nafter\n")
    assert "\n| run |\n|----:|\n|   a |\n" in text and "A note" not in text and "old" not in text
    assert f"    python tools/pages.py {path}\n" in text and "![a title sr4](figures/mine_sr4_grid.png)" in text
    assert (docs / "figures" / "mine_inpaint.png").read_text() == "inpaint.png"


def test_what_cannot_be_written(docs, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY.replace("page: results\n", ""))
    with pytest.raises(SystemExit, match="names no page; rps study"):
        pages.write_study(path, tmp_path)
    with pytest.raises(SystemExit, match="has no lines <!-- other --> and"):
        pages.write_part("results", "other", "text")
