"""Check rps tune on the embedded tasks: searches against the shipped settings, and rankings without clean pictures.

    python tools/tuning.py --write                # all; --part search runs only the first two, --part ranks the last

For each task:
    search  20 trials of the step size of stage 2 on images 500 to 531, the first with the default of the library, a
            derived step, for the lowest product of RMSE and sqrt FD at t0 = 100 and 400;
    check   the chosen one and the shipped one on images 600 to 663, paired;
    ranks   lists of step sizes of MAP-RPS at t0 = 400, and of levels t0 of CCDF, on images 500 to 531, by RMSE, by
            fission, and in inpainting by held-out pixels: the rank correlation with RMSE, and how much RMSE is lost by
            the choice without clean pictures.
Everything is an `rps tune`, whose command is printed and which a repeated command resumes. With --write, the tables and
figures go to docs/choosing.md and docs/figures/.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from pages import DOCS, markdown, write_part
from scipy.stats import spearmanr

from rps.cli import main as rps
from rps.metrics.intervals import STEP, Draws, Estimate
from rps.records.files import written
from rps.report.curve import BLUE, GREY, style
from rps.tuning import Search, Trial, read_space
from rps.tuning.space import shown
from rps.tuning.trials import choose, minus

TASKS = ("denoise", "sr4", "inpaint", "deblur_aniso")
OPTION, SHIPPED = "model.sampler.step_size", 0.15
DERIVED = {OPTION: None}
GRIDS = {
    "step size": (OPTION, "0.03,0.07,0.15,0.3,0.6,1.2,2.5", ("--model.t0", "[400]")),
    "t0 of CCDF": ("model.t0", "[25],[50],[100],[200],[400],[600],[800]", ("--config", "embedded/peers/TASK/ccdf")),
}
"""Title -> the option that is ranked, its values in order, and more options."""
COLUMNS = 4
TITLES = {"rmse": "RMSE", "fission": "fission", "held_out": "held-out pixels"}


def tune(folder: Path, task: str, option: str, over: str, objective: str, *more: str) -> list[Trial]:
    """Runs or resumes `rps tune`.  -> its completed trials."""
    command = ["tune", "--config", "demo", "--config", f"embedded/{task}", *more]
    command += ["--over", f"{option}={over}", "--objective", objective, "--output", str(folder)]
    print(shlex.join(["rps", *command]), flush=True)
    if status := rps(command):
        raise SystemExit(f"rps tune into {folder} ended with exit code {status}")
    trials = Search(folder, read_space([f"{option}={over}"]), "lower", start=DERIVED).trials()
    return [trial for trial in trials if trial.state == "complete"]


def setting(trial: Trial) -> str:
    (found,) = trial.settings.values()
    return shown(found).strip("[]")


def value(trial: Trial) -> Draws:
    assert trial.figure is not None
    return trial.figure


def search(folder: Path, task: str) -> list[str]:
    """The line of a task: the best step size, its lead over the derived one, which of them is chosen, and the lead of
    that over the shipped one on other pictures."""
    product, levels = "rmse,sqrt_frechet", ("--model.t0", "[100, 400]")
    pictures = ("--data.skip", "500", "--data.limit", "32", f"--{OPTION}", "null")
    found = tune(folder / "search", task, OPTION, "0.01:10:log", product, *levels, *pictures)
    winner, chosen = min(found, key=lambda trial: value(trial).value), choose(found, "lower", DERIVED)
    lead = minus(winner, found[0])
    assert chosen is not None and lead is not None
    best = setting(chosen)
    other = ("--data.skip", "600", "--data.limit", "64", "--no_pruning")
    ours, shipped = tune(folder / f"check_{best}", task, OPTION, f"{best},{SHIPPED:g}", product, *levels, *other)
    difference = minus(ours, shipped)
    assert difference is not None
    return [task, setting(winner), signed(lead), best, signed(difference)]


def signed(difference: Estimate) -> str:
    return f"{difference.value:+.4f} ({difference.se:.4f})"


def rank_correlation(a: Sequence[Draws], b: Sequence[Draws]) -> tuple[float, float, float]:
    """Spearman's correlation of two lists of means, and its 95 % bootstrap interval over the pictures, resampled alike.

    The draws of a mean have weights 1 + STEP (w - 1), from which those with the weights w follow.
    """
    whole = [torch.stack([d.value + (d.draws - d.value) / STEP for d in draws], dim=1) for draws in (a, b)]
    resampled = [float(spearmanr(x, y).statistic) for x, y in zip(*whole, strict=True)]
    low, high = torch.quantile(torch.tensor(resampled), torch.tensor([0.025, 0.975])).tolist()
    return float(spearmanr([d.value for d in a], [d.value for d in b]).statistic), low, high


def ranks(folder: Path, task: str, title: str) -> tuple[list[list[str]], dict[str, list[Trial]]]:
    """The lines of a task and a list of settings, and the trials of each objective in the order of that list."""
    option, over, more = GRIDS[title]
    objectives = ["rmse", "fission"] + ["held_out"] * (task == "inpaint")
    where = (*(part.replace("TASK", task) for part in more), "--data.skip", "500", "--data.limit", "32", "--no_pruning")
    place = folder / title.replace(" ", "_")
    found = {name: tune(place / name, task, option, over, name, *where) for name in objectives}
    exact = found["rmse"]
    best = min(exact, key=lambda trial: value(trial).value)
    lines = []
    for name in objectives[1:]:
        correlation, low, high = rank_correlation([value(t) for t in exact], [value(t) for t in found[name]])
        chosen = min(found[name], key=lambda trial: value(trial).value)
        lost = minus(exact[found[name].index(chosen)], best)
        assert lost is not None
        choices = [setting(best), setting(chosen), f"{lost.value:.4f} ({lost.se:.4f})"]
        lines.append([task, title, TITLES[name], f"{correlation:.2f} ({low:.2f} to {high:.2f})", *choices])
    return lines, found


def draw(found: dict[tuple[str, str], dict[str, list[Trial]]], path: Path) -> None:
    """A panel per task, list of settings and objective: the objective against RMSE. Dotted: RMSE squared."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    panels = [(*place, name) for place, of_place in found.items() for name in of_place if name != "rmse"]
    rows = -(-len(panels) // COLUMNS)
    figure = Figure(figsize=(3.1 * COLUMNS, 2.8 * rows), dpi=130, layout="constrained")
    every = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    for axes, (task, title, name) in zip(every, panels, strict=False):
        trials = found[task, title]
        xs = [value(trial).value for trial in trials["rmse"]]
        ys = [value(trial).estimate() for trial in trials[name]]
        axes.errorbar(
            xs, [y.value for y in ys], [y.se for y in ys], fmt="-o", color=BLUE, ecolor=BLUE + "60", markersize=4,
            linewidth=1,
        )  # fmt: skip
        axes.plot(sorted(xs), [x**2 for x in sorted(xs)], ":", color=GREY, zorder=1)
        for x, y, trial in zip(xs, ys, trials[name], strict=True):
            axes.annotate(setting(trial), (x, y.value), (5, -3), textcoords="offset points", fontsize=7)
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("RMSE", fontsize=8.5)
        axes.set_title(f"{task}, {title}: {TITLES[name]}", fontsize=8.5, loc="left")
        style(axes)
    for axes in every[len(panels) :]:
        axes.set_axis_off()
    with written(path) as temporary:
        figure.savefig(temporary, format="png")


def searches(output: Path, write: bool) -> None:
    heads = ["task", "best step size", "minus the derived one, 32 pictures", "chosen"]
    heads.append(f"chosen minus {SHIPPED:g}, 64 others")
    shown = [markdown(heads, [search(output / task, task) for task in TASKS])]
    print(f"\n{shown[0]}\n")
    if write:
        for task in TASKS:
            shutil.copy(output / task / "search" / "trials.png", DOCS / "figures" / f"tuning_{task}.png")
            shown.append(f"![trials of the step size, {task}](figures/tuning_{task}.png)")
        write_part("choosing", "searches", "\n" + "\n\n".join(shown) + "\n")


def rankings(output: Path, write: bool) -> None:
    found, lines = {}, []
    for task, title in itertools.product(TASKS, GRIDS):
        own, found[task, title] = ranks(output / task, task, title)
        lines += own
    heads = ["task", "settings", "objective", "rank correlation with RMSE", "best by RMSE", "best by it"]
    table = markdown([*heads, "RMSE lost, paired"], lines)
    print(f"\n{table}\n")
    draw(found, output / "ranks.png")
    if write:
        shutil.copy(output / "ranks.png", DOCS / "figures" / "tuning_ranks.png")
        figure = "![objectives without clean pictures](figures/tuning_ranks.png)"
        write_part("choosing", "rankings", f"\n{table}\n\n{figure}\n")


PARTS = {"search": searches, "ranks": rankings}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--output", type=Path, default=Path("runs/tuning"))
    parser.add_argument("--write", action="store_true", help="write docs/choosing.md and docs/figures/")
    given = parser.parse_args()
    for part in given.part:
        PARTS[part](given.output, given.write)


if __name__ == "__main__":
    main()
