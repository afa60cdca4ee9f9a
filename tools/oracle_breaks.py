"""Breaks samplers and traversals on purpose, to check that the oracle notices."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from oracle_cases import OUTPUTS, SAMPLERS, SMALL, Case, judge, law_cases, law_changed, problem, propagated, wrong

from rps.estimators import MapEstimator
from rps.priors.analytic.gaussian_mixture import GaussianMixture
from rps.samplers import Ddnm, Dmap, Dps, ExactPosterior, PiGdm, daps, ddnm, diffpir, dmps, pigdm, sitcom
from rps.samplers.chains import Chain
from rps.schedule import Schedule
from rps.traversals import Interpolation, SampleAverage

Broken = Callable[[], AbstractContextManager[Any]]
"""Breaks a method within a `with` block."""


def louder(kind: Any) -> Broken:
    """Multiplies every normal of a step by sqrt 2."""
    right = kind.step

    def step(self, x, t, t_next, measurement, prior, noise):
        streams, normal = type(noise), type(noise).normal
        with patch.object(streams, "normal", lambda self, shape: 2**0.5 * normal(self, shape)):
            return right(self, x, t, t_next, measurement, prior, noise)

    return lambda: patch.object(kind, "step", step)


def step_with(kind: Any, change: Callable[[Any, Any], tuple[Any, Any]]) -> Broken:
    """Changes the inputs of a step.  change: (sampler, measurement) -> their replacements."""
    right = kind.step

    def step(self, x, t, t_next, measurement, prior, noise):
        sampler, measurement = change(self, measurement)
        return right(sampler, x, t, t_next, measurement, prior, noise)

    return lambda: patch.object(kind, "step", step)


def noise_std_times(kind: Any, factor: float) -> Broken:
    return step_with(kind, lambda sampler, y: (sampler, replace(y, noise_std=factor * y.noise_std)))


def setting_times(kind: Any, name: str, factor: float) -> Broken:
    return step_with(kind, lambda sampler, y: (sampler.replace(**{name: factor * getattr(sampler, name)}), y))


def negated(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its result negated; of a pair, its second part."""

    def wrapped(*args):
        result = function(*args)
        return (result[0], -result[1], *result[2:]) if isinstance(result, tuple) else -result

    return wrapped


def without_jacobian(x, t, prior, loss):
    """through_denoiser with the gradient at x0hat instead of x_t."""
    with torch.enable_grad():
        denoised = prior.denoise(x, t)
        x0 = denoised.x0.detach().requires_grad_()
        losses = loss(x0)
        return denoised, torch.autograd.grad(losses.sum(), x0)[0], losses.detach()


def squared_norm(self, x, t, measurement, prior, *rest, right=Dps.guided):
    """The gradient of the squared norm, 2 ||r|| grad ||r||."""
    denoised, gradient, norm = right(self, x, t, measurement, prior, *rest)
    return denoised, 2 * norm.view(-1, 1, 1, 1) * gradient, norm


def without_evidence(self, *args, right=GaussianMixture.given_noisy):
    return replace(right(self, *args), log_weights=self.log_weights.expand(len(args[0]), -1))


def not_renoised(cls, x0, timesteps, streams, schedule, settings=None):
    return cls(x0 * (schedule.alpha(timesteps[0]) if timesteps else 1.0), timesteps, streams, settings or {})


def no_std(self, t, t_next, like, variance_fraction=None):
    return 0 * like[:, :1]


def one_chain(self, schedule, right=SampleAverage.plan):
    return [replace(chain, index=0) for chain in right(self, schedule)]


def replaced(owner: Any, name: str, function: Any) -> Broken:
    return lambda: patch.object(owner, name, function)


def sign_of(owner: Any, name: str) -> Broken:
    return replaced(owner, name, negated(getattr(owner, name)))


