"""Tune the latent methods that LMAP-RPS is compared with, all alike, on images that are not the reported ones.

    python tools/tune_latent_methods.py --task sr4 --output runs/tuning/latent_sr4.json --write   # again: resumes

Each runs alone from pure noise on images 500 to 515, with every combination of the settings listed for it in METHODS;
the one of the lowest product RMSE x sqrt(FD) is chosen, which needs no unit. With --write the choices go
into configs/embedded/latent/TASK.
"""

from __future__ import annotations

import importlib
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from tune_embedded import TASKS, Judge, embedded_images, resumable

import configs
from rps.measurement import degrade
from rps.priors import EmbeddedLatentPrior
from rps.records.files import write_json
from rps.traversals import PosteriorSampling

FOLDER = Path(configs.__file__).parent / "embedded" / "latent"


@dataclass(frozen=True)
class Method:
    """sampler: a class of rps.samplers. fixed: its settings that are not searched. grid: setting -> values to try."""

    sampler: str
    steps: int
    fixed: dict[str, Any]
    grid: dict[str, list[float]]

    def settings(self) -> Iterator[dict[str, Any]]:
        for values in itertools.product(*self.grid.values()):
            yield {**self.fixed, **dict(zip(self.grid, values, strict=True))}

    def model(self, settings: dict[str, Any]) -> dict[str, Any]:
        sampler = {"class_path": f"rps.samplers.{self.sampler}", "init_args": settings}
        return {"class_path": f"modules.{self.sampler}", "init_args": {"steps": self.steps, "sampler": sampler}}


METHODS = {
    "dps": Method("LatentDps", 50, {}, {"step_size": [0.1, 0.3, 1.0, 3.0]}),
    "psld": Method("Psld", 50, {}, {"step_size": [0.1, 0.3, 1.0, 3.0]}),
    "stsl": Method("Stsl", 50, {}, {"step_size": [0.1, 0.3, 1.0, 3.0]}),
    "ldir": Method("Ldir", 50, {}, {"step_size": [0.01, 0.03, 0.1, 0.3]}),
    "dmap": Method("LatentDmap", 17, {}, {"step_size": [0.3, 1.0, 3.0]}),
    "dcdp": Method("Dcdp", 20, {"inner_steps": 5}, {"lr": [0.03, 0.1]}),
    "resample": Method(
        "ReSample",
        50,
        {"period": 10, "pixel_steps": 50, "latent_steps": 25, "fit_below": 667},
        {"latent_lr": [0.02, 0.1]},
    ),
    "daps": Method("LatentDaps", 20, {"langevin_steps": 10, "tau": 0.1}, {"step_size": [1e-4, 1e-3]}),
    "sitcom": Method("Sitcom", 10, {"inner_steps": 5}, {"lr": [0.03, 0.1]}),
}


def sweep(task: str, images: int, skip: int, done: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All points, those of `done` not computed again: {method: {settings as JSON: [RMSE, F, seconds]}}, after each."""
    batch = embedded_images(images, skip)
    operator, noise_std = TASKS[task]
    measurement = degrade(batch["image"], operator, noise_std, batch["id"], seed=0)
    judge, prior = Judge(batch["image"]), EmbeddedLatentPrior()
    samplers = importlib.import_module("rps.samplers")
    for name, method in METHODS.items():
        for settings in method.settings():
            key = json.dumps(settings)
            if key not in done.setdefault(name, {}):
                start = time.monotonic()
                sampler = getattr(samplers, method.sampler)(**settings)
                (restored,) = PosteriorSampling(sampler, method.steps).run(measurement, prior).images.values()
                error, root = judge.point(restored)
                done[name][key] = [float(error.mean()), root, time.monotonic() - start]
                yield done


def best(points: dict[str, list[float]]) -> str:
    """The settings of the lowest RMSE x sqrt(FD), those that diverged aside."""
    finite = {key: rmse * f for key, (rmse, f, _) in points.items() if rmse * f == rmse * f}
    return min(finite, key=lambda key: finite[key])


def write_configs(task: str, points: dict[str, dict[str, list[float]]]) -> None:
    for name, found in points.items():
        model = METHODS[name].model(json.loads(best(found)))
        head = (
            f"# {METHODS[name].sampler} alone, tuned for embedded/{task} by tools/tune_latent_methods.py.\n"
            f"# On top of demo, demo_latent and embedded/{task}.\n"
        )
        path = FOLDER / task / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + yaml.safe_dump({"model": model}, sort_keys=False))


def main() -> None:
    arguments, points = resumable(__doc__, "configs/embedded/latent/TASK")
    for found in sweep(arguments.task, arguments.images, arguments.skip, points):
        write_json(arguments.output, found)
        name = next(reversed([name for name in METHODS if found.get(name)]))
        key, (rmse, root, seconds) = list(found[name].items())[-1]
        print(f"{name:9s} {key:70s} {rmse:.4f} / {root:.3f}   {seconds:.0f} s", flush=True)
    for name, found in points.items():
        print(f"{name:9s} chosen {best(found)}")
    if arguments.write:
        write_configs(arguments.task, points)


if __name__ == "__main__":
    main()
