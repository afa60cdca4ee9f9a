"""Latent optimal transport: the map between Gaussians, and the traversal along it."""

import pytest
import torch

from rps.cost import Cost
from rps.estimators import MapEstimator
from rps.metrics import Gaussian, Statistics
from rps.operators import Denoise
from rps.traversals import LatentTransport
from rps.traversals.latent_map import LatentMap
from tests.rps.latent_models import LinearLatentPrior
from tests.rps.solvers import LATENT, PIXEL, close, law

D = 8


def gaussian(seed: int) -> Gaussian:
    generator = torch.Generator().manual_seed(seed)
    r = torch.randn(D, D, generator=generator, dtype=torch.float64)
    return Gaussian(torch.randn(D, generator=generator, dtype=torch.float64), r @ r.mT / D + 0.1 * torch.eye(D))


def moments(z: torch.Tensor, patch: int) -> Statistics:
    vectors = torch.nn.functional.pixel_unshuffle(z, patch).movedim(1, -1).flatten(0, -2)
    return Statistics.from_features(vectors)


def test_the_map_turns_one_law_into_the_other_and_is_a_gradient():
    """M C_a M = C_b with M symmetric and positive: the optimal one of all linear maps that do so."""
    a, b = gaussian(0), gaussian(1)
    found = LatentMap.between(a, b)
    m = found.matrix.double()
    torch.testing.assert_close(m @ a.cov @ m.mT, b.cov, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(m, m.mT)
    assert torch.linalg.eigvalsh(m).min() > 0
    torch.testing.assert_close(found(a.mean.view(1, D, 1, 1)).flatten(), b.mean, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("patch", [1, 2])
def test_fitted_latents_get_the_statistics_of_the_others(patch, tmp_path):
    generator = torch.Generator().manual_seed(2)
    a, b = (torch.randn(60, 2, 4, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    b = b.cumsum(1) + b.flip(2) + 3
    LatentMap.fit(a, b, patch, ["x"]).save(tmp_path / "map.safetensors")
    read = LatentMap.load(str(tmp_path / "map.safetensors"))
    found, wanted = moments(read(a), patch), moments(b, patch)
    torch.testing.assert_close(found.mean, wanted.mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.cov, wanted.cov, rtol=1e-4, atol=1e-4)
    assert read.patch == patch and read.ids == {"x"}


def test_weight_zero_is_the_estimate_and_the_others_a_line_in_latents():
    """w = 0 costs nothing but the estimate; w > 0 an encoding and a decoding, in the space of another prior too."""
    estimator, space, move = MapEstimator(2), LinearLatentPrior(0.5), LatentMap.between(law(0.2, 1.0), law(-0.1, 2.0))
    measurement, prior = PIXEL.measure(3, Denoise()), PIXEL.prior()
    x = estimator.estimate(measurement, prior)
    found = LatentTransport(move, [0.0, 0.5, 1.0], estimator, space).run(measurement, prior)
    assert torch.equal(found.images[0.0], x)
    z = space.encode(x)
    for w in (0.5, 1.0):
        assert close(found.images[w], space.decode((1 - w) * z + w * move(z)))
    alone = found.cost[0.0]
    assert alone.decoder_calls == 0 and found.cost[0.5] == found.cost[1.0] == alone + Cost(decoder_calls=2)
    assert found.total_cost == alone + Cost(decoder_calls=3)


def test_levels_of_a_latent_prior_start_from_its_decoded_estimate():
    measurement, prior = LATENT.measure(3), LATENT.prior()
    still = LatentMap.between(law(0.0, 1.0), law(0.0, 1.0))
    found = LatentTransport(still, [0.0, 1.0], MapEstimator(2)).run(measurement, prior)
    assert close(found.images[1.0], found.images[0.0], 1e-5), "a linear autoencoder loses nothing"


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path):
    move = LatentMap.between(law(0.2, 1.0), law(-0.1, 2.0), ids=["7", "8", "9", "10"])
    with pytest.raises(ValueError, match=r"was fitted on 10, 7, 8 and 1 more, which cannot also be restored"):
        LatentTransport(move).check_ids(["1", "7", "8", "9", "10"])
    LatentTransport(move).check_ids(["1"])
    with pytest.raises(ValueError, match=r"latents of 2 x 4 x 4 do not have"):
        move(torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match="weights between 0 and 1"):
        LatentTransport(move, [1.5])
    with pytest.raises(FileNotFoundError, match="there is no file none of a transport"):
        LatentTransport("none")
    (tmp_path / "x").write_text("no tensors")
    with pytest.raises(ValueError, match="is not a file of a transport"):
        LatentTransport(str(tmp_path / "x"))


class Larger(LinearLatentPrior):
    image_shape = (1, 8, 8)  # type: ignore[assignment]


def test_images_of_another_size_than_the_autoencoder_s_are_refused():
    move = LatentMap.between(law(0.2, 1.0), law(-0.1, 2.0))
    with pytest.raises(ValueError, match="images are 1 x 4 x 4 but the autoencoder takes 1 x 8 x 8"):
        LatentTransport(move, [1.0], MapEstimator(2), Larger(0.5)).run(PIXEL.measure(1, Denoise()), PIXEL.prior())
