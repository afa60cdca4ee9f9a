"""options: what each option of a network call gains in time and costs in RMSE.

DPS with 25 steps and stage 1 with its defaults, on super-resolution by 4 with noise .1. Each option alternates in
one process with the default; a gain above 1 is faster, and is the median over the repeats. The first call, which
compiles, is timed by itself. RMSE in units of [0, 1], as `rps` reports it.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import Tensor

from benchmarks.cases import CASES, images, measure, seconds
from rps.priors import Speed
from rps.samplers import Dps, LatentDps
from rps.traversals import LmapRps, MapRps, PosteriorSampling

OPTIONS: dict[str, dict[str, Any]] = {
    "dtype bfloat16": {"dtype": "bfloat16"},
    "dtype float16": {"dtype": "float16"},
    "speed.channels_last": {"speed": Speed(channels_last=True)},
    "speed.compile": {"speed": Speed(compile=True)},
    "both": {"speed": Speed(compile=True, channels_last=True)},
}


def rmse(x: Tensor, reference: Tensor) -> float:
    """sqrt(mean((x - reference)^2)), averaged over the images.  x, reference: [N, C, H, W] in [-1, 1]."""
    difference = x.clamp(-1, 1) - reference
    return float((difference.square().flatten(1).mean(1).sqrt() / 2).mean())


def options(cases: list[str], number: int, repeats: int, device: str) -> None:
    print(f"{number} images, {device}, torch {torch.__version__}\n")
    print("| prior | method | option | seconds per image | gain | RMSE | change | first call, seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for case in cases:
        for method in ("DPS", "stage 1"):
            _compare(case, method, number, repeats, device)


def _compare(case: str, method: str, number: int, repeats: int, device: str) -> None:
    plain = CASES[case]().to(device)
    measurement, clean = measure(plain, number), images(plain, number)
    sampler, stages = (LatentDps(), LmapRps) if plain.latent else (Dps(), MapRps)
    traversal = stages([0]) if method == "stage 1" else PosteriorSampling(sampler, steps=25)

    def restored(prior: Any) -> Tensor:
        return traversal.run(measurement, prior).images[traversal.levels[0]]

    base = rmse(restored(plain), clean)
    for name, option in OPTIONS.items():
        if option.get("dtype") == "float16" and device == "cpu":  # minutes per image
            continue
        prior = CASES[case](**option).to(device)
        start = time.perf_counter()  # other processes compile
        restored(prior)
        first = time.perf_counter() - start
        error, pairs = rmse(restored(prior), clean), []
        for _ in range(repeats):
            pairs.append((seconds(lambda: restored(plain), device),
                          seconds(lambda prior=prior: restored(prior), device)))  # fmt: skip
        took, gain = statistics.median(b for _, b in pairs), statistics.median(a / b for a, b in pairs)
        print(f"| {case} | {method} | {name} | {took / number:.3f} | {gain:.2f} | {error:.5f} | {error - base:+.1e} "
              f"| {first:.0f} |", flush=True)  # fmt: skip
