"""The commands that README.md and docs/ show are understood."""

import argparse
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from rps.cli import main, tune
from rps.cli.arguments import packaged_configs
from rps.cli.classes import find
from rps.tuning import read_space

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACES = ("TASK", "METHOD", "SAMPLER")


def joined(page: Path) -> str:
    """The text of a page, with a command that is broken into lines in one."""
    return page.read_text().replace("\\\n", " ")


def commands(page: Path) -> list[list[str]]:
    """Every `rps predict` and `rps tune` of a page: a list, in which names in capitals take each of the names that the
    page lists for them in turn."""
    text = joined(page)
    found = []
    for match in re.finditer(r"^    (rps (?:predict|tune) .*)$", text, re.MULTILINE):
        command, after = re.split(r"\s+# ", match.group(1))[0], text[match.end() :]
        names = {place: names_of(place, after) for place in PLACES if place in command}
        first = {place: listed[0] for place, listed in names.items()}
        turns = [{**first, place: name} for place, listed in names.items() for name in listed] or [{}]
        found.append([filled(command, chosen) for chosen in turns])
    return found


def names_of(place: str, text: str) -> list[str]:
    """The list behind the next "PLACE: a, b, c."."""
    listed = re.search(rf"\b{place}: ([\w/,\s]+)\.", text)
    assert listed, f"no list of names for {place}"
    return re.split(r",\s+", listed.group(1))


def filled(command: str, chosen: dict[str, str]) -> str:
    for place in reversed(PLACES):  # a method's name may have the task in it
        command = command.replace(place, chosen.get(place, place))
    return command


ELSEWHERE = ("my_blur", "my_operators", "my_metrics", "my_callbacks")  # files of the reader
SHOWN = {c[0]: (page.name, c) for page in PAGES for c in commands(page) if not any(name in c[0] for name in ELSEWHERE)}
EVERY = [command for _, turns in SHOWN.values() for command in turns]


def test_commands_are_found():
    assert len(SHOWN) > 30 and len(EVERY) > 100
    assert any("method/ffhq/denoise/map_rps_s " in command for command in EVERY)
    assert not [command for command in EVERY if any(place in command for place in PLACES)]


def test_the_configs_and_classes_of_all_commands_are_there():
    """tests/test_configs.py parses these configs, so that one command of each list is enough below."""
    configs = packaged_configs()
    for command in EVERY:
        named = [name for name in re.findall(r"--config (\S+)", command) if not name.startswith("runs/")]
        assert all(name in configs or (ROOT / name).is_file() for name in named), command
        assert all(find(path) for path in re.findall(r"\brps\.\w+\.[A-Z]\w+", command)), command


@pytest.mark.parametrize(("page", "command"), [(page, command) for command, (page, _) in SHOWN.items()])
def test_command_is_understood(page, command, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    _, name, *arguments = shlex.split(command)
    assert main([name, *arguments, "--print_config"]) == 0, capsys.readouterr().err
    if name == "tune":
        given, rest = tune.parser().parse_known_args(arguments)
        tuned = [f"--{option}={values.first}" for option, values in read_space(given.over).items()]
        assert main(["predict", *rest, *tuned, "--print_config"]) == 0, capsys.readouterr().err


TOOL = re.compile(r"\bpython (tools/\w+\.py[^`\n]*)")
TOOLS = [(page.name, re.split(r"\s+# ", command)[0]) for page in PAGES for command in TOOL.findall(joined(page))]


class Understood(Exception):
    """The arguments were parsed."""


@pytest.mark.parametrize(("page", "command"), TOOLS)
def test_command_of_a_tool_is_understood(page, command, monkeypatch):
    def parse_args(parser, arguments=None):
        with monkeypatch.context() as inner:
            inner.setattr(argparse.ArgumentParser, "parse_known_args", known)
            parse(parser, arguments)
        raise Understood

    def parse_known_args(parser):
        known(parser)
        raise Understood

    parse, known = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", parse_known_args)
    monkeypatch.syspath_prepend(ROOT / "tools")
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(Understood):
        runpy.run_path(str(ROOT / sys.argv[0]), run_name="__main__")


def test_tools_and_studies_that_are_named_are_there():
    named = [(path, name) for path in (*PAGES, *ROOT.glob("configs/**/*.yaml"), *ROOT.glob("rps/**/*.py"))
             for name in re.findall(r"\btools/[\w/]+\.(?:py|yaml)", path.read_text())]  # fmt: skip
    assert len(named) > 60
    assert [(path, name) for path, name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_that_a_page_names_are_there(page):
    """`test_x.py::test_y`, and `::test_z` of the same file."""
    file = ""
    for name, test in re.findall(r"([\w/]+\.py)?::(test_\w+)", page.read_text()):
        file = name or file
        (path,) = [path for path in (ROOT / "tests").rglob("*.py") if str(path).endswith("/" + file)]
        assert f"def {test}(" in path.read_text(), f"{file} has no {test}"
