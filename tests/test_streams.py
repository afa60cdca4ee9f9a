"""What the command prints: text that prints, to whoever reads or does not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from rps.cli import main
from rps.printable import printable, printable_lines
from tests.cli_fakes import records, rps

pytestmark = pytest.mark.usefixtures("folder")

WILD = ["\x1b[2J\x1b[H", "a\nrps: all done", "a\rb", "\u202egnp.exe", "\udcff", "\x9b31m", "\u2028", "\0", "a\x08b"]


@pytest.mark.parametrize("name", WILD)
def test_what_does_not_print_becomes_its_escape(name):
    assert printable(name).isprintable() and printable(name) != name
    assert printable_lines(f"x\n{printable(name)}").count("\n") == 1
    assert printable("ü 漢字 \N{SNOWMAN}") == "ü 漢字 \N{SNOWMAN}"


def test_ids_and_messages_are_printed_on_their_line(capsys):
    """Names of files, the text of an error and the name of the output."""
    Path("pictures").mkdir()
    for i, name in enumerate(("\x1b[2Jred", "a\nrps: all done")):
        Path("pictures", f"{name}.png").write_bytes(b"rotten" * i)
    Image.new("L", (8, 8)).save("pictures/good.png")
    assert rps("--data.folder", "pictures", output="ru\nn\x1b[2J") == 3
    out, err = capsys.readouterr()
    assert all(line.isprintable() for line in (out + err).split("\n"))
    assert r"  ru\nn\x1b[2J/config.yaml" in out.split("\n")
    assert sum(line.startswith("rps: failed: ") for line in err.split("\n")) == 2 and "\nrps: all done" not in err
    assert main(["merge", "\x1b[2J"]) == main(["compare", "a\nb", "\x1b[2J"]) == main(["\x1b[2J"]) == 2
    assert all(line.isprintable() for line in capsys.readouterr().err.split("\n"))


def piped(command: str) -> tuple[int, str]:
    """The exit code of `rps COMMAND | a reader that ends at once`, and what it says on standard error."""
    reader, writer = os.pipe()
    os.close(reader)
    if not (child := os.fork()):  # of a process that has imported everything
        code = 99
        try:
            torch.set_num_threads(1)
            os.dup2(writer, 1)
            os.dup2(os.open("err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
            code = main(command.split())
            sys.stdout.flush()  # as the interpreter does at its end
        finally:
            os._exit(code)
    os.close(writer)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), Path("err").read_text()


def test_a_run_that_nobody_reads_is_done_to_its_end():
    talks = "--trainer.callbacks+=tests.cli_fakes.Bar"
    assert piped(f"predict --config fake.yaml --output run {talks}") == (0, "")
    assert len(records()) == 4 and Path("run/metrics.json").is_file()


@pytest.mark.parametrize("command", ["--help", "predict --config fake.yaml --print_config", "--version"])
def test_commands_that_nobody_reads_end_quietly(command):
    assert piped(command) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_cannot_be_written_is_said():
    with open("/dev/full", "w") as full:
        program = [sys.executable, "-m", "rps.cli", "--help"]
        done = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == (
        "rps: error: standard output cannot be written (No space left on device); what was printed is incomplete\n"
    )


def test_output_that_knows_few_letters(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    program = [sys.executable, "-m", "rps.cli", "schön"]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and r"'sch\xf6n' is not a command" in done.stderr
