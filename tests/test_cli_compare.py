"""`rps compare`: what it prints and writes, and what it refuses, in one sentence each."""

import json
from pathlib import Path

import pytest
import yaml

from rps.cli import main
from rps.records import RecordWriter, Row
from rps.records.directory import CONTENT, MARKER

CONFIG = {
    "model": {
        "class_path": "modules.MapRps",
        "init_args": {
            "operator": {"class_path": "rps.operators.SuperResolution", "init_args": {"factor": 4}},
            "noise": 0.1,
            "steps": 20,
        },
    },
    "data": {"class_path": "datamodules.Embedded", "init_args": {"limit": 8, "batch_size": 4}},
}


def a_run(folder: str, levels=(0, 100), error=0.1, knob="t0", noise=0.1, **data) -> str:
    rows = [
        Row(f"s{i}", level, metrics={"rmse": error + 0.01 * i * (1 + level / 100)})
        for level in levels
        for i in range(6)
    ]
    RecordWriter(folder).write(rows, knob)
    config = json.loads(json.dumps(CONFIG))
    config["model"]["init_args"]["noise"] = noise
    config["data"]["init_args"].update(data)
    Path(folder, "config.yaml").write_text(yaml.safe_dump(config))
    Path(folder, MARKER).write_text(CONTENT)
    return folder


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_two_runs(capsys):
    """Nothing is written unless asked for; where, when, and how many samples were run is no other task."""
    a, b = a_run("a"), a_run("b", error=0.2, limit=6, batch_size=1)
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert main(["compare", a, b]) == 0
    out = capsys.readouterr().out
    assert out.startswith("A: a (t0)\\\nB: b (t0)\n\n6 samples in common. None are left out.\n")
    assert "| -0.1000 | -0.1000 to -0.1000 |      A |" in out and "Written" not in out
    assert before == {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("place", "files"),
    [
        ("new/folder", ["new/folder/comparison.md", "new/folder/comparison.json"]),  # there is nothing to draw
        ("some.md", ["some.md"]),
        ("deep/some.json", ["deep/some.json"]),
    ],
)
def test_the_comparison_is_written(place, files, capsys):
    assert main(["compare", a_run("a"), a_run("b", error=0.2), "--output", place]) == 0
    printed = capsys.readouterr().out
    assert printed.endswith("Written:\n" + "".join(f"  {file}\n" for file in files))
    for file in map(Path, files):
        if file.suffix == ".json":
            found = json.loads(file.read_text())
            (found,) = found["comparisons"]
            assert found["levels"][1]["metrics"]["rmse"]["difference"] == pytest.approx(-0.1) and found["samples"] == 6
        else:
            assert file.read_text().strip() == printed.partition("\n\nWritten:")[0].strip()


