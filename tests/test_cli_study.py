"""`rps study`: runs that share stage 1 are the runs alone, a repeated command resumes, bad input costs nothing."""

import gc
import json
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from modules import SolverModule
from rps.cli import main
from rps.cli.arguments import packaged_configs
from rps.records import read_records
from tests.cli_fakes import rps
from tests.study_fakes import Late

COMMON = {
    "configs": ["demo"],
    "set": {
        "data.limit": 6, "data.batch_size": 4, "model.t0": [0, 100], "model.steps": 4, "model.estimator.num_steps": 3,
    },
}  # fmt: skip
STUDY = {
    "title": "step sizes",
    "common": COMMON,
    "runs": {
        "small": {},
        "large": {"set": {"model.sampler.step_size": 0.5}},
        "longer": {"set": {"model.estimator.num_steps": 4}},
    },
}
ALONE = [
    "predict", "--config", "demo", "--data.limit", "6", "--data.batch_size", "4", "--model.t0", "[0,100]",
    "--model.steps", "4", "--model.estimator.num_steps", "3", "--model.sampler.step_size", "0.5",
]  # fmt: skip


def write(path: str, **content) -> str:
    Path(path).write_text(yaml.safe_dump({**STUDY, **content}, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A folder with a study, st, and its second run alone, alone."""
    folder, before = tmp_path_factory.mktemp("study"), os.getcwd()
    os.chdir(folder)
    try:
        assert main(["study", write("steps.yaml"), "--output", "st"]) == 0
        assert main([*ALONE, "--output", "alone"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def _in(done, monkeypatch):
    monkeypatch.chdir(done)


def pictures(run: str) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in Path(run).rglob("*.png")}


def counted(row):
    """The cost of a row without times, and without what of it was read."""
    return row.cost._replace(seconds=None, stored_forward_equivalents=None)


@pytest.mark.usefixtures("_in")
def test_a_run_that_shares_stage_1_is_the_run_alone():
    """Every picture, metric, feature and cost; only the records say what was read: 3 forwards per image."""
    shared, alone = read_records("st/large"), read_records("alone")
    assert shared.rows.keys() == alone.rows.keys()
    for key, rows in shared.rows.items():
        for id_, row in rows.items():
            other = alone.rows[key][id_]
            assert replace(row, cost=counted(row)) == replace(other, cost=counted(other))
    for key, features in shared.features.items():
        assert all(torch.equal(vector, alone.features[key][id_]) for id_, vector in features.items())
    kept = {name: data for name, data in pictures("st/large").items() if not name.startswith("dp_curve")}
    assert kept == {name: data for name, data in pictures("alone").items() if not name.startswith("dp_curve")}
    stored = {run: read_records(run).rows["restored", 100] for run in ("st/small", "st/large", "st/longer", "alone")}
    numbers = {run: {row.cost.stored_forward_equivalents for row in rows.values()} for run, rows in stored.items()}
    assert numbers == {"st/small": {0.0}, "st/large": {3.0}, "st/longer": {0.0}, "alone": {0.0}}
    assert len(list(Path("st/.stage1").iterdir())) == 2, "one file per batch, and none for the run that shares nothing"
    assert "a cost of 3 was not computed but read" in Path("st/large/table.md").read_text()


def state():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    return handlers, dict(os.environ), list(sys.path), list(sys.argv), sys.stdout, sys.stderr, Path.cwd()


@pytest.mark.usefixtures("_in")
def test_a_repeated_command(capsys):
    """It restores nothing, makes the same table, and leaves nothing behind in the process: no module with its prior."""
    at_first, modules = state(), {id(found) for found in gc.get_objects() if isinstance(found, SolverModule)}
    before = {path: path.read_bytes() for path in Path("st").rglob("*/records/*.parquet")}
    table = Path("st/table.md").read_text()
    assert main(["study", "steps.yaml", "--output", "st"]) == 0
    assert state() == at_first
    assert {id(found) for found in gc.get_objects() if isinstance(found, SolverModule)} <= modules
    out, err = capsys.readouterr()
    assert {path: path.read_bytes() for path in Path("st").rglob("*/records/*.parquet")} == before
    assert err.count("6 samples are done") == 3 and Path("st/table.md").read_text() == table
    assert table.strip() in out and "A⁺y" not in out, "the tables of runs are not printed"
    assert out.endswith("st/table.md\n  st/study.json\n  st/curves.png\n  st/small/\n  st/large/\n  st/longer/\n")
    assert re.search(r"computed stage 1 once: 18 of \d+ network forwards were saved", table)
    levels = json.loads(Path("st/study.json").read_text())["runs"][1]["levels"]
    assert levels[0]["minus_first"]["rmse"]["difference"] == 0 != levels[1]["minus_first"]["rmse"]["difference"]


BAD = {
    "no output": (["steps.yaml"], "takes a study file and an --output folder: .*required: --output"),
    "no file": (["step_sizes", "--output", "x"], "study step_sizes: there is no such file .*mean step_size?"),
    "not ours": (["steps.yaml", "--output", "mine"], "output mine is not empty and was not written by rps study"),
    "a run": (["steps.yaml", "--output", "alone"], "output alone is not empty and was not written by rps study"),
    "a file": (["steps.yaml", "--output", "steps.yaml"], "output steps.yaml is a file"),
    "an option of no run": (["steps.yaml", "--output", "x", "--retry-failed"], "mean --retry_failed?"),
    "what the runs differ in": (["steps.yaml", "--output", "x", "--model.sampler.step_size", "1"], "make the runs of"),
    "no such task": (["steps.yaml", "--output", "x", "--tasks", "sr4"], "--tasks sr4: the study has no such task"),
    "a bad option": (
        ["steps.yaml", "--output", "x", "--model.stepps", "1"],
        "run small: model.stepps is not an option",
    ),
    "a bad file": (["bad.yaml", "--output", "x"], "study bad.yaml: 'colums' is not a key of the file"),
    "a bad run": (["bad_run.yaml", "--output", "x"], "run second: model.steps must be int or null, got 'many'"),
    "a setting of a method": (["bad_steps.yaml", "--output", "x"], "run second: steps must be at least 1, got -3"),
    "a column": (
        ["bad_column.yaml", "--output", "x"],
        "'RSME' is not a column of the table of the study; did you mean RMSE?",
    ),
    "another study": (
        ["other.yaml", "--output", "st"],
        "output st holds the report of another study, with a run 'small' that",
    ),
    "another config": (
        ["steps.yaml", "--output", "st", "--seed", "1"],
        "run small: output st/small holds a run of ano",
    ),
}


@pytest.mark.usefixtures("_in")
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_costs_nothing(case, capsys):
    given, expected = BAD[case]
    Path("mine").mkdir(exist_ok=True)
    Path("mine/notes.txt").write_text("mine")
    write("bad.yaml", colums=[])
    write("bad_run.yaml", runs={"first": {}, "second": {"set": {"model.steps": "many"}}})
    write("bad_steps.yaml", runs={"first": {}, "second": {"set": {"model.steps": -3}}})
    write("bad_column.yaml", columns=["run", "sqrt FD", "RSME"])
    write("other.yaml", runs={"alone": {}})
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert main(["study", *given]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("rps: error: ") and len(err.splitlines()) == 1 and out == ""
    assert re.search(expected, err), err
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_a_study_belongs_to_one_process(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["study", write("steps.yaml"), "--output", "x"]) == 2
    assert "started in several processes; start it once" in capsys.readouterr().err


def test_a_run_that_fails_ends_the_study_and_the_next_start_resumes(done, monkeypatch, capsys):
    """At first the second run finds no data, then one picture of it cannot be read."""
    monkeypatch.chdir(done)
    late = {"class_path": "tests.study_fakes.Late", "init_args": {"limit": 6, "batch_size": 4}}
    path = write("late.yaml", runs={"first": {}, "second": {"set": {"data": late}}})
    monkeypatch.setattr(Late, "fails", "the camera is off")
    assert main(["study", path, "--output", "late"]) == 2
    err = capsys.readouterr().err
    assert "error: the camera is off" in err and "stopped at second, with 1 of 2 runs done; the same command" in err
    assert not Path("late/table.md").exists()
    monkeypatch.setattr(Late, "fails", "")
    assert main(["study", path, "--output", "late"]) == 3
    out, err = capsys.readouterr()
    assert "resuming late/first: 6 samples are done" in err and "1 sample failed" in err and "| failed |" in out


def test_a_run_that_restores_nothing_ends_the_study(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    path = write("none.yaml", runs={"none": {"set": {"data.subset": ["nobody", "nothing"], "data.limit": 1}}})
    assert main(["study", path, "--output", "st"]) == 3
    err = capsys.readouterr().err
    assert "no sample was restored" in err and "stopped at none, with 0 of 1 runs done" in err


def test_a_folder_for_stage_1(folder, capsys):
    """A file is refused before anything is written; a model without stage 1 is restored as without the option."""
    assert rps("--stage1", "fake.yaml") == 2
    assert "error: --stage1 fake.yaml is a file; give a folder" in capsys.readouterr().err
    assert not Path("run").exists()
    assert rps("--stage1", "new") == 0
    assert "--stage1 has no effect: FakeModel has no estimator" in capsys.readouterr().err
    assert not Path("new").exists() and Path("run").exists()
    before = sorted(Path("run").rglob("*"))
    for stage1 in ("run", "other"):  # a run that is done, and the run that begins
        assert rps("--stage1", stage1, output="other") == 2
        assert f"--stage1 {stage1} is the folder of a run; give another one" in capsys.readouterr().err
        assert sorted(Path("run").rglob("*")) == before and not Path("other").exists()


def test_help_and_the_packaged_study(capsys):
    assert main(["study", "--help"]) == 0
    assert "usage: rps study FILE --output DIR" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "rps study" in capsys.readouterr().out
    assert set(packaged_configs(studies=True)) == {"step_size"}
