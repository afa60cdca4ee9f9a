"""The search space: the values that an option may take, as text on the command line or in YAML."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rps.bounded_yaml import load_yaml, read_yaml

EXAMPLE = "such as 0.1:30:log, 1:20:int or a,b,c"
OVER = "model.sampler.step_size=0.1:30:log"


@dataclass(frozen=True)
class Range:
    """All numbers, or all integers, from low to high; log: searched evenly in the logarithm."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __str__(self) -> str:
        return f"{self.low:g}:{self.high:g}" + ":log" * self.log + ":int" * self.integer

    @property
    def first(self) -> float:
        return int(self.low) if self.integer else self.low

    def __contains__(self, value: object) -> bool:
        kinds = int if self.integer else (int, float)
        return isinstance(value, kinds) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Choices:
    """Values of any kind that YAML has."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ",".join(map(shown, self.values))

    @property
    def first(self) -> Any:
        return self.values[0]

    def __contains__(self, value: object) -> bool:
        return value in self.values


Space = Mapping[str, Range | Choices]
"""Dotted option -> its values."""


def shown(value: Any) -> str:
    """A value as a user gives it: numbers in four digits, texts as they are, everything else as JSON."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def read_space(given: Sequence[str]) -> dict[str, Range | Choices]:
    """The space of some OPTION=VALUES and of YAML files that map options to values.  Errors: ValueError."""
    pairs: list[tuple[str, Any]] = []
    for text in given:
        option, equals, values = text.partition("=")
        pairs += [(option, values)] if equals else list(_from_file(text).items())
    space: dict[str, Range | Choices] = {}
    for option, values in pairs:
        name = option.removeprefix("--").replace(".init_args", "")
        if name in space:
            raise ValueError(f"the option {name} has two sets of values, {space[name]} and {values}; give one")
        space[name] = read_values(name, values)
    if not space:
        raise ValueError("there is nothing to search over; give --over OPTION=VALUES, e.g. --over " + OVER)
    return space


def _from_file(text: str) -> dict[str, Any]:
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"--over must be OPTION=VALUES or a YAML file, got {text!r}; e.g. --over {OVER}")
    content = read_yaml(path, str(path))
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{path} must map options to values, as in {OVER.replace('=', ': ')}")
    return content


def read_values(option: str, given: Any) -> Range | Choices:
    """The values of an option.  given: "LOW:HIGH", with ":log" and ":int"; "A,B,C"; or a list.  Errors: ValueError."""
    if isinstance(given, list):
        return _choices(option, given)
    text = str(given)
    low, *more = text.split(":")
    if more and _is_number(low) and _is_number(more[0]):
        return _range(option, text, float(low), float(more[0]), more[1:])
    try:
        values = load_yaml(f"[{text}]")
    except ValueError as error:
        raise ValueError(f"--over {option}={text}: the values must be a range or a list, {EXAMPLE}") from error
    return _choices(option, values)


def _range(option: str, text: str, low: float, high: float, words: list[str]) -> Range:
    found = Range(low, high, "log" in words, "int" in words)
    if unknown := set(words) - {"log", "int"}:
        raise ValueError(f"--over {option}={text}: after LOW:HIGH only log and int may follow, got {min(unknown)!r}")
    if not low < high:
        raise ValueError(f"--over {option}={text}: a range must go from a number to a larger one")
    if found.log and low <= 0:
        raise ValueError(f"--over {option}={text}: a logarithmic range must begin above 0; leave out log, or raise LOW")
    if found.integer and not (low.is_integer() and high.is_integer()):
        raise ValueError(f"--over {option}={text}: a range of integers must begin and end with one")
    return found


def _choices(option: str, values: list[Any]) -> Choices:
    values = [float(v) if isinstance(v, str) and _is_number(v) else v for v in values]  # 1e-3 is a text in YAML
    texts = [json.dumps(value) for value in values]
    if not texts or len(set(texts)) < len(texts):
        raise ValueError(f"--over {option}: a list needs values, each of them once, got {', '.join(texts) or 'none'}")
    return Choices(tuple(values))


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def grid(space: Space) -> list[dict[str, Any]] | None:
    """Every combination, if all options have lists of values; None if one of them has a range."""
    lists = [values.values for values in space.values() if isinstance(values, Choices)]
    return [dict(zip(space, values, strict=True)) for values in product(*lists)] if len(lists) == len(space) else None


def distributions(space: Space) -> dict[str, Any]:
    """The same as distributions of Optuna; choices as JSON, since Optuna keeps plain values only."""
    from optuna import distributions as of

    def one(values: Range | Choices) -> Any:
        if isinstance(values, Choices):
            return of.CategoricalDistribution([json.dumps(value) for value in values.values])
        if values.integer:
            return of.IntDistribution(int(values.low), int(values.high), log=values.log)
        return of.FloatDistribution(values.low, values.high, log=values.log)

    return {option: one(values) for option, values in space.items()}


def encoded(settings: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Settings as Optuna keeps them; `decoded` is the inverse."""
    return {name: json.dumps(v) if isinstance(space[name], Choices) else v for name, v in settings.items()}


def decoded(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    return {name: json.loads(v) if isinstance(space[name], Choices) else v for name, v in params.items()}
