"""check_prior describes what is wrong with a prior."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from rps.operators.check import IDS, gap_of, sizes
from rps.priors.base import Denoised, Prior
from rps.randomness import Streams
from rps.schedule import CLEAN, Schedule
from rps.settings import check_part

TOLERANCE = 1e-4
"""Relative tolerance; a network in single precision rounds differently in another batch."""


def check_prior(prior: Prior, seed: int = 0) -> list[str]:
    """A list of the faults of this prior, one sentence each; empty if there are none.

    Tests what solvers rely on, with four rows at different times, including the first and the last: the noise of the
    schedule grows with t; `denoise(x, t)` keeps shape, dtype and device and is finite; x_t = alpha x0 + sigma eps;
    equal inputs give equal results; each row is treated by itself; x0 is differentiable in x; `encode` and `decode` map
    images to samples and back.

    seed: seed of the samples.
    """
    check_part("prior", prior, Prior, "EmbeddedPrior()")
    faults = list(_schedule(prior))
    if faults:
        return faults
    device = next((v.device for v in (*prior.parameters(), *prior.buffers())), torch.device("cpu"))
    streams, last = Streams(seed, IDS, device).at("check"), len(prior.schedule) - 1
    t = torch.tensor([last, last // 2, last // 20, 0], device=device)
    x0, eps = 2 * streams.at("x").uniform(prior.sample_shape) - 1, streams.at("eps").normal(prior.sample_shape)
    x = prior.schedule.add_noise(x0, eps, t)

    def run(what: str, check: Callable[[], Iterator[str]]) -> bool:
        """Adds the first fault that the check finds, which may be an exception; returns whether it finds none."""
        before = len(faults)
        try:
            faults.extend(islice(check(), 1))
        except Exception as error:
            faults.append(f"{what} fails: {type(error).__name__}: {error}")
        return len(faults) == before

    sound = run("denoise(x, t)", lambda: _denoise(prior, x, t))
    if sound and device.type != "mps":
        run("denoise(x, t) in float64", lambda: _denoise(prior, x.double(), t))
    if sound and run("a row of the batch by itself", lambda: _rows(prior, x, t)):
        run("the gradient of x0", lambda: _gradient(prior, x, t))
    run("encode or decode", lambda: _coder(prior, x0, streams))
    return faults


def _schedule(prior: Prior) -> Iterator[str]:
    """The first fault of the attributes that the other checks rely on."""
    schedule, shape = getattr(prior, "schedule", None), getattr(prior, "sample_shape", None)
    if not isinstance(schedule, Schedule):
        yield f"schedule is {type(schedule).__name__}: set self.schedule to a rps.schedule.Schedule"
        return
    if not (isinstance(shape, tuple) and len(shape) == 3 and all(isinstance(n, int) for n in shape)):
        yield f"sample_shape is {shape!r}: set self.sample_shape to three integers (C, H, W)"
        return
    alpha, sigma = schedule.alpha_table[:CLEAN], schedule.sigma_table[:CLEAN]
    noise = sigma / alpha  # infinite at the last timestep of a schedule of zero SNR
    if not bool((alpha.isfinite() & sigma.isfinite() & (alpha >= 0) & (sigma > 0)).all()):
        yield (
            "the schedule has a timestep at which alpha_t is negative, sigma_t is not positive or one of them is not "
            "finite: remove it"
        )
    elif not bool((noise.diff() > 0).all()):
        t = int((noise.diff() <= 0).nonzero()[0]) + 1
        yield (
            f"the schedule's noise sigma_t / alpha_t does not grow from t = {t - 1} to t = {t}: order the table from "
            "the least to the most noise"
        )


def _denoise(prior: Prior, x: Tensor, t: Tensor) -> Iterator[str]:
    given, given_t = x.clone(), t.clone()
    with torch.no_grad():
        denoised: Any = prior.denoise(x, t)
    if not isinstance(denoised, Denoised):
        yield f"denoise returns {type(denoised).__name__}: return a Denoised, e.g. self.from_x0(x, x0, t)"
        return
    if not (torch.equal(x, given) and torch.equal(t, given_t)):
        yield "denoise changes x or t in place: work on a copy"
    outputs = {name: value for name, value in denoised._asdict().items() if value is not None}
    for name, value in outputs.items():
        if value.shape != x.shape:
            yield f"{name} has shape {sizes(value)}, not that of the samples, {sizes(x)}"
        elif value.dtype != x.dtype:
            yield f"{name} of {x.dtype} samples is {value.dtype}: keep the samples' dtype, e.g. with {name}.to(x)"
        elif value.device != x.device:
            yield f"{name} of samples on {x.device} is on {value.device}: register tensors as buffers"
        for row in (~torch.isfinite(value).flatten(1).all(1)).nonzero().flatten().tolist():
            yield f"{name} is not finite at t = {int(t[row])}, of timesteps 0 .. {len(prior.schedule) - 1}"
    alpha, sigma = prior.schedule.at(t, x)
    gap = gap_of(alpha * denoised.x0 + sigma * denoised.eps, x)
    if gap > TOLERANCE:
        yield (
            f"x0 and eps do not match: alpha x0 + sigma eps differs from x by {gap:.1e}, relative; compute both with "
            "self.from_x0, self.from_eps or self.from_v"
        )


@torch.no_grad()
def _rows(prior: Prior, x: Tensor, t: Tensor) -> Iterator[str]:
    """The first way in which a row depends on the other rows of its batch."""
    x0 = prior.denoise(x, t).x0
    if gap_of(prior.denoise(x, t).x0, x0) > TOLERANCE:
        yield "denoise is not deterministic: the same x and t give different x0 (dropout left on? call self.eval())"
        return
    other, other_t = x.clone(), t.clone()
    other[1], other_t[1] = -x[1].flip(0, 1, 2), t[2]
    if gap_of(prior.denoise(other, other_t).x0[[0, 2, 3]], x0[[0, 2, 3]]) > TOLERANCE:
        yield "denoise mixes the rows of a batch: x0 of one sample depends on another sample or its time"
        return
    for row in range(len(x)):
        alone = prior.denoise(x[row : row + 1], t[row : row + 1]).x0
        if gap_of(alone, x0[row : row + 1]) > TOLERANCE:
            yield (
                f"a row by itself gives a different result than in a batch (t = {int(t[row])}): use only the row's own "
                "x and t, which differs between rows"
            )


def _gradient(prior: Prior, x: Tensor, t: Tensor) -> Iterator[str]:
    """The first fault of the gradient of x0 with respect to x, which DPS and similar samplers need."""
    x = x.clone().requires_grad_()
    with torch.enable_grad():
        x0 = prior.denoise(x, t).x0
    if not x0.requires_grad:
        yield "x0 is not differentiable: autograd finds no path from x0 to x (no_grad, detach or numpy in denoise?)"
        return
    (gradient,) = torch.autograd.grad(x0.sum(), x)
    if not torch.isfinite(gradient).all():
        yield "the gradient of x0 with respect to x is not finite"
    elif not gradient.any():
        yield "the gradient of x0 with respect to x is zero everywhere, which gives solvers no guidance"


def _coder(prior: Prior, x0: Tensor, streams: Streams) -> Iterator[str]:
    image = 2 * streams.at("image").uniform(prior.image_shape) - 1
    given = x0.clone().requires_grad_()
    with torch.enable_grad():
        decoded = prior.decode(given)
    with torch.no_grad():
        encoded = prior.encode(image)
    if decoded.shape != image.shape:
        yield f"decode of samples {sizes(x0)} returns {sizes(decoded)}, not images of image_shape, {sizes(image)}"
    elif encoded.shape != x0.shape:
        yield f"encode of images {sizes(image)} returns {sizes(encoded)}, not samples of sample_shape, {sizes(x0)}"
    elif not (torch.isfinite(decoded).all() and torch.isfinite(encoded).all()):
        yield "encode or decode returns values that are not finite"
    elif not decoded.requires_grad:
        yield "decode is not differentiable: autograd finds no path from the image to the sample"
