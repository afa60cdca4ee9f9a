"""Tune the latent methods that LMAP-RPS is compared with, all alike, on images that are not the reported ones.

    python tools/tune_latent_methods.py --task sr4 --output runs/tuning/latent_sr4.json --write   # again: resumes

Each runs alone from pure noise on images 500 to 515. Its one searched setting takes values 1 and 3 times powers of ten:
three around its start, then one more beyond the best as long as that is at an end of what was tried, so that no choice
is left at an end. The best has the lowest product RMSE x sqrt(FD), which needs no unit. With --write the choices go
into configs/embedded/latent/TASK.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from tune_embedded import TASKS, Judge, embedded_images, resumable

import configs
from rps import samplers
from rps.measurement import degrade
from rps.priors import EmbeddedLatentPrior
from rps.records.files import write_json
from rps.traversals import PosteriorSampling

FOLDER = Path(configs.__file__).parent / "embedded" / "latent"


@dataclass(frozen=True)
class Method:
    """sampler: a class of rps.samplers. setting: the one that is searched. start: where, as an index of `value`. fixed:
    the others that are not as by default; inner loops are shorter than published where two cores need them to be."""

    sampler: str
    steps: int
    setting: str
    start: int
    fixed: dict[str, Any] = field(default_factory=dict)

    def settings(self, index: int) -> dict[str, Any]:
        return {**self.fixed, self.setting: value(index)}

    def model(self, index: int) -> dict[str, Any]:
        sampler = {"class_path": f"rps.samplers.{self.sampler}", "init_args": self.settings(index)}
        return {"class_path": f"modules.{self.sampler}", "init_args": {"steps": self.steps, "sampler": sampler}}


def value(index: int) -> float:
    """..., .03, .1, .3, 1, 3, 10, ...; 0 -> 1."""
    return float(f"{(3 if index % 2 else 1)}e{index // 2}")


METHODS = {
    "dps": Method("LatentDps", 100, "step_size", -1),
    "psld": Method("Psld", 100, "step_size", -1),
    "stsl": Method("Stsl", 100, "step_size", -1),
    "ldir": Method("Ldir", 100, "step_size", -2, {"decay": False}),
    "dmap": Method("LatentDmap", 34, "step_size", 0),
    "dcdp": Method("Dcdp", 50, "lr", -2, {"squared": True, "weight_decay": 0.0}),
    "resample": Method(
        "ReSample",
        100,
        "latent_lr",
        -2,
        {"period": 50, "pixel_steps": 500, "latent_steps": 100, "fit_below": 667},
    ),
    "daps": Method("LatentDaps", 50, "step_size", -6, {"langevin_steps": 20, "tau": 0.1}),
    "sitcom": Method("Sitcom", 10, "lr", -2, {"inner_steps": 10}),
}
Points = dict[str, dict[str, list[float]]]
"""Method -> index -> [RMSE, F, seconds]."""


def sweep(task: str, images: int, skip: int, done: Points) -> Iterator[tuple[str, int]]:
    """Adds to `done` what is not in it.  -> (method, index) after each."""
    batch = embedded_images(images, skip)
    operator, noise_std = TASKS[task]
    measurement = degrade(batch["image"], operator, noise_std, batch["id"], seed=0)
    judge, prior = Judge(batch["image"]), EmbeddedLatentPrior()
    for name, method in METHODS.items():
        points = done.setdefault(name, {})
        while (index := wanted(points, method.start)) is not None:
            start = time.monotonic()
            sampler = getattr(samplers, method.sampler)(**method.settings(index))
            (restored,) = PosteriorSampling(sampler, method.steps).run(measurement, prior).images.values()
            error, root = judge.point(restored)
            points[str(index)] = [float(error.mean()), root, time.monotonic() - start]
            yield name, index


def wanted(points: dict[str, list[float]], start: int) -> int | None:
    """The next index to try."""
    tried = sorted(map(int, points))
    for index in (start, start - 1, start + 1):
        if index not in tried:
            return index
    chosen = best(points)
    return chosen - 1 if chosen == tried[0] else chosen + 1 if chosen == tried[-1] else None


def best(points: dict[str, list[float]]) -> int:
    """The index of the lowest RMSE x sqrt(FD), those that diverged aside."""
    scores = {int(index): rmse * root for index, (rmse, root, _) in points.items()}
    return min(scores, key=lambda index: scores[index] if scores[index] == scores[index] else math.inf)


def write_configs(task: str, points: Points) -> None:
    for name, found in points.items():
        head = (
            f"# {METHODS[name].sampler} alone, tuned for embedded/{task} by tools/tune_latent_methods.py.\n"
            f"# On top of demo, demo_latent and embedded/{task}.\n"
        )
        path = FOLDER / task / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + yaml.safe_dump({"model": METHODS[name].model(best(found))}, sort_keys=False))


def main() -> None:
    arguments, points = resumable(__doc__, "configs/embedded/latent/TASK")
    for name, index in sweep(arguments.task, arguments.images, arguments.skip, points):
        write_json(arguments.output, points)
        rmse, root, seconds = points[name][str(index)]
        print(f"{name:9s} {value(index):<8g} {rmse:.4f} / {root:.3f}   {seconds:.0f} s", flush=True)
    for name, found in points.items():
        print(f"{name:9s} {METHODS[name].setting} {value(best(found)):g}")
    if arguments.write:
        write_configs(arguments.task, points)


if __name__ == "__main__":
    main()
