"""What the benchmarks compare: recorded network calls, and the denoiser that deepinv is given."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import torch
from benchmarks import calls, peers
from benchmarks.cases import measure

from rps.estimators import MapEstimator
from rps.priors import EmbeddedLatentPrior, EmbeddedPrior
from rps.samplers import DiffPir, Dps, LatentDps
from rps.traversals import MapRps, PosteriorSampling


@pytest.mark.parametrize(
    ("kind", "traversal", "forwards", "backwards"),
    [
        (EmbeddedPrior, PosteriorSampling(Dps(), steps=3), {"UNet": 3}, {"UNet": 3}),
        (EmbeddedPrior, PosteriorSampling(DiffPir(), steps=3), {"UNet": 3}, {}),
        (EmbeddedLatentPrior, PosteriorSampling(LatentDps(), steps=3), {"UNet": 3, "decoder": 4},
         {"UNet": 3, "decoder": 3}),
        (EmbeddedLatentPrior, MapRps([0], MapEstimator(3)), {"UNet": 3, "decoder": 4, "encoder": 1}, {"decoder": 3}),
    ],
)  # fmt: skip
def test_every_network_call_is_recorded_and_repeated(kind, traversal, forwards, backwards):
    prior = kind()
    measurement = measure(prior, 2)

    def passes(made):
        parts = {call.part for call in made}
        found = {part: calls.images([call for call in made if call.part == part]) for part in parts}
        return [{part: both[k] // 2 for part, both in found.items() if both[k]} for k in (0, 1)]

    with calls.recorded(prior) as made:
        traversal.run(measurement, prior)
    assert passes(made) == [forwards, backwards]
    noise = torch.randn(max(call.shape.numel() for call in made))
    with calls.recorded(prior) as again:
        for call in made:
            call.network = getattr(prior.unet if call.part == "UNet" else prior.vae, call.network.__name__)
            call.repeat(noise)
    assert passes(again) == [forwards, backwards]


def test_the_denoiser_of_deepinv_is_the_prior():
    peers.check(EmbeddedPrior())
