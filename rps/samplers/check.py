"""check_sampler describes what is wrong with a sampler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from rps.measurement import Measurement, degrade
from rps.noise import Gaussian
from rps.operators.base import Operator
from rps.operators.check import IDS, gap_of, sizes
from rps.operators.super_resolution import SuperResolution
from rps.priors.analytic.gaussian_mixture import GaussianMixturePrior
from rps.priors.base import Prior
from rps.priors.counted import CountedPrior
from rps.randomness import Streams
from rps.samplers.base import Sampler
from rps.samplers.chains import Chain, run_chains
from rps.schedule import CLEAN
from rps.settings import check_part

TOLERANCE = 1e-5


def check_sampler(
    sampler: Sampler,
    prior: Prior | None = None,
    operator: Operator | None = None,
    noise_std: float = 0.2,
    seed: int = 0,
) -> list[str]:
    """A list of the faults of this sampler, one sentence each; empty if there are none.

    Steps four samples at different times, one of them to the clean image, and tests what traversals rely on: shape,
    dtype and device are kept and values are finite, also for a noiseless measurement of 10^6; a step changes none of
    its arguments, keeps no state and leaves no gradient; each row is treated by itself, with noise that is a function
    of its id; the noise of the measurement is not redrawn; `network_calls` is correct; timesteps descend.

    prior: None is a mixture of two Gaussians over 20 x 8 pixels. operator: None is SuperResolution(2). noise_std: in
    [-1, 1] image units. seed: seed of images, ids and noise.
    """
    check_part("sampler", sampler, Sampler, "Dps()")
    prior = prior or _two_gaussians()
    device = next((v.device for v in (*prior.parameters(), *prior.buffers())), torch.device("cpu"))
    streams = Streams(seed, IDS, device).at("check")
    images = 2 * streams.at("image").uniform(prior.image_shape) - 1
    world = _World(
        sampler, prior, degrade(images, operator or SuperResolution(2), noise_std, IDS, seed), streams.at("step")
    )
    faults: list[str] = []

    def run(what: str, check: Callable[[], Iterator[str]]) -> bool:
        """Adds the first fault that the check finds, which may be an exception; returns whether it finds none."""
        before = len(faults)
        try:
            faults.extend(islice(check(), 1))
        except Exception as error:
            faults.append(f"{what} fails: {type(error).__name__}: {error}")
        return len(faults) == before

    if not run("step(...)", world.results):
        return faults
    if run("a second step", world.repeats):
        run("a row of the batch by itself", world.rows)
    run("a step to the clean image", world.last)
    run("a measurement of 10^6 without noise", world.extremes)
    run("the count of network calls", world.calls)
    run("the timesteps", world.timesteps)
    run("the random numbers of a step", world.secrets)
    return faults


def _two_gaussians() -> GaussianMixturePrior:
    """Bright and dark images with correlated neighbours, for which E[x_0 | x_t] is not linear in x_t."""
    height, width = 20, 8
    ramp = torch.linspace(-1, 1, width).expand(height, width)
    place = torch.arange(n := height * width)
    distance = (place[:, None] - place).abs()
    return GaussianMixturePrior(0.5 * torch.stack([ramp, -ramp])[:, None], (0.2 * 0.7**distance).expand(2, n, n))


class _World:
    """A sampler and four rows to step."""

    def __init__(self, sampler: Sampler, prior: Prior, measurement: Measurement, streams: Streams) -> None:
        self.sampler, self.prior, self.measurement, self.streams = sampler, prior, measurement, streams
        last, device = len(prior.schedule) - 1, streams.keys.device
        times = [(9 * last // 10, 7 * last // 10), (last // 2, last // 2 - 1), (last // 50, last // 200), (0, CLEAN)]
        self.t, self.t_next = torch.tensor(times, device=device).T.contiguous()
        self.x = streams.at("x").normal(prior.sample_shape)

    def step(self, rows: list[int] | None = None, **changes: Any) -> Tensor:
        """One step of these rows (None is all), with some of the arguments changed."""
        index = torch.tensor(rows if rows is not None else range(len(self.x)), device=self.x.device)
        given: dict[str, Any] = {
            "x": self.x, "t": self.t, "t_next": self.t_next, "prior": self.prior, "measurement": self.measurement,
        } | changes  # fmt: skip
        measurement, t = given["measurement"].rows(index), given["t"][index]
        noise = given.get("noise", self.streams)[index].at_step(t)
        with torch.no_grad():
            return self.sampler.step(given["x"][index], t, given["t_next"][index], measurement, given["prior"], noise)

    def results(self) -> Iterator[str]:
        moved = self.step()
        if not isinstance(moved, Tensor) or moved.shape != self.x.shape:
            got = sizes(moved) if isinstance(moved, Tensor) else type(moved).__name__
            yield f"step of samples {sizes(self.x)} returns {got}: return x at t_next, of the same shape"
            return
        if moved.dtype != self.x.dtype:
            yield f"step of {self.x.dtype} samples returns {moved.dtype}: keep the samples' dtype"
        if moved.device != self.x.device:
            yield f"step of samples on {self.x.device} returns one on {moved.device}: create tensors like x"
        for row in _not_finite(moved):
            t, then = int(self.t[row]), int(self.t_next[row])
            yield f"step from t = {t} to {'CLEAN' if then == CLEAN else then} returns values that are not finite"
        if self.x.device.type != "mps":
            exact = replace(self.measurement, y=self.measurement.y.double())
            doubled = self.step(x=self.x.double(), measurement=exact)
            if doubled.dtype != torch.float64:
                yield f"step of torch.float64 samples returns {doubled.dtype}: keep the samples' dtype"

    def repeats(self) -> Iterator[str]:
        """Faults from the state that a first step leaves behind."""
        x, y = self.x.clone().requires_grad_(), self.measurement.y.clone()
        settings = {name: value for name, value in vars(self.sampler).items() if not isinstance(value, Tensor)}
        first = self.step()
        with torch.enable_grad():
            moved = self.sampler.step(
                x, self.t, self.t_next, self.measurement, self.prior, self.streams.at_step(self.t)
            )
        if not torch.equal(x.detach(), self.x) or not torch.equal(y, self.measurement.y):
            yield "step changes x or the measurement in place: work on a copy"
        if moved.requires_grad or x.grad is not None or any(p.grad is not None for p in self.prior.parameters()):
            yield (
                "step leaves a gradient or a graph behind: decorate it with @torch.no_grad(), or if it differentiates, "
                "use torch.autograd.grad and detach the result"
            )
        if gap_of(self.step(), first) > TOLERANCE or gap_of(moved, first) > TOLERANCE:
            yield "the same step gives a different result the second time: draw only from noise and keep no state"
        if any(vars(self.sampler).get(name) is not value for name, value in settings.items()):
            yield "step changes an attribute of the sampler: keep no state, because chains share one sampler"

    def rows(self) -> Iterator[str]:
        """The first way in which a row depends on the other rows of its batch."""
        whole, others = self.step(), [0, 2, 3]
        x, y = self.x.clone(), self.measurement.y.clone()
        x[1], y[1] = -x[1].flip(0, 1, 2), -y[1]
        beside = self.step(x=x, measurement=replace(self.measurement, y=y))
        if gap_of(beside[others], whole[others]) > TOLERANCE:
            yield "step mixes the rows of a batch: the result of one sample depends on another"
            return
        for rows in ([0], [1], [2], [3], [3, 0, 2, 1]):
            if gap_of(self.step(rows), whole[rows]) > TOLERANCE:
                yield (
                    "a row by itself, or in another order, gives a different result than in the batch: use t, t_next, "
                    "noise and the measurement row by row"
                )
                return
        y[1] = float("nan")
        if gap_of(self.step(measurement=replace(self.measurement, y=y))[others], whole[others]) > TOLERANCE:
            yield "a measurement of NaN changes the other rows of its batch: treat each row by itself"

    def last(self) -> Iterator[str]:
        """Faults of steps from every time to the clean image, as at the end of a coarse grid."""
        clean = torch.full_like(self.t_next, CLEAN)
        for row in _not_finite(self.step(t_next=clean)):
            yield f"the last step, from t = {int(self.t[row])} to CLEAN, returns values that are not finite"

    def extremes(self) -> Iterator[str]:
        y = 1e6 * torch.sign(self.measurement.y)
        extreme = replace(self.measurement, y=y, noise_std=0.0, noise=Gaussian(0.0))
        for row in _not_finite(self.step(measurement=extreme)):
            yield (
                f"step at t = {int(self.t[row])} returns values that are not finite for y of 10^6 and noise_std = 0: "
                "guard divisions and square roots"
            )

    def calls(self) -> Iterator[str]:
        for steps in (1, 3):
            chain = Chain(self.x, self.t[:steps].tolist(), self.measurement.streams, self.sampler)
            (_, (made,)) = run_chains([chain], self.measurement, CountedPrior(self.prior))
            per_call = made.network_calls / self.prior.evaluations
            if per_call != self.sampler.network_calls(steps):
                yield (
                    f"network_calls({steps}) is {self.sampler.network_calls(steps)}, but a chain of that many steps "
                    f"makes {per_call:g} network calls per image"
                )
                return

    def timesteps(self) -> Iterator[str]:
        total = len(self.prior.schedule)
        for t0, steps in ((total, None), (total, 10), (total // 3, 10), (2, 1), (1, None), (0, None)):
            found = self.sampler.timesteps(self.prior.schedule, t0, steps)
            if found != sorted(set(found), reverse=True) or any(not 0 <= t < t0 for t in found):
                yield f"timesteps(schedule, t0={t0}, steps={steps}) must descend within t0 - 1 .. 0, got {found}"

    def secrets(self) -> Iterator[str]:
        """y = A(x) + noise: a sampler that redraws this noise learns more about x than the measurement reveals."""
        asked: list[tuple[Any, ...]] = []

        class Watched(Streams):
            def at(self, *path: Any) -> Streams:
                asked.append(path)
                return super().at(*path)

        watched = replace(
            self.measurement, streams=Watched._from_keys(self.measurement.streams.keys, self.measurement.streams.ids)
        )
        self.step(measurement=watched)
        if any(path[:1] in (("measurement",), ("operator",)) for path in asked):
            yield (
                "step redraws the measurement's noise or operator from measurement.streams, which reveals the clean "
                "image: draw only from noise"
            )


def _not_finite(x: Tensor) -> list[int]:
    return (~torch.isfinite(x).flatten(1).all(1)).nonzero().flatten().tolist()
