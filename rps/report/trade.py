"""What a curve gains and pays: sentences on the paired changes of its two axes, both of which are better lower."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rps.metrics.dp import PERCEPTION
from rps.metrics.significance import FEWEST_IN_SET, images_needed
from rps.metrics.standard import DISTORTION
from rps.records.files import level_name
from rps.report.cells import Metrics, amount, figure, is_known, signed
from rps.report.changes import told

MOST_IMAGES = 10_000
"""Largest number of images that is suggested."""


def trade(summary: Mapping[str, Any]) -> Iterator[str]:
    """The largest gain and its price, or how many images would show one; then the steps that gain nothing.

    The gain is a fall of the perceptual distance if any can be told from zero, else of the distortion.
    """
    both = (PERCEPTION, DISTORTION)
    levels = [v for v in summary["levels"] if "difference_to_first" in v and any(is_known(_change(v, a)) for a in both)]
    known = [name for name in both if levels and all(is_known(_change(level, name)) for level in levels)]
    axes = [info for name in known for info in summary["metrics"] if info["name"] == name]
    gained = next((axis for axis in axes if any(_told(level, axis) < 0 for level in levels)), None)
    pairs = [axes, axes[::-1]] if len(axes) == 2 and gained is not None else []
    idle = {kept["name"]: _idle_steps(summary, lost, kept) for lost, kept in pairs}
    if gained is not None:
        fallen = [level for level in levels if _told(level, gained) < 0]
        # A level that an idle step leads to is passed over.
        worth = [level for level in fallen if level["level"] not in idle.get(gained["name"], {})] or fallen
        best = min(worth, key=lambda level: _change(level, gained["name"]))
        change, first = best["difference_to_first"], at(summary, summary["levels"][0])
        phrases = _phrases(change, sorted(axes, key=lambda axis: axis is not gained))
        yield f"{at(summary, best)} {phrases}, compared with {first} on the same {change['n']} pictures."
    if PERCEPTION in known and not any(_told(level, axes[0]) for level in levels):
        yield _too_few(summary, levels, axes[0])
    elif PERCEPTION in known and gained is None:
        worst = max(levels, key=lambda level: _told(level, axes[0]))
        first, last = (at(summary, level) for level in (summary["levels"][0], worst))
        yield f"No level gains anything over {first}; {last} {_phrases(worst['difference_to_first'], axes)}."
    for lost, kept in pairs:
        if steps := idle[kept["name"]]:
            yield (
                f"Steps of {summary['knob']} that raise {lost['title']} without a fall of {kept['title']} that can be "
                f"told from zero: {', '.join(steps.values())}."
            )


def at(summary: Mapping[str, Any], level: Mapping[str, Any]) -> str:
    """ "t0 = 200"."""
    return f"{summary['knob']} = {level_name(level['level'])}"


def _idle_steps(summary: Mapping[str, Any], lost: Metrics, kept: Metrics) -> dict[float, str]:
    """level -> text of the steps to it from the level before that worsen one axis and do not improve the other."""
    found = {}
    for before, level in zip(summary["levels"], summary["levels"][1:], strict=False):
        step = level.get("difference_to_previous", {"n": 0})
        if told(step, lost["name"]) > 0 and told(step, kept["name"]) >= 0:
            changes = ", ".join(f"{axis['title']} {signed(step, axis)}" for axis in (lost, kept))
            found[level["level"]] = f"{level_name(before['level'])} to {level_name(level['level'])} ({changes})"
    return found


def _too_few(summary: Mapping[str, Any], levels: Sequence[Metrics], info: Metrics) -> str:
    """That no change can be told from zero, and how many images would do."""
    best = min(levels, key=lambda level: _change(level, info["name"]))
    change = best["difference_to_first"]
    n, (value, se) = change["n"], figure(change, info["name"])
    if n < FEWEST_IN_SET:
        return (
            f"{n} image{'s are' if n != 1 else ' is'} too few to judge {info['title']}, whose standard error can be "
            f"trusted from {FEWEST_IN_SET} on; use --data.limit 64."
        )
    text = f"With {n} images, no change of {info['title']} can be told from zero"
    if value >= 0:
        return f"{text}, and none is a fall; --data.limit {4 * n} would halve the errors."
    text += f" (the largest fall, at {at(summary, best)}, is {signed(change, info)})"
    needed = max(images_needed(value, se, n), n + 1)
    if needed > MOST_IMAGES:
        return f"{text}; to show a fall of this size would take more than {MOST_IMAGES:,} images."
    rounded = 2 ** math.ceil(math.log2(needed)) if needed <= 64 else math.ceil(needed / 64) * 64
    return (
        f"{text}; use --data.limit {rounded}, which would show a fall of this size with 80 % probability, as standard "
        "errors fall with the root of the number of images."
    )


def _change(level: Mapping[str, Any], name: str) -> float:
    return figure(level["difference_to_first"], name)[0]


def _told(level: Mapping[str, Any], axis: Metrics) -> float:
    return told(level["difference_to_first"], axis["name"])


def _phrases(change: Metrics, axes: Sequence[Metrics]) -> str:
    """ "lowers √FD by 0.13 ± 0.02 and raises RMSE by 0.01 ± 0.001", or that a change cannot be told."""
    found = []
    for info in axes:
        value, se = figure(change, info["name"])
        if told(change, info["name"]):
            found.append(f"{'raises' if value > 0 else 'lowers'} {info['title']} by {amount(value, se, info)}")
        else:
            found.append(f"changes {info['title']} by no more than its error ({signed(change, info)})")
    return " and ".join(found)
