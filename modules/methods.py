"""Each method as a LightningModule that takes the arguments of its traversal.

Use them on the command line and in configs (`--model modules.MapRps --model.t0 '[0, 100]'`). Your own traversal needs
no such class: `--model modules.SolverModule --model.traversal my_package.MyTraversal`.
"""

from __future__ import annotations

from typing import Any

from modules.base import SolverModule
from rps import traversals
from rps.cost import RelativeCost
from rps.noise import Noise
from rps.operators import Operator
from rps.priors import Prior


class Method(SolverModule):
    """A module that builds its traversal from the arguments that it does not know itself."""

    def __init__(
        self,
        prior: Prior,
        operator: Operator,
        noise: float | Noise | None = None,
        seed: int = 0,
        relative_cost: RelativeCost | None = None,
        calibration: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(prior, operator, noise, self.build(**kwargs), seed, relative_cost, calibration)

    def build(self, **kwargs: Any) -> traversals.Traversal:
        """The traversal.  Subclasses name its class here, where the parser finds its arguments."""
        raise NotImplementedError(f"{type(self).__name__} must define build(**kwargs)")


class MapRps(Method):
    """MAP-RPS (arXiv 2605.28711): the MAP estimate, re-noised to t0 and sampled from there."""

    level_arguments = traversals.MapRps.level_arguments

    def build(self, **kwargs: Any) -> traversals.MapRps:
        return traversals.MapRps(**kwargs)


class LmapRps(Method):
    """LMAP-RPS (arXiv 2605.28711): MAP-RPS in the latent space of a prior such as rps.priors.LatentPrior."""

    level_arguments = traversals.LmapRps.level_arguments

    def build(self, **kwargs: Any) -> traversals.LmapRps:
        return traversals.LmapRps(**kwargs)


class Ccdf(Method):
    """CCDF (arXiv 2112.05146), zero-shot: the pseudo-inverse A^+ y, re-noised to t0 and sampled from there."""

    level_arguments = traversals.Ccdf.level_arguments

    def build(self, **kwargs: Any) -> traversals.Ccdf:
        return traversals.Ccdf(**kwargs)


class VarianceScaling(Method):
    """VSDPS (arXiv 2503.20297): DPS from pure noise, with the noise of its steps scaled by lambda."""

    level_arguments = traversals.VarianceScaling.level_arguments

    def build(self, **kwargs: Any) -> traversals.VarianceScaling:
        return traversals.VarianceScaling(**kwargs)


class SampleAverage(Method):
    """The mean of M posterior samples: DPS-A, or MAP-RPS-A with an estimator and a t0 (arXiv 2605.28711)."""

    level_arguments = traversals.SampleAverage.level_arguments

    def build(self, **kwargs: Any) -> traversals.SampleAverage:
        return traversals.SampleAverage(**kwargs)


class StepNumber(Method):
    """Posterior sampling in S steps: DPS-S, or MAP-RPS-S with an estimator and a t0 (arXiv 2605.28711)."""

    level_arguments = traversals.StepNumber.level_arguments

    def build(self, **kwargs: Any) -> traversals.StepNumber:
        return traversals.StepNumber(**kwargs)


class Interpolation(Method):
    """(1 - w) times an estimate of the posterior mean plus w times a posterior sample (arXiv 2107.02555)."""

    level_arguments = traversals.Interpolation.level_arguments

    def build(self, **kwargs: Any) -> traversals.Interpolation:
        return traversals.Interpolation(**kwargs)


class LatentTransport(Method):
    """DOT-DMax (arXiv 2306.02342): an estimate, moved in latents towards the statistics of clean images."""

    level_arguments = traversals.LatentTransport.level_arguments

    def build(self, **kwargs: Any) -> traversals.LatentTransport:
        return traversals.LatentTransport(**kwargs)


class SettingSweep(Method):
    """A numeric setting of a sampler as the knob, such as DiffPIR's zeta or DDNM's eta."""

    level_arguments = traversals.SettingSweep.level_arguments

    def build(self, **kwargs: Any) -> traversals.SettingSweep:
        return traversals.SettingSweep(**kwargs)


class PosteriorSampling(Method):
    """A posterior sampler alone, from pure noise to a clean image: one point of the distortion-perception plane."""

    level_arguments = traversals.PosteriorSampling.level_arguments

    def build(self, **kwargs: Any) -> traversals.PosteriorSampling:
        return traversals.PosteriorSampling(**kwargs)
