"""The parts of the paper: none is forgotten, and one can be made from nothing."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from rps.cli.arguments import packaged_configs
from rps.study import read_study

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import pages  # noqa: E402
import paper  # noqa: E402

PARTS = paper.read()
OTHER = {"Figure by figure", "Requirements", "Agreement with the published runs, and differences", "Not included"}
"""Sections of docs/reproduce.md that are no experiments."""


def test_every_experiment_of_the_paper_is_listed(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["paper.py", "--list"])
    paper.main()
    shown = capsys.readouterr().out
    sections = set(re.findall(r"^## (.*)$", (ROOT / "docs" / "reproduce.md").read_text(), re.MULTILINE)) - OTHER
    assert {part.section for part in PARTS} - OTHER == sections
    names = (
        "PSCGAN",
        "PMRF",
        "MAP-RPS-A",
        "MAP-RPS-S",
        "RED-diff",
        "PiGDM",
        "t1, w",
        "0 to 1000",
        "super-resolution by 8",
    )
    for name in (
        *names,
        "Figure 1",
        "Figures 15 to 20",
        "eleven latent methods",
        "pixel solvers",
        "ImageNet",
        "DOT-DMax",
    ):
        assert name in shown, name
    for part in PARTS:
        assert f"--part {part.name}" in shown and all(f"    {name}: " in shown for name in part.studies)
        assert part.commands() or part.section in OTHER


STUDIES = sorted({name for part in PARTS for name in part.studies})


@pytest.mark.parametrize("name", STUDIES)
def test_the_configs_of_a_study_are_there(name):
    path = ROOT / "tools" / "studies" / f"{name}.yaml"
    if not path.is_file():
        pytest.skip(f"{name} is not there")
    study = read_study(path)
    for task in study.tasks:
        for run in study.runs.values():
            named = {config.replace("TASK", task) for config in run.configs}
            assert named <= set(packaged_configs())
    if study.page:
        assert f"<!-- {name} -->" in (ROOT / "docs" / f"{study.page}.md").read_text()


def test_a_misspelt_option_runs_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["paper.py", "--output", str(tmp_path / "out"), "--prat", "solvers"])
    with pytest.raises(SystemExit) as ended:
        paper.main()
    assert ended.value.code == 2 and not (tmp_path / "out").exists()
    assert capsys.readouterr().err == "error: --prat is not an option of tools/paper.py; did you mean --part?\n"


STUDY = """
title: tiny
page: results
figures: {"": curves, images: pictures}
common:
  configs: [demo]
  set: {data.limit: 3, model.t0: [0, 10], model.steps: 100, model.estimator.num_steps: 3}
runs: {DPS: {}, DDNM: {set: {model.sampler: {class_path: rps.samplers.Ddnm}}}}
"""
PART = {"what": "A figure", "section": "S", "published": "none", "studies": ["tiny", "later"], "ours": "RMSE"}


@pytest.mark.slow
def test_a_part_from_nothing(tmp_path, monkeypatch, capsys):
    """Made, not repeated, shown in paper.md and written to docs/."""
    tools, docs = tmp_path / "tools", tmp_path / "docs"
    (tools / "studies").mkdir(parents=True)
    (docs / "figures").mkdir(parents=True)
    (tools / "studies" / "tiny.yaml").write_text(STUDY)
    (tools / "paper.yaml").write_text(yaml.safe_dump({"one": PART}))
    for page, names in {"results": ["tiny"], "reproduce": ["paper"]}.items():
        marks = "".join(f"<!-- {name} -->\n<!-- end of {name} -->\n" for name in names)
        (docs / f"{page}.md").write_text(f"\n## S\n    rps predict --config demo\n\n## T\n{marks}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(paper, "TOOLS", tools)
    for module in (pages, paper):
        monkeypatch.setattr(module, "DOCS", docs)

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["paper.py", "--output", str(tmp_path / "out"), *arguments])
        paper.main()

    main("--trainer.accelerator", "cpu")
    folder = tmp_path / "out" / "studies" / "tiny"
    made, times = folder / "study.json", folder.with_suffix(".seconds").read_text()
    text = (tmp_path / "out" / "paper.md").read_text()
    assert "### tiny: 3 images, " in text and "(studies/tiny/curves.png)" in text and "| DDNM" in text
    assert "### later: not run in this form" in text
    assert {path.name for path in folder.glob("*.png")} == {"curves.png", "pictures.png"}

    before = made.stat().st_mtime_ns
    main("--part", "one")
    assert made.stat().st_mtime_ns == before and folder.with_suffix(".seconds").read_text() == times
    main("--write")
    rmse = json.loads(made.read_text())["runs"][0]["levels"][0]["metrics"]["rmse"]["mean"]
    line = next(line for line in (docs / "reproduce.md").read_text().splitlines() if "`--part one`" in line)
    assert f"DPS, t0 0: {rmse:.4f} / " in line and "later: not run in this form" in line and "[commands](#s)" in line
    assert "| DDNM" in (docs / "results.md").read_text() and (docs / "figures" / "tiny_pictures.png").is_file()
