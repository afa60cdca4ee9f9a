"""Tune MAP-RPS on the embedded prior, LMAP-RPS on the latent one, on images that are not the reported ones.

    python tools/tune_embedded.py map --task sr4        # stage 1: t1 and w
    python tools/tune_embedded.py curve --task sr4      # stage 2: xi, with the settings of stage 1 as given
    python tools/tune_embedded.py curve --task sr4 --prior latent

Reported figures are of images 0 to 63 of the embedded set; this tool uses 500 to 563. It prints RMSE and sqrt(FD) with
standard errors for every setting; the choice is written into configs/embedded/ by hand.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import torch
from torch import Tensor

from datamodules import Embedded
from rps import samplers
from rps.estimators import Estimator, MapEstimator
from rps.measurement import Measurement, degrade
from rps.metrics import EmbeddedFeatures, Statistics, as_saved, frechet_distance, rmse
from rps.operators import AnisotropicBlur, Denoise, Inpaint, Operator, SuperResolution
from rps.priors import EmbeddedLatentPrior, EmbeddedPrior, Prior
from rps.samplers import Dps, LatentDps
from rps.traversals import MapRps

TASKS: dict[str, tuple[Operator, float]] = {
    "denoise": (Denoise(), 0.5),
    "sr4": (SuperResolution(4), 0.1),
    "inpaint": (Inpaint(keep=0.3), 0.2),
    "deblur_aniso": (AnisotropicBlur(), 0.1),
}
# name -> the prior, and the sampler of stage 2.
PRIORS: dict[str, tuple[type[Prior], type[Dps]]] = {
    "pixel": (EmbeddedPrior, Dps),
    "latent": (EmbeddedLatentPrior, LatentDps),
}


class Fixed(Estimator):
    """An estimate that was made before."""

    def __init__(self, estimate: Tensor) -> None:
        self.fixed = estimate

    def estimate(self, measurement: Measurement, prior: Prior) -> Tensor:
        return self.fixed


class Judge:
    """RMSE and sqrt(FD) of a batch of restorations."""

    def __init__(self, reference: Tensor) -> None:
        self.reference = as_saved(reference)
        self.features = EmbeddedFeatures()
        self.statistics = Statistics.load(self.features.reference)

    @torch.no_grad()
    def point(self, images: Tensor) -> tuple[Tensor, float]:
        """(RMSE of each image, sqrt(FD) of all)."""
        saved = as_saved(images)
        distance = frechet_distance(Statistics.from_features(self.features(saved)), self.statistics)
        return rmse(saved, self.reference), distance**0.5

    def __call__(self, images: Tensor) -> str:
        error, root = self.point(images)
        return f"{error.mean():.4f}({error.std() / len(error) ** 0.5:.4f}) / {root:.3f}"


def embedded_images(n: int, skip: int) -> dict:
    data = Embedded(limit=n, batch_size=n, skip=skip)
    data.setup("predict")
    return next(iter(data.predict_dataloader()))


def resumable(description: str, written: str) -> tuple[argparse.Namespace, dict]:
    """(task, images, skip, output and write from the command line; the points of an earlier run that is resumed).

    written: what --write writes.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--skip", type=int, default=500)
    parser.add_argument("--output", type=Path, required=True, help="JSON of all points")
    parser.add_argument("--write", action="store_true", help=f"write {written}")
    arguments = parser.parse_args()
    return arguments, json.loads(arguments.output.read_text()) if arguments.output.is_file() else {}


def sweep_map(measurement: Measurement, prior: Prior, judge: Judge, arguments: argparse.Namespace) -> None:
    for term, t1, factor, lr in itertools.product(arguments.terms, arguments.t1, arguments.w_factors, arguments.lr):
        estimate = MapEstimator(arguments.n, lr, t1, w_factor=factor, prior_term=term).estimate(measurement, prior)
        point = judge(prior.decode(estimate))
        print(f"{term:16s} t1 {t1:4d}  w/w* {factor:<5g}  lr {lr:<5g}  {point}", flush=True)


def sweep_curve(measurement: Measurement, prior: Prior, judge: Judge, arguments: argparse.Namespace) -> None:
    estimate = MapEstimator(arguments.n, arguments.lr[0], arguments.t1[0], w_factor=arguments.w_factors[0]).estimate(
        measurement, prior
    )
    sampler = getattr(samplers, arguments.sampler) if arguments.sampler else PRIORS[arguments.prior][1]
    for steps, xi in itertools.product(arguments.steps, arguments.xi):
        result = MapRps(arguments.t0, Fixed(estimate), sampler(xi), steps).run(measurement, prior)
        points = "   ".join(f"{level}: {judge(images)}" for level, images in result.images.items())
        print(f"steps {steps}  xi {xi:<6g}   {points}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["map", "curve"])
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--prior", choices=PRIORS, default="pixel")
    parser.add_argument("--sampler", help="of stage 2, a class of rps.samplers with a step_size; DPS")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--skip", type=int, default=500)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--terms", nargs="+", default=["centred"])
    parser.add_argument("--t1", nargs="+", type=int, default=[50, 100, 200, 300])
    parser.add_argument("--w-factors", nargs="+", type=float, default=[1.0])
    parser.add_argument("--lr", nargs="+", type=float, default=[0.1])
    parser.add_argument("--steps", nargs="+", type=int, default=[100])
    parser.add_argument("--xi", nargs="+", type=float, default=[0.5, 1.0, 2.0])
    parser.add_argument("--t0", nargs="+", type=int, default=[0, 50, 100, 200, 400])
    arguments = parser.parse_args()

    batch = embedded_images(arguments.images, arguments.skip)
    prior: Prior = PRIORS[arguments.prior][0]()
    operator, noise_std = TASKS[arguments.task]
    measurement = degrade(batch["image"], operator, noise_std, batch["id"], seed=0)
    prior = prior.given(measurement)
    judge = Judge(batch["image"])
    print(
        f"{arguments.task}: A^+ y {judge(measurement.operator.pinv(measurement.y, 0.1))}, "
        f"clean images {judge(batch['image'])}"
    )
    (sweep_map if arguments.what == "map" else sweep_curve)(measurement, prior, judge, arguments)


if __name__ == "__main__":
    main()
