"""Tune one setting of every method, all in the same way, on images other than the reported ones.

    python tools/tune.py peers --task sr4 --write      # MAP-RPS and the traversals that it is compared with
    python tools/tune.py latent --task sr4 --write     # the latent methods that LMAP-RPS is compared with

Every value is a run of `rps predict` on images 500 to 515 with the configs of the method; repeating the command
resumes. With --write, the choices are written to these configs, configs/embedded/{peers,latent}/TASK. F = sqrt(FD).

peers: step sizes from one geometric list, which is longer for the two methods whose published sizes grow along their
knob. The lowest score wins,
    score = (RMSE - RMSE_map) / (RMSE_dps - RMSE_map) + (F - F_dps) / (F_map - F_dps),
0 for the MAP point at the perception of DPS, 1 on the chord between both. VSDPS and DPS-S have one size per level, as
published; the others have one size for all levels, with the lowest mean score.
latent: values 1 and 3 times powers of ten: three around a start, then one beyond the best value as long as it is the
smallest or largest so far. The lowest product RMSE x F wins, which needs no unit.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import configs
from rps.cli import main as rps
from rps.study import Runs

FOLDER = Path(configs.__file__).parent
TASKS = ("denoise", "sr4", "inpaint", "deblur_aniso")
SIZES = (1.0, 2.0, 3.5, 6.0, 10.0, 18.0, 30.0)
FURTHER = (*SIZES, 54.0, 100.0)
Levels = dict[float, tuple[float, float]]
"""Level -> (RMSE, F)."""

Run = Callable[[str, float, dict[str, Any]], Levels]
"""(method, value, options) -> the points of the run."""


@dataclass(frozen=True)
class Peer:
    """A method to tune.  knob, levels: where sizes are evaluated. setting: the dotted option that is searched."""

    knob: str
    levels: tuple[float, ...]
    setting: str = "model.sampler.step_size"
    values: tuple[float, ...] = SIZES
    per_level: bool = False

    def options(self, size: float) -> dict[str, Any]:
        return {self.knob: self.levels, self.setting: [size] * len(self.levels) if self.per_level else size}


PEERS = {
    "map_rps": Peer("model.t0", (0, 100, 200, 400, 600)),
    "ccdf": Peer("model.t0", (200, 400, 600, 800)),
    "vsdps": Peer("model.levels", (1.0, 0.8, 0.5, 0.3, 0.0), "model.step_size", FURTHER, per_level=True),
    "dps_a": Peer("model.levels", (1, 2, 4)),
    "dps_s": Peer("model.levels", (50, 25, 12, 6), "model.step_size", FURTHER, per_level=True),
}
LATENT = {
    "dps": ("step_size", -1), "psld": ("step_size", -1), "stsl": ("step_size", -1), "ldir": ("step_size", -2),
    "dmap": ("step_size", 0), "dcdp": ("lr", -2), "resample": ("latent_lr", -2), "daps": ("step_size", -6),
    "sitcom": ("lr", -2),
}  # fmt: skip
"""Method -> (setting of its sampler, start of the search as an index of `value`)."""


def predict(arguments: list[str], folder: Path) -> dict[str, Any]:
    """Runs or resumes `rps predict`.  -> its metrics.json."""
    if status := rps(["predict", *arguments, "--output", str(folder)]):
        raise SystemExit(f"rps predict into {folder} ended with exit code {status}")
    summary: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return summary


def value(index: int) -> float:
    """The value with this index in ..., .03, .1, .3, 1, 3, 10, ...; 0 -> 1."""
    return float(f"{3 if index % 2 else 1}e{index // 2}")


def scores(found: dict[str, dict[float, Levels]]) -> dict[str, dict[float, dict[float, float]]]:
    """Method -> level -> size -> score; the MAP point, level 0 of map_rps, has none."""
    rmse_map, f_map = next(iter(found["map_rps"].values()))[0]
    rmse_dps, f_dps = min((levels[1] for levels in found["dps_a"].values()), key=lambda point: point[1])

    def score(rmse: float, f: float) -> float:
        return (rmse - rmse_map) / (rmse_dps - rmse_map) + (f - f_dps) / (f_map - f_dps)

    return {
        name: {
            level: {size: score(*levels[level]) for size, levels in sizes.items()}
            for level in PEERS[name].levels
            if (name, level) != ("map_rps", 0)
        }
        for name, sizes in found.items()
    }


def tune_peers(run: Run) -> dict[str, tuple[str, Any]]:
    """Tunes the traversals.  -> method -> (setting, choice)."""
    found = {name: {x: run(name, x, peer.options(x)) for x in peer.values} for name, peer in PEERS.items()}
    chosen: dict[str, tuple[str, Any]] = {}
    for name, levels in scores(found).items():
        for level, of in levels.items():
            shown = ("{}: {:.4f} / {:.3f} ({:.2f})".format(x, *found[name][x][level], of[x]) for x in of)
            print(f"{name:8s} {level:5g}  {'  '.join(shown)}")
        of_each = [min(sizes, key=lambda x: sizes[x]) for sizes in levels.values()]
        of_all = min(PEERS[name].values, key=lambda x: sum(sizes[x] for sizes in levels.values()))
        chosen[name] = "step_size", of_each if PEERS[name].per_level else of_all
    return chosen


def tune_latent(run: Run) -> dict[str, tuple[str, Any]]:
    """Tunes the latent methods.  -> as `tune_peers`."""
    chosen = {}
    for name, (setting, start) in LATENT.items():
        products: dict[int, float] = {}
        index: int | None = start
        while index is not None:
            ((rmse, f),) = run(name, value(index), {f"model.sampler.{setting}": value(index)}).values()
            print(f"{name:9s} {value(index):<8g} {rmse:.4f} / {f:.3f}", flush=True)
            products[index] = rmse * f if math.isfinite(rmse * f) else math.inf  # some diverge
            best, ends = min(products, key=lambda i: products[i]), (min(products), max(products))
            around = [i for i in (start - 1, start + 1) if i not in products]
            index = around[0] if around else {ends[0]: best - 1, ends[1]: best + 1}.get(best)
        chosen[name] = setting, value(best)
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["peers", "latent"])
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--skip", type=int, default=500)
    parser.add_argument("--output", type=Path, default=Path("runs/tuning"))
    parser.add_argument("--write", action="store_true", help="write the configs")
    given = parser.parse_args()
    start = ["demo", "embedded/TASK"] if given.what == "peers" else ["demo", "demo_latent", "embedded/TASK"]
    data = {"data.skip": given.skip, "data.limit": given.images, "data.batch_size": given.images}

    def run(name: str, value: float, own: dict[str, Any]) -> Levels:
        options = Runs([*start, f"embedded/{given.what}/TASK/{name}"], {**data, **own})
        folder = given.output / given.what / given.task / f"{name}_{value:g}"
        levels = predict(options.arguments(given.task), folder)["levels"]
        return {
            level["level"]: (level["metrics"]["rmse"]["mean"], level["metrics"]["frechet"]["sqrt"]) for level in levels
        }

    for name, (setting, choice) in (tune_peers if given.what == "peers" else tune_latent)(run).items():
        print(f"{name:9s} {setting} {choice}")
        if given.write:
            path = FOLDER / "embedded" / given.what / given.task / f"{name}.yaml"
            text = re.sub(rf"(?m)^( +{setting}): .*", rf"\1: {json.dumps(choice)}", path.read_text(), count=1)
            path.write_text(text)


if __name__ == "__main__":
    main()
