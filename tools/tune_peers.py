"""Tune MAP-RPS and the traversals that it is compared with, all alike, on images that are not the reported ones.

    python tools/tune_peers.py --task sr4 --output runs/tuning/sr4.json      # the same command again resumes

Every method and level gets the step size xi, out of the same list, that has the lowest score on images 500 to 515:
    score = (RMSE - RMSE_map) / (RMSE_dps - RMSE_map) + (F - F_dps) / (F_map - F_dps),    F = sqrt(FD),
0 for the MAP point at the perception of DPS, 1 on the chord between the two. The settings of stage 1 are
those of configs/embedded/TASK.yaml, as tools/tune_embedded.py found them. The choices are written into
configs/embedded/peers/ by hand.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from tune_embedded import TASKS, Fixed, Judge, embedded_images

import configs
from rps.estimators import MapEstimator, PseudoInverse
from rps.measurement import degrade
from rps.priors import EmbeddedPrior
from rps.records.files import write_json
from rps.samplers import Dps
from rps.traversals import MapRps, SampleAverage, StepNumber, Traversal, VarianceScaling

STEPS = 25
SIZES = (2.0, 6.0, 18.0)
T0 = (100, 200, 400, 600)


def methods(map_point: Tensor, start: Tensor) -> dict[str, Callable[[float], Traversal]]:
    """name -> the traversal of a step size."""
    return {
        "map_rps": lambda xi: MapRps(T0, Fixed(map_point), Dps(xi), STEPS),
        "ccdf": lambda xi: MapRps((200, 400, 600, 800), Fixed(start), Dps(xi), STEPS),
        "vsdps": lambda xi: VarianceScaling((1.0, 0.8, 0.5, 0.3, 0.0), xi, steps=STEPS),
        "dps_a": lambda xi: SampleAverage((1, 2, 4), Dps(xi), steps=STEPS),
        "dps_s": lambda xi: StepNumber((50, 25, 12, 6), xi),
    }


def estimator(task: str) -> MapEstimator:
    """Stage 1 of configs/embedded/TASK.yaml on top of configs/demo.yaml."""
    settings: dict = {}
    for name in ("demo", f"embedded/{task}"):
        content = yaml.safe_load((Path(configs.__file__).parent / f"{name}.yaml").read_text())
        settings |= content["model"]["init_args"].get("estimator", {}).get("init_args", {})
    return MapEstimator(**settings)


def mean_point(judge: Judge, images: Tensor) -> tuple[float, float]:
    """(mean RMSE, sqrt(FD))."""
    error, root = judge.point(images)
    return float(error.mean()), root


def sweep(task: str, images: int, skip: int, done: dict) -> Iterator[dict]:
    """All points, those of `done` not computed again: {method: {xi: {level: [RMSE, F]}}}, after every method and xi."""
    batch, prior = embedded_images(images, skip), EmbeddedPrior()
    operator, noise_std = TASKS[task]
    measurement = degrade(batch["image"], operator, noise_std, batch["id"], seed=0)
    judge = Judge(batch["image"])
    map_point = estimator(task).estimate(measurement, prior)
    done.setdefault("map", {})["0"] = {"0": mean_point(judge, map_point)}
    for name, make in methods(map_point, PseudoInverse().estimate(measurement, prior)).items():
        for xi in SIZES:
            if str(xi) not in done.setdefault(name, {}):
                result = make(xi).run(measurement, prior)
                done[name][str(xi)] = {str(level): mean_point(judge, image) for level, image in result.images.items()}
                yield done


def choices(points: dict) -> str:
    """A line for every method and level: the score of each xi, and the best."""
    rmse_map, f_map = points["map"]["0"]["0"]
    rmse_dps, f_dps = min((size["1"] for size in points["dps_a"].values()), key=lambda p: p[1])
    lines = [f"MAP {rmse_map:.4f} / {f_map:.3f}; DPS of lowest F {rmse_dps:.4f} / {f_dps:.3f}"]
    for name in points:
        for level in next(iter(points[name].values())) if name != "map" else ():
            at = {xi: levels[level] for xi, levels in points[name].items()}
            scores = {
                xi: (r - rmse_map) / (rmse_dps - rmse_map) + (f - f_dps) / (f_map - f_dps) for xi, (r, f) in at.items()
            }
            best = min(scores, key=lambda xi: scores[xi])
            told = "  ".join(f"{xi}: {at[xi][0]:.4f} / {at[xi][1]:.3f} ({s:.2f})" for xi, s in scores.items())
            lines.append(f"{name:8s} {level:>5s}  best xi {best}   {told}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--skip", type=int, default=500)
    parser.add_argument("--output", type=Path, required=True, help="JSON of all points")
    arguments = parser.parse_args()
    points = json.loads(arguments.output.read_text()) if arguments.output.is_file() else {}
    for found in sweep(arguments.task, arguments.images, arguments.skip, points):
        write_json(arguments.output, found)
    print(choices(points))


if __name__ == "__main__":
    main()
