"""Seconds of a MAP-RPS pass against the bare network's time for the same calls, in one process.

    python tools/benchmark_overhead.py --images 64 --repeats 3

Every network call of a real pass is recorded (its batch, and whether it is differentiated, as DPS needs); the same
calls are then made with the bare UNet, nothing else around it: forward under no_grad for stage 1, forward and
vector-Jacobian product with respect to the input for stage 2. Pass and bare calls alternate, so that a busy machine
slows both alike; the ratio of each pair is printed, with its median.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from torch import Tensor

from datamodules import Embedded
from rps.estimators import MapEstimator
from rps.measurement import Measurement, degrade
from rps.operators import SuperResolution
from rps.priors import EmbeddedPrior
from rps.samplers import Dps
from rps.traversals import MapRps

Call = tuple[int, bool]
"""Images in a network call, and whether it is differentiated."""


def record_calls(traversal: MapRps, measurement: Measurement, prior: EmbeddedPrior) -> list[Call]:
    calls: list[Call] = []
    hook = prior.unet.register_forward_hook(
        lambda module, args, output: calls.append((len(output.sample), output.sample.requires_grad))
    )
    traversal.run(measurement, prior)
    hook.remove()
    return calls


def bare_seconds(prior: EmbeddedPrior, calls: list[Call]) -> float:
    """Time of the network alone for these calls."""
    largest = max(n for n, _ in calls)
    x, t = torch.randn(largest, *prior.sample_shape), torch.full((largest,), 100)
    start = time.perf_counter()
    for n, differentiated in calls:
        if differentiated:
            row = x[:n].clone().requires_grad_()
            output = prior.unet(row, t[:n]).sample
            torch.autograd.grad(output, row, grad_outputs=torch.ones_like(output))
        else:
            with torch.no_grad():
                prior.unet(x[:n], t[:n])
    return time.perf_counter() - start


def embedded_images(n: int) -> Tensor:
    data = Embedded(limit=n, batch_size=n)
    data.setup("predict")
    return next(iter(data.predict_dataloader()))["image"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()

    prior = EmbeddedPrior()
    measurement = degrade(embedded_images(arguments.images), SuperResolution(4), noise=0.1)
    traversal = MapRps([0, 50, 100, 200], MapEstimator(num_steps=40, t1=200), Dps(), steps=100)
    calls = record_calls(traversal, measurement, prior)
    print(f"{len(calls)} network calls, {sum(n for n, _ in calls)} images through the network")
    ratios = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        traversal.run(measurement, prior)
        whole = time.perf_counter() - start
        bare = bare_seconds(prior, calls)
        ratios.append(whole / bare)
        print(f"pass {whole:.2f} s, bare network {bare:.2f} s, ratio {ratios[-1]:.3f}")
    print(f"median ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
