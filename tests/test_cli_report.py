"""`rps report`: what it writes, and what it refuses, in one sentence each."""

from pathlib import Path

import pytest

from rps.cli import main
from tests.rps.curves import Population, write_population


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("runs/a", "runs/b")):
        images = Population(16, 0)
        images.a = images.a + 0.01 * seed
        write_population(Path(name), images, (0, 100))
    Path("notes.html").write_text("mine")
    Path("folder.html").mkdir()


def test_one_run(capsys):
    """The page of the run, or a file anywhere, which may be written again."""
    assert main(["report", "runs/a"]) == 0
    assert capsys.readouterr().out.endswith("Written:\n  runs/a/report.html\n")
    assert "<title>a</title>" in Path("runs/a/report.html").read_text()
    for _ in range(2):
        assert main(["report", "--standalone", "runs/a", "--output", "new/a.html"]) == 0
    assert "config.yaml</a>" not in Path("new/a.html").read_text()
    assert sorted(path.name for path in Path("runs/a").iterdir()) == ["features", "records", "report.html"]


def test_two_runs():
    assert main(["report", "runs/a", "runs/b/", "--output", "both.html"]) == 0
    text = Path("both.html").read_text()
    assert "<title>2 runs</title>" in text and "<h3>A: a</h3>" in text and "<h3>B: b</h3>" in text


BAD = {
    "no run": ([], "rps report takes one or more run directories: the following arguments are required: RUN"),
    "nowhere": (["nowhere"], "there is no run nowhere; give the --output folder of a run"),
    "no output": (["runs/a", "runs/b"], "several runs need a file for their page; give --output FILE.html"),
    "no page": (["runs/a", "--output", "a.txt"], "output a.txt must be a file that ends in .html"),
    "a folder": (["runs/a", "--output", "folder.html"], "output folder.html must be a file that ends in .html"),
    "theirs": (["runs/a", "--output", "notes.html"], "output notes.html exists and was not written by rps report"),
    "outside": (["runs/a", "--output", "new/a.html"], "would have to link to pictures outside its folder, in runs/a"),
    "no number": (["runs/a", "--pictures", "-1"], "it must be a whole number of samples, got '-1'"),
    "no count": (["runs/a", "--pictures", "few"], "it must be a whole number of samples, got 'few'"),
    "too many": (["runs/a"] * 27 + ["--output", "page.html"], "at most 26 runs, got 27; give fewer"),
}


@pytest.mark.parametrize("given", BAD)
def test_bad_input_is_one_sentence(given, capsys):
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert main(["report", *BAD[given][0]]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("rps: error: ") and err.count("\n") == 1 and BAD[given][1] in err, err
    assert before == {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}


def test_help(capsys):
    assert main(["report", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: rps report RUN [RUN ...]")