def test_several_runs(capsys):
    """Each against the first, in one table; levels of another knob are named."""
    runs = [a_run("a"), a_run("b", error=0.2), a_run("c", levels=(1,), error=0.05, knob="samples")]
    assert main(["compare", *runs, "--output", "all.json"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("A: a (t0)\\\nB: b (t0)\\\nC: c (samples)\n\n6 samples in common of A and B. None are")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "| A: t0 | its level | run | n | figure | A | its value | A − run | 95 % interval | better |" in lines  # noqa: RUF001
    assert "| 100 | t0 100 | B | 6 | RMSE | 0.1500 | 0.2500 | -0.1000 | -0.1000 to -0.1000 | A |" in lines
    assert any(line.startswith("| 0 | samples 1 | C | 6 | RMSE | 0.125000 | 0.075250 | +0.049750 |") for line in lines)
    assert "each level of A is compared with each level of C" in out and "level of B;" not in out
    found = json.loads(Path("all.json").read_text())
    assert found["run"] == "a" and [each["other"] for each in found["comparisons"]] == ["b", "c"]


def test_a_figure_needs_distances(capsys):
    """Only a file of ours is replaced."""
    from tests.rps.test_compare import write

    runs = [str(write(Path(name), [error] * 6)) for name, error in (("a", 0.1), ("b", 0.2), ("c", 0.3))]
    for _ in range(2):
        assert main(["compare", *runs, "--output", "all"]) == 0
        assert capsys.readouterr().out.endswith("  all/comparison.md\n  all/comparison.json\n  all/comparison.png\n")
    Path("all/comparison.png").write_bytes(b"\x89PNG mine")
    assert main(["compare", *runs, "--output", "all"]) == 2
    assert "all/comparison.png exists and was not written by rps compare" in capsys.readouterr().err
    assert main(["compare", a_run("d"), a_run("e"), "--output", "curves.png"]) == 0
    assert "there is no figure: no run has a level with RMSE" in capsys.readouterr().err
    assert not Path("curves.png").exists()


def test_levels_of_two_knobs(capsys):
    a, b = a_run("a"), a_run("b", levels=(1, 4), knob="samples")
    assert main(["compare", a, b, "--levels", "100:4"]) == 0
    out = capsys.readouterr().out
    assert "| A: t0 | B: samples |  n |" in out and "|   100 |          4 |  6 |" in out
    assert main(["compare", a, a, "--levels=100:0,0"]) == 0
    assert "|   100 |     0 |  6 |" in capsys.readouterr().out


BAD = {
    "no such run": (["a", "nowhere"], "there is no run nowhere; give the --output folder"),
    "not a run": (["a", "empty"], "empty is not a run: it has no records"),
    "no records": (["a", "begun"], "begun has no records yet"),
    "one run": (["a"], "takes two or more run directories: the following arguments are required: RUN_B"),
    "many runs": (["a"] * 27, "at most 26 runs, got 27"),
    "a third that differs": (["a", "a", "noisy"], "a and noisy have different tasks"),
    "no such option": (["a", "a", "--outptu", "x"], "unrecognized arguments: --outptu"),
    "no value": (["a", "a", "--output"], "expected one argument"),
    "no such level": (["a", "a", "--levels", "7"], "a has no level t0 = 7; it has 0, 100"),
    "no level": (["a", "a", "--levels", "high"], "must be pairs of levels such as 200:4,300:8, got 'high'"),
    "three levels": (["a", "a", "--levels", "1:2:3"], "must be pairs of levels such as 200:4,300:8, got '1:2:3'"),
    "a table": (["a", "a", "--output", "x.csv"], "output x.csv must end in .md, .json or .png, or be a folder"),
    "a run's file": (["a", "a", "--output", "a/metrics.json"], "output a/metrics.json exists and was not written"),
    "a user's file": (["a", "a", "--output", "mine.md"], "output mine.md exists and was not written by rps compare"),
    "a file": (["a", "a", "--output", "file"], "output file is a file"),
    "another noise": (["a", "noisy"], "a and noisy have different tasks .* model.noise is 0.1 in one and 0.3 in the"),
    "other data": (["a", "folder"], "a and folder have different data .* data.size is nothing in one and 64 in the"),
    "a foreign file": (["a", "foreign"], "is not a records file that this program wrote"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case, capsys):
    import re

    given, expected = BAD[case]
    a_run("a")
    a_run("noisy", noise=0.3)
    a_run("folder", size=64)
    for folder in ("empty", "begun", "foreign/records"):
        Path(folder).mkdir(parents=True)
    Path("begun", MARKER).write_text(CONTENT)
    Path(f"foreign/records/{0:020d}-00000-1-{0:08x}.parquet").write_text("no")
    Path("file").write_text("")
    Path("mine.md").write_text("my notes")
    Path("a/metrics.json").write_text("{}")
    assert main(["compare", *given]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("rps: error: ") and len(err.splitlines()) == 1 and out == ""
    assert re.search(expected, err), err


def test_help(capsys):
    assert main(["compare", "--help"]) == 0
    assert "usage: rps compare RUN_A RUN_B" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "rps compare" in capsys.readouterr().out
