"""Draws trials.png: the objective against each setting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rps.records.files import written
from rps.report.curve import BLUE, GREY, ORANGE, style
from rps.tuning.objective import Objective
from rps.tuning.results import short_names
from rps.tuning.space import Choices, Range, Space, shown
from rps.tuning.trials import Trial, in_order, minus

ROW, WIDTH, HEIGHT = 3, 3.6, 3.2
"""Panels in a row, and the size of one in inches."""
FAR = 5


def trials_plot(trials: Sequence[Trial], space: Space, objective: Objective, path: Path) -> None:
    """One panel per setting. Bars are the standard error of the paired difference to the best trial, in orange.

    Trials that ended early have seen fewer pictures and are crosses on the worse side, as are far worse ones. Failed
    trials are left out. Errors: ValueError if no trial was completed.
    """
    from matplotlib.figure import Figure

    ordered = in_order([trial for trial in trials if trial.figure], objective.better)
    complete = [trial for trial in ordered if trial.state == "complete"]
    if not complete:
        raise ValueError("a figure of the trials needs one that was completed; there is none")
    rows, columns = -(-len(space) // ROW), min(len(space), ROW)
    figure = Figure(figsize=(max(WIDTH * columns, 4.6), HEIGHT * rows + 0.5), dpi=200, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes, option in zip(panels, space, strict=False):
        _panel(axes, option, ordered, space[option], objective)
        axes.set_xlabel(short_names(space)[option])
    for axes in panels[len(space) :]:
        axes.set_axis_off()
    for axes in panels[::columns]:
        axes.set_ylabel(objective.title)
    figure.suptitle(
        f"{complete[0].pictures} pictures; {objective.better} is better; crosses: ended early, or far worse\n"
        "bars: 1 standard error of the paired difference to the best (orange); dotted: configured settings outside",
        fontsize=7.5, color="#666666", x=0.01, ha="left",
    )  # fmt: skip
    with written(path) as temporary:
        figure.savefig(temporary, format="png")


def _panel(axes: Any, option: str, ordered: Sequence[Trial], values: Range | Choices, objective: Objective) -> None:
    names = [shown(value) for value in values.values] if isinstance(values, Choices) else []
    best, edge = ordered[0], 0.97 if objective.better == "lower" else 0.03
    near = _near(ordered)
    for trial in reversed(ordered):
        assert trial.figure is not None
        value: Any = trial.settings[option]
        if value not in values:
            axes.axhline(trial.figure.value, color=GREY, linestyle=":", zorder=2)
            continue
        x = names.index(shown(value)) if names else value
        if trial not in near:
            axes.plot(x, edge, "x", color=GREY, markersize=5, zorder=2, transform=axes.get_xaxis_transform())
            continue
        difference = minus(trial, best)
        se = None if trial is best or difference is None or difference.se != difference.se else difference.se
        axes.errorbar(
            x, trial.figure.value, se, fmt="o", color=ORANGE if trial is best else BLUE, ecolor=BLUE + "70",
            markersize=6 if trial is best else 5, markeredgecolor="white", markeredgewidth=0.7, elinewidth=1.1,
            zorder=4 if trial is best else 3,
        )  # fmt: skip
    if names:
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
    elif isinstance(values, Range) and values.log:
        axes.set_xscale("log")
    axes.margins(y=0.15)
    style(axes)


def _near(ordered: Sequence[Trial]) -> list[Trial]:
    """The completed trials, without those that are FAR times as far from the best one as half of them are."""
    complete = [trial for trial in ordered if trial.state == "complete" and trial.figure]
    values = [trial.figure.value for trial in complete if trial.figure]
    distances = [abs(value - values[0]) for value in values]
    limit = FAR * sorted(distances)[len(distances) // 2]
    return [trial for trial, distance in zip(complete, distances, strict=True) if not distance > limit > 0]
