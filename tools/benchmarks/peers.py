"""peers: DPS and DiffPIR of deepinv 0.5 and ours, with the same network, operators, images and measurements.

    pip install deepinv          # or the extra "operators" of this package

Super-resolution by 4 (mean pooling) and inpainting of 70 % of the pixels, noise .1 in [-1, 1]. Each run is one of:
    deepinv: its DPS(solver "ddpm") or DiffPIR, all images in one batch;
    rps, one by one: a loop over single images, as the published code of both methods runs;
    rps: all images in one batch.
Each method's one weight (deepinv: weight, lambda_; ours: step_size, lam) is the best of six on eight other images. zeta
is .1 in both DiffPIRs. The three runs alternate; their images per second (of CPU time) are medians over the repeats.
The columns f and b count forward and backward passes of the network per image, as measured.

The mapping. deepinv's images X are in [0, 1], and its denoiser gets X = X_0 + s n, so x_0 = 2 X_0 - 1 in our units and
x_t = alpha_t (2 X - 1) at the t whose sigma_t / alpha_t is nearest to 2 s. The denoised image goes back as
(x0hat + 1) / 2. y becomes (y + 1) / 2, as both operators map a constant image to the same constant, and the noise .05.
The check at the start compares the two denoisers.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.calls import images as through
from benchmarks.calls import recorded
from benchmarks.cases import images, timed
from benchmarks.options import rmse
from rps.measurement import Measurement, degrade
from rps.operators import Inpaint, Operator, SuperResolution
from rps.priors import EmbeddedPrior, Prior
from rps.samplers import DiffPir, Dps, Sampler
from rps.traversals import PosteriorSampling

NOISE = 0.1
OPERATORS: dict[str, Operator] = {"sr4": SuperResolution(4), "inpaint .7": Inpaint(0.7)}
WEIGHTS: dict[str, list[float]] = {
    "deepinv DPS": [10, 30, 60, 100, 200, 400],
    "deepinv DiffPIR": [0.015, 0.05, 0.15, 0.5, 1.5, 5],
    "rps DPS": [1, 2, 3, 5, 8, 12],
    "rps DiffPIR": [0.01, 0.03, 0.1, 0.3, 1, 3],
}
Run = Callable[[Measurement, float, int], Tensor]
"""(measurement, weight, steps) -> images in [-1, 1]."""


def ours(prior: Prior, sampler: Callable[[float], Sampler], single: bool = False) -> Run:
    def run(measurement: Measurement, weight: float, steps: int) -> Tensor:
        traversal = PosteriorSampling(sampler(weight), steps=steps)
        parts = [measurement.rows(slice(i, i + 1)) for i in range(len(measurement))] if single else [measurement]
        return torch.cat([traversal.run(part, prior).images[steps] for part in parts])

    return run


def theirs(prior: Prior) -> dict[str, Run]:
    """deepinv's DPS and DiffPIR on our prior and operators."""
    import deepinv

    class Network(deepinv.models.Denoiser):
        def forward(self, x: Tensor, sigma: Any, *args: Any, **keywords: Any) -> Tensor:
            return denoise(prior, x, sigma)

    class Physics(deepinv.physics.LinearPhysics):
        """Our operator, with its closed form of argmin_x gamma ||A x - y||^2 + ||x - z||^2."""

        def __init__(self, operator: Any) -> None:
            super().__init__(noise_model=deepinv.physics.GaussianNoise(NOISE / 2))
            self.operator = operator

        def A(self, x: Tensor, **_: Any) -> Tensor:
            return self.operator(x)

        def A_adjoint(self, y: Tensor, **_: Any) -> Tensor:
            return self.operator.adjoint(y)

        def prox_l2(self, z: Tensor, y: Tensor, gamma: Any, **_: Any) -> Tensor:
            return z + self.operator.spectral(y - self.operator(z), lambda s: s / (s**2 + 1 / gamma))

    network = Network()

    def dps(measurement: Measurement, weight: float, steps: int) -> Tensor:
        method = deepinv.sampling.DPS(network, num_steps=steps + 1, weight=weight, rng=torch.Generator())
        start = (len(measurement), *measurement.image_shape)
        return 2 * method((measurement.y + 1) / 2, Physics(measurement.operator), x_init=start, seed=1).float() - 1

    def diffpir(measurement: Measurement, weight: float, steps: int) -> Tensor:
        method = deepinv.sampling.DiffPIR(
            network, deepinv.optim.data_fidelity.L2(), sigma=NOISE / 2, max_iter=steps, lambda_=weight
        )
        y, operator = (measurement.y + 1) / 2, measurement.operator
        return 2 * method(y, Physics(operator), seed=1, x_init=operator.pinv(y)) - 1

    return {"DPS": dps, "DiffPIR": diffpir}


