"""Tune MAP-RPS and the traversals that it is compared with, all alike, on images that are not the reported ones.

    python tools/tune_peers.py --task sr4 --output runs/tuning/sr4.json --write      # the same command again resumes

Every method gets the step sizes xi that have the lowest score on images 500 to 515, out of one geometric list, which
goes further for the two methods whose published sizes grow along their knob:
    score = (RMSE - RMSE_map) / (RMSE_dps - RMSE_map) + (F - F_dps) / (F_map - F_dps),    F = sqrt(FD),
0 for the MAP point at the perception of DPS, 1 on the chord between both. VSDPS and DPS-S have a size for each level,
as published; the others one for all, that of the lowest mean score over the levels. The settings of stage 1 are those
of configs/embedded/TASK.yaml, as tools/tune_embedded.py found them. With --write, the choices go into
configs/embedded/peers/TASK.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from tune_embedded import TASKS, Fixed, Judge, embedded_images, resumable

import configs
from rps.estimators import MapEstimator, PseudoInverse
from rps.measurement import degrade
from rps.priors import EmbeddedPrior
from rps.records.files import write_json
from rps.samplers import Dps
from rps.traversals import MapRps, SampleAverage, StepNumber, Traversal, VarianceScaling

STEPS = 25
SIZES = (1.0, 2.0, 3.5, 6.0, 10.0, 18.0, 30.0)
FURTHER = {"vsdps": (54.0, 100.0), "dps_s": (54.0, 100.0)}
PER_LEVEL = ("vsdps", "dps_s")
PEERS = Path(configs.__file__).parent / "embedded" / "peers"
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
        for xi in (*SIZES, *FURTHER.get(name, ())):
            if str(xi) not in done.setdefault(name, {}):
                result = make(xi).run(measurement, prior)
                done[name][str(xi)] = {str(level): mean_point(judge, image) for level, image in result.images.items()}
                yield done


def scores(points: dict) -> dict[str, dict[str, dict[str, float]]]:
    """{method: {level: {xi: score}}}."""
    rmse_map, f_map = points["map"]["0"]["0"]
    rmse_dps, f_dps = min((size["1"] for size in points["dps_a"].values()), key=lambda p: p[1])

    def score(rmse: float, f: float) -> float:
        return (rmse - rmse_map) / (rmse_dps - rmse_map) + (f - f_dps) / (f_map - f_dps)

    return {
        name: {level: {xi: score(*sizes[xi][level]) for xi in sizes} for level in next(iter(sizes.values()))}
        for name, sizes in points.items()
        if name != "map"
    }


def chosen(levels: dict[str, dict[str, float]], per_level: bool) -> list[float]:
    """The step size of each level, or the one of all."""
    if per_level:
        return [float(min(sizes, key=lambda xi: sizes[xi])) for sizes in levels.values()]
    sizes = next(iter(levels.values()))
    return [float(min(sizes, key=lambda xi: sum(level[xi] for level in levels.values())))]


def told(points: dict) -> str:
    """A line for every method and level: RMSE / F (score) of each xi; then what is chosen."""
    lines = ["MAP {:.4f} / {:.3f}".format(*points["map"]["0"]["0"])]
    for name, levels in scores(points).items():
        for level, sizes in levels.items():
            shown = "  ".join(
                "{}: {:.4f} / {:.3f} ({:.2f})".format(xi, *points[name][xi][level], s) for xi, s in sizes.items()
            )
            lines.append(f"{name:8s} {level:>5s}  {shown}")
        lines.append(f"{name:8s} chosen {chosen(levels, name in PER_LEVEL)}")
    return "\n".join(lines)


def write_configs(task: str, points: dict) -> None:
    """Puts the chosen sizes into the method's config."""
    for name, levels in scores(points).items():
        per_level = name in PER_LEVEL
        sizes = chosen(levels, per_level)
        path = PEERS / task / f"{name}.yaml"
        value = json.dumps(sizes if per_level else sizes[0])
        path.write_text(re.sub(r"step_size: .*", f"step_size: {value}", path.read_text(), count=1))


def main() -> None:
    arguments, points = resumable(__doc__, "configs/embedded/peers/TASK")
    for found in sweep(arguments.task, arguments.images, arguments.skip, points):
        write_json(arguments.output, found)
    print(told(points))
    if arguments.write:
        write_configs(arguments.task, points)


if __name__ == "__main__":
    main()
