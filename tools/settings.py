"""Choose the settings of every method by one procedure: for each family the same number of trials on the same pictures.

    python tools/settings.py                         # all searches of tools/settings.yaml; resumes
    python tools/settings.py --only latent/sr4 solvers/inpaint/dps
    python tools/settings.py --processes 14 --trainer.accelerator gpu
    python tools/settings.py --write                 # what is finished, to configs/embedded/ and docs/comparison.md

Every search is an `rps tune` in OUTPUT/FAMILY/TASK/METHOD; other options are passed on to it. No trial ends early. With
--write nothing is searched: the best trial of a finished search becomes configs/embedded/FAMILY/TASK/METHOD.yaml, and a
method without a config gets the values where its search starts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml
from pages import markdown, write_part

from rps.cli.arguments import WITH_VALUE, check_passed
from rps.cli.errors import InputError, did_you_mean
from rps.cli.tune import parser as tune_parser
from rps.study.settings import Runs
from rps.tuning.space import read_values

TOOLS = Path(__file__).resolve().parent
CONFIGS = TOOLS.parent / "configs" / "embedded"
DIGITS = 3
"""Digits of the values that are written."""
OPTIONS = ("--only", "--output", "--processes", "--write")
BEST = "the best of"
START = "where its search starts; nobody has run it"


@dataclass(frozen=True)
class Method:
    """A method of a family on a task.

    common: what is below its model. trials: number of them in each search. model: where the search starts. over: option
    -> values. levels: values of its knob that have a value of the option each; empty if one value serves all.
    """

    name: str
    family: str
    task: str
    common: Runs
    trials: int
    model: Mapping[str, Any]
    over: Mapping[str, Any]
    levels: Sequence[float] = ()

    @property
    def place(self) -> str:
        return f"{self.family}/{self.task}/{self.name}"

    @property
    def config(self) -> Path:
        return CONFIGS / f"{self.place}.yaml"

    def searches(self, output: Path) -> list[tuple[Path, dict[str, Any]]]:
        """The folder of each search, and more options of its start."""
        folder = output / self.place
        if not self.levels:
            return [(folder, {})]
        return [(folder / f"{level:g}", {"model.levels": [level]}) for level in self.levels]

    def found(self, output: Path) -> dict[str, Any] | None:
        """Option -> its best value, or those at the levels; None unless all searches over these values are finished."""
        best: list[dict[str, Any]] = []
        for folder, _ in self.searches(output):
            path = folder / "trials.json"
            search = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            if search.get("over") != {option: values_of(values) for option, values in self.over.items()}:
                return None
            trials = search["trials"]
            first = sorted(trial["number"] for trial in trials)[: self.trials]  # a search may hold more
            trials = [trial for trial in trials if trial["number"] in first]
            if len(trials) < self.trials or trials[0]["state"] != "complete":
                return None
            best.append({option: rounded(value) for option, value in trials[0]["settings"].items()})
        return {option: [b[option] for b in best] if self.levels else best[0][option] for option in self.over}

    def chosen(self) -> dict[str, Any] | None:
        """Option -> the value in its config; None if no search has found it."""
        text = self.config.read_text(encoding="utf-8")
        if f"{BEST} {self.trials} trials" not in text:
            return None
        model = yaml.safe_load(text)["model"]
        return {option: at(model, option) for option in self.over}

    def start(self) -> dict[str, Any]:
        """Option -> the value where the search starts, at all levels."""
        values = {option: at(self.model, option) for option in self.over}
        return {option: [value] * len(self.levels) for option, value in values.items()} if self.levels else values


def read(path: Path) -> tuple[dict[str, Any], list[Method]]:
    """The content of the file of the searches, and its methods."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    methods = [
        Method(name, family, task, Runs(of["configs"], content["set"]), content["trials"], **settings)
        for family, of in content["families"].items()
        for name, settings in of["methods"].items()
        for task in of["tasks"]
    ]
    return content, methods


def at(model: Mapping[str, Any], option: str) -> Any:
    """The value of an option such as model.sampler.eta in a model with class_path and init_args."""
    node: Any = {"init_args": {"model": model}}
    for key in option.split("."):
        node = node["init_args"][key]
    return node