def denoise(prior: Prior, x: Tensor, sigma: Any) -> Tensor:
    """E[X_0 | X = x] for X = X_0 + sigma n in [0, 1].  x: [N, C, H, W], sigma: a number or one per image."""
    schedule, s = prior.schedule, torch.as_tensor(2 * sigma).flatten().double()
    ratios = schedule.sigma_table[:-1] / schedule.alpha_table[:-1]
    t = (ratios[None] - s[:, None]).abs().argmin(1).expand(len(x))
    alpha, _ = schedule.at(t, x)
    return (prior.denoise(alpha * (2 * x - 1), t).x0 + 1) / 2


def check(prior: Prior) -> None:
    """The mapped denoiser is the prior at every timestep."""
    for t in (5, 100, 500, 900):
        clean, n, at = images(prior, 2), torch.randn(2, *prior.sample_shape), torch.full((2,), t)
        ratio = prior.schedule.sigma(t) / prior.schedule.alpha(t)
        noisy = (clean + ratio * n + 1) / 2
        expected = prior.denoise(prior.schedule.add_noise(clean, n, at), at).x0
        torch.testing.assert_close(2 * denoise(prior, noisy, ratio / 2) - 1, expected, atol=1e-3, rtol=0)


def peers(number: int, steps: int, repeats: int) -> None:
    prior = EmbeddedPrior()
    check(prior)
    samplers: dict[str, Callable[[float], Sampler]] = {
        "DPS": lambda weight: Dps(step_size=weight),
        "DiffPIR": lambda weight: DiffPir(lam=weight, zeta=0.1),
    }
    print(f"{number} images, {steps} steps, torch {torch.__version__}\n")
    print("| operator | method | run | weight | f | b | images per second | RMSE |\n|---|---|---|---|---|---|---|---|")
    for place, operator in OPERATORS.items():
        for method, other in theirs(prior).items():
            runs = {
                "deepinv": other,
                "rps, one by one": ours(prior, samplers[method], single=True),
                "rps": ours(prior, samplers[method]),
            }
            compare(f"{place} | {method}", operator, runs, prior, number, steps, repeats)


def compare(
    title: str, operator: Operator, runs: dict[str, Run], prior: Prior, number: int, steps: int, repeats: int
) -> None:
    """Prints a line for each run."""
    others, clean = images(prior, 508)[500:], images(prior, number)
    few, measurement = degrade(others, operator, NOISE, seed=7), degrade(clean, operator, NOISE, seed=7)
    best = {}
    for whose in ("deepinv", "rps"):
        weights = WEIGHTS[f"{whose} {title.partition(' | ')[2]}"]
        best[whose] = min(weights, key=lambda weight: rmse(runs[whose](few, weight, steps), others))
    took: dict[str, list[float]] = {name: [] for name in runs}
    found = {}
    for _ in range(repeats):
        for name, run in runs.items():
            weight = best[name.partition(",")[0]]
            with recorded(prior) as calls:
                spent, restored = timed(partial(run, measurement, weight, steps))
            took[name].append(spent)
            f, b = (passes / number for passes in through(calls))
            found[name] = f"{weight} | {f:.0f} | {b:.0f}", rmse(restored, clean)
    for name, (text, error) in found.items():
        print(f"| {title} | {name} | {text} | {number / statistics.median(took[name]):.3f} | {error:.4f} |", flush=True)