@dataclass(frozen=True)
class Break:
    """A change to the method of a case.  unnoticed: why the change keeps its law; empty if it must be noticed."""

    what: str
    case: Case
    broken: Broken
    unnoticed: str = ""

    def noticed(self, record: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
        """The deviations of the broken method: of its samples at the size of the test (see `wrong`), and of its
        propagated law if there is one (see `law_changed`). record: the content of docs/oracle.json."""
        case, samples, law = self.case, {}, {}
        problem(case.prior, case.task, SMALL, OUTPUTS), problem(case.prior, case.task, 2, OUTPUTS)  # not yet broken
        with self.broken():
            if case.prior != "white":  # chains of "white" are long
                samples = wrong(case, judge(case, SMALL), record["figures"][str(case)])
            if case in law_cases():
                try:
                    law = law_changed(propagated(case), record["laws"][str(case)])
                except ValueError:  # no longer affine
                    law = {"affinity": math.nan}
        return samples, law


SIGNS: dict[str, Broken] = {
    "PiGdm": sign_of(pigdm, "guidance"),
    "Dmps": sign_of(dmps, "guidance"),
    "DiffPir": sign_of(diffpir, "spectral"),
    "Ddnm": sign_of(ddnm, "spectral"),
    "Ddrm": sign_of(ddnm, "spectral"),
    "Daps": sign_of(daps, "data_gradient"),
    "Dps": sign_of(Dps, "guided"),
    "Dmap": sign_of(Dps, "guided"),
    "Sitcom": sign_of(sitcom, "through_prior"),
}


def breaks() -> list[Break]:
    """Breaks of every sampler by sqrt 2 times its noise and by the sign of its guidance, and subtler ones."""
    found = []
    for name, (build, _) in SAMPLERS.items():
        case = Case("gaussian", "sr2", name)
        why = "its length is that of the sphere" if name == "Dmap" else ""
        found.append(Break("noise times sqrt 2", case, louder(type(build())), why))
        if name in SIGNS:
            found.append(Break("sign of the guidance", case, SIGNS[name]))
    exact, right_r2 = Case("gaussian", "inpaint", "ExactPosterior"), Case("white", "sr2", "PiGdm, right r^2")
    mixture, noiseless = Case("mixture", "inpaint", "ExactPosterior"), Case("white", "inpaint, no noise", "Ddrm, eta 0")
    rps, mix = "MapRps, exact stages", "Interpolation, exact stages"
    return [
        *found,
        Break("radius times sqrt 2", Case("gaussian", "sr2", "Dmap"), setting_times(Dmap, "radius", 2**0.5)),
        Break("noise times sqrt 2", right_r2, louder(PiGdm)),
        Break("sign of the guidance", right_r2, SIGNS["PiGdm"]),
        Break("r^2 of 4 times the variance", right_r2, setting_times(PiGdm, "prior_variance", 4.0)),
        Break("sign of the guidance", noiseless, SIGNS["Ddrm"]),
        Break("Jacobian omitted", Case("gaussian", "blur", "PiGdm"),
              replaced(pigdm, "through_denoiser", without_jacobian)),
        Break("noise_std doubled", exact, noise_std_times(ExactPosterior, 2.0)),
        Break("mean in place of a draw", exact, replaced(GaussianMixture, "sample", lambda self, *_: self.mean())),
        Break("bridge without noise (DDIM)", exact,
              replaced(Schedule, "reverse_std", no_std), "any s keeps the law"),
        Break("weights without the evidence", mixture, replaced(GaussianMixture, "given_noisy", without_evidence)),
        Break("weights without the evidence", Case("mixture", "sr2", "Ddnm"),
              replaced(GaussianMixture, "given_noisy", without_evidence)),
        Break("noise_std set to 0", Case("gaussian", "blur", "Ddnm"), noise_std_times(Ddnm, 0.0)),
        Break("norm squared", Case("gaussian", "sr2", "Dps"), replaced(Dps, "guided", squared_norm)),
        Break("not re-noised", Case("gaussian", "sr2", rps), replaced(Chain, "renoised", classmethod(not_renoised))),
        Break("chains share their noise", Case("gaussian", "sr2", "SampleAverage"),
              replaced(SampleAverage, "plan", one_chain)),
        Break("weights swapped", Case("gaussian", "sr2", mix),
              replaced(Interpolation, "image", lambda self, w, x, samples: w * x + (1 - w) * samples[0])),
        Break("prior omitted, w = 0", Case("gaussian", "blur", "MapRps"),
              replaced(MapEstimator, "weight", lambda self, *_: 0.0)),
    ]  # fmt: skip
