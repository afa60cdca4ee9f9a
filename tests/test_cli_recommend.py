"""`rps recommend`: what it prints, its exit codes, and what it refuses, in one sentence each."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from rps.cli import main
from rps.records.directory import CONTENT, MARKER
from tests.rps.curves import Population, write_population


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_population(Path("run"), Population(32, 0), (0, 100, 400))


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--max-rmse", "0.11"], 0), (["--max-frechet=0.8"], 0), (["--knee"], 0), (["--max-rmse", "0.01"], 3)],
)
def test_a_level_is_printed(options, code, capsys):
    before = sorted(Path().rglob("*"))
    assert main(["recommend", "run", *options]) == main(["recommend", *options, "run"]) == code
    out, err = capsys.readouterr()
    assert re.match(r"t0 = \d+ \(95 % interval \d+ to \d+; 32 images\)\n\n\| at t0 = \d+ \|", out) and err == ""
    assert " RMSE | 0.1" in out and " √FD | " in out and before == sorted(Path().rglob("*"))


@pytest.mark.slow
def test_the_printed_command_is_understood(capsys):
    """With the class's own option for the level."""
    model = {"class_path": "modules.MapRps", "init_args": {
        "prior": {"class_path": "rps.priors.EmbeddedPrior"}, "operator": {"class_path": "rps.operators.Denoise"},
        "noise": 0.1, "t0": [0, 100, 400]}}  # fmt: skip
    Path("run/config.yaml").write_text(yaml.safe_dump({"model": model, "data": {"class_path": "datamodules.Embedded"}}))
    assert main(["recommend", "run", "--max-rmse", "0.11"]) == 0
    out = capsys.readouterr().out
    command = shlex.split(out[out.index("    rps predict") :])
    assert main([*command[1:], "--print_config"]) == 0
    level = int(out.split()[2])
    assert yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["t0"] == [level]


BAD = {
    "no bound": (["run"], "takes a run and one of --max-METRIC X, --min-METRIC X and --knee: one of the arguments"),
    "two bounds": (["run", "--knee", "--max-rmse", "1"], "not allowed with argument"),
    "no run": (["--knee"], "the following arguments are required: RUN"),
    "no value": (["run", "--max-rmse"], "expected 2 arguments"),
    "no number": (["run", "--max-rmse", "low"], "--max-rmse must be a number, got 'low'"),
    "not finite": (["run", "--max-rmse", "nan"], "a bound is a number for one of rmse"),
    "wrong side": (
        ["run", "--min-rmse", "1"],
        "--min-rmse is no bound of this run; it has --max-rmse, ",
    ),
    "no metric": (["run", "--max-beauty", "1"], "it has --max-rmse, --max-sqrt-frechet, --max-kernel, --max-frechet"),
    "nowhere": (["nowhere", "--knee"], "there is no run nowhere"),
    "unknown": (["run", "--knees"], "is required|unrecognized arguments: --knees"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case, capsys):
    given, expected = BAD[case]
    Path("run", MARKER).write_text(CONTENT)
    assert main(["recommend", *given]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("rps: error: ") and len(err.splitlines()) == 1 and out == ""
    assert re.search(expected, err), err


def test_help(capsys):
    assert main(["recommend", "--help"]) == 0
    assert "usage: rps recommend RUN" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "rps recommend" in capsys.readouterr().out
