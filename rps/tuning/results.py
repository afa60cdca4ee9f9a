"""The files that a search ends with: the table of its trials, the same as JSON, and the best settings as a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rps.metrics.intervals import Estimate
from rps.report.table import ABSENT, align, number, plus_minus
from rps.tuning.objective import Objective
from rps.tuning.space import Space, shown
from rps.tuning.trials import Trial, in_order, minus, near_best


def short_names(space: Space) -> dict[str, str]:
    """Option -> its last part, or the whole option where two options end alike."""
    lasts = [option.rpartition(".")[2] for option in space]
    return {option: last if lasts.count(last) == 1 else option for option, last in zip(space, lasts, strict=True)}


def table(trials: Sequence[Trial], space: Space, objective: Objective) -> str:
    """A markdown table with one line per trial; differences to the best are paired over the pictures."""
    ordered, digits = in_order(trials, objective.better), objective.digits
    best = ordered[0] if ordered and ordered[0].state == "complete" else None
    figures = [trial.figure.estimate() if trial.figure else None for trial in ordered]
    columns: list[tuple[str, list[str]]] = [
        ("trial", [str(trial.number) for trial in ordered]),
        *((name, [shown(t.settings.get(option)) for t in ordered]) for option, name in short_names(space).items()),
        (objective.title, [_text(figure, digits) for figure in figures]),
        ("minus the best", [_text(minus(t, best) if best and t is not best else None, digits, "+") for t in ordered]),
        ("pictures", [str(trial.pictures) for trial in ordered]),
        ("seconds", [number(trial.seconds, 0) for trial in ordered]),
        ("state", [trial.state for trial in ordered]),
    ]
    return "\n".join(align(columns))


def line(trial: Trial, space: Space, objective: Objective) -> str:
    """One line on a trial that has ended."""
    settings = ", ".join(f"{name} = {shown(trial.settings[option])}" for option, name in short_names(space).items())
    if trial.state == "failed" or trial.figure is None:
        return f"trial {trial.number}: {settings}: failed: {trial.reason}"
    value = _text(trial.figure.estimate(), objective.digits)
    early = f" (ended early, after {trial.pictures} pictures)" if trial.state == "pruned" else ""
    return f"trial {trial.number}: {settings}: {objective.title} {value}{early}"


def _text(found: Estimate | None, digits: int, sign: str = "") -> str:
    return ABSENT if found is None else f"{found.value:{sign}.{digits}f}{plus_minus(found.se, digits)}"


def notes(trials: Sequence[Trial], space: Space, objective: Objective, choice: Trial | None) -> list[str]:
    """Sentences on what the trials show.  choice: the trial whose settings to use."""
    if choice is None:
        return ["No trial was completed."]
    best, *near = near_best(trials, objective.better)
    found = [f"The best is {line(best, space, objective)}."]
    if near:
        numbers = ", ".join(str(trial.number) for trial in near)
        found.append(f"Within one standard error of it, paired: trial{'s' * (len(near) > 1)} {numbers}.")
    if choice.number != best.number:
        found.append(f"The configured settings, trial {choice.number}, are kept: the lead of the best is not clear.")
    reasons = [f"Trial {trial.number} failed: {trial.reason}." for trial in trials if trial.state == "failed"]
    return [*found, *reasons]


def page(trials: Sequence[Trial], space: Space, objective: Objective, choice: Trial | None) -> str:
    """The content of trials.md."""
    made = [f"{part.title}: {part.definition}." for part in objective.parts if part.definition]
    averaged = f"{objective.title}, mean over the levels, {objective.better} is better; ± is one standard error."
    limits = [f"{limit[0].upper()}{limit[1:]}." for limit in objective.limits]
    parts = [table(trials, space, objective), *notes(trials, space, objective, choice), averaged, *made, *limits]
    return "\n\n".join(parts) + "\n"


def as_json(trials: Sequence[Trial], space: Space, objective: Objective, choice: Trial | None) -> dict[str, Any]:
    """The content of trials.json."""
    found = [
        {**asdict(trial), "figure": trial.figure and asdict(trial.figure.estimate())}
        for trial in in_order(trials, objective.better)
    ]
    objectives = [asdict(part) for part in objective.parts]
    over = {option: str(values) for option, values in space.items()}
    return {"objective": objectives, "over": over, "choice": choice and choice.number, "trials": found}


def as_config(settings: Mapping[str, Any], parsed: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as a config that merges over that of the search.

    parsed: the whole config of the trial. Classes on the way are named, so that no setting reaches another class; but
    not those of sections, which a later config may replace.
    """
    result: dict[str, Any] = {}
    for option, value in settings.items():
        keys, node, place = option.split("."), parsed, result
        for depth, key in enumerate(keys):
            if isinstance(node.get("init_args"), Mapping):
                if depth > 1:
                    place["class_path"] = node["class_path"]
                node, place = node["init_args"], place.setdefault("init_args", {})
            if depth < len(keys) - 1:
                node, place = node[key], place.setdefault(key, {})
            elif isinstance(value, str) and isinstance(node.get(key), Mapping) and "class_path" in node[key]:
                place.setdefault(key, {})["class_path"] = node[key]["class_path"]
            else:
                place[key] = value
    return result


def value_at(option: str, parsed: Mapping[str, Any]) -> Any:
    """The value of a dotted option in a parsed config; its class if that is what it names; None if there is none."""
    node: Any = parsed
    for key in option.split("."):
        inside = node.get("init_args") if isinstance(node, Mapping) else None
        node = inside if isinstance(inside, Mapping) and key in inside else node
        node = node.get(key) if isinstance(node, Mapping) else None
    return node.get("class_path", node) if isinstance(node, Mapping) else node