def filled(model: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The model with other values of some options."""
    copy: dict[str, Any] = json.loads(json.dumps(model))
    for option, value in values.items():
        parent, _, key = option.rpartition(".")
        at(copy, parent)["init_args"][key] = value
    return copy


def dumped(model: Mapping[str, Any]) -> str:
    return yaml.safe_dump({"model": model}, sort_keys=False, default_flow_style=None)


def rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def commands(method: Method, content: Mapping[str, Any], output: Path, more: Sequence[str]) -> Iterator[list[str]]:
    """The `rps tune` of each search of the method.  Writes the config where it starts."""
    for folder, options in method.searches(output):
        start = output / "starts" / f"{'_'.join(folder.relative_to(output).parts)}.yaml"
        start.parent.mkdir(parents=True, exist_ok=True)
        start.write_text(dumped(filled(method.model, options)), encoding="utf-8")
        runs = method.common | Runs([str(start)])
        over = [f"--over={option}={values_of(values)}" for option, values in method.over.items()]
        rest = ["--objective", content["objective"], "--trials", str(method.trials), "--no_pruning"]
        yield ["tune", *runs.arguments(method.task), *over, *rest, "--output", str(folder), *more]


def values_of(values: str | list[Any]) -> str:
    """The values of an option as `rps tune --over` takes and shows them."""
    return str(read_values("", values))


def search(command: list[str], log: Path) -> int:
    """Runs or resumes a search with its output in a file.  -> its exit code."""
    from rps.cli import main as rps

    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
        print(shlex.join(["rps", *command]), flush=True)
        return rps(command)


def write(methods: Sequence[Method], content: Mapping[str, Any], output: Path) -> None:
    """Writes the configs of the methods, and the table of their settings to docs/comparison.md."""
    for method in methods:
        found = method.found(output)
        if found is None and method.config.is_file() and START not in method.config.read_text(encoding="utf-8"):
            continue
        how = f"{BEST} {method.trials} trials" if found else START
        head = f"# Settings of {method.name} for {method.task}, {how} (tools/settings.py, docs/comparison.md).\n"
        below = ", ".join(method.common.configs).replace("TASK", method.task)
        model = filled(method.model, found or method.start())
        if method.levels:
            model["init_args"]["levels"] = list(method.levels)
        method.config.parent.mkdir(parents=True, exist_ok=True)
        text = f"{head}# On top of {below}.\n{dumped(model)}"
        method.config.write_text(text, encoding="utf-8")
    tables = [table([m for m in methods if m.family == family]) for family in content["families"]]
    write_part("comparison", "settings", "\n" + "\n\n".join(["    python tools/settings.py", *tables]) + "\n")


def table(methods: Sequence[Method]) -> str:
    """The settings of a family: a line for each method, a column for each task."""
    tasks = list(dict.fromkeys(method.task for method in methods))
    lines: dict[str, list[str]] = {}
    for method in methods:
        over = ", ".join(f"{short(option)} {values_of(values)}" for option, values in method.over.items())
        found, start = method.chosen(), method.start()
        chosen = ", ".join(f"{short(option)} {shown(value)}" for option, value in (found or {}).items())
        begin = ", ".join(shown(start[option][0] if method.levels else start[option]) for option in method.over)
        line = lines.setdefault(method.name, [method.name, over, begin])
        line.append(chosen or "not run")
    return markdown([methods[0].family, "searched", "first trial", *tasks], lines.values())


def short(option: str) -> str:
    return option.rpartition(".")[2]


def shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(shown, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "derived" if value is None else str(value)


def check(given: argparse.Namespace, more: Sequence[str], places: Sequence[str]) -> None:
    """Errors: InputError for an unknown option, for less than one process, and for an --only that chooses nothing."""
    check_passed(more, "tools/settings.py", [*WITH_VALUE, *tune_parser()._option_string_actions], OPTIONS)
    if given.processes < 1:
        raise InputError(f"--processes must be at least 1, got {given.processes}")
    families = ", ".join(dict.fromkeys(place.partition("/")[0] for place in places))
    for name in given.only:
        if not any(place.startswith(name) for place in places):
            hint = did_you_mean(name, places) or f"the families are {families}"
            raise InputError(f"--only {name}: the name of no search begins so; {hint}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="beginnings of FAMILY/TASK/METHOD")
    parser.add_argument("--output", type=Path, default=Path("runs/settings"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="write configs and docs instead of searching")
    given, more = parser.parse_known_args()
    content, methods = read(TOOLS / "settings.yaml")
    try:
        check(given, more, [method.place for method in methods])
    except InputError as error:
        parser.exit(2, f"error: {error}\n")
    if given.write:
        return write(methods, content, given.output)
    chosen = [m for m in methods if m.place.startswith(tuple(given.only)) and m.found(given.output) is None]
    jobs = [command for method in chosen for command in commands(method, content, given.output, more)]
    folders = [Path(command[command.index("--output") + 1]) for command in jobs]
    logs = [given.output / "logs" / f"{'_'.join(f.relative_to(given.output).parts)}.txt" for f in folders]
    with ProcessPoolExecutor(given.processes, get_context("spawn")) as pool:
        ended = pool.map(search, jobs, logs)
        failed = 0
        for number, (folder, log, status) in enumerate(zip(folders, logs, ended, strict=True), 1):
            failed += bool(status)
            ending = f" ended with exit code {status}: {log}" if status else ""
            print(f"[{number}/{len(jobs)}] {folder}{ending}", flush=True)
    if failed:
        raise SystemExit(f"{failed} of {len(jobs)} searches failed; the same command repeats them")


if __name__ == "__main__":
    main()
