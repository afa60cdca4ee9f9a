"""TiledPrior: what is blended of tiles is what the whole picture gives, where it must be."""

import pytest
import torch

import rps
from rps.measurement import degrade
from rps.metrics import seams
from rps.operators import AnisotropicBlur, Denoise, Inpaint, SuperResolution
from rps.priors import GaussianMixturePrior, Prior, TiledPrior, check_prior
from rps.priors.base import Need
from rps.priors.counted import CountedPrior
from rps.schedule import Schedule
from rps.shallow import shallow_copy

T = torch.tensor([600, 200])


def gaussian(covariance, height, width):
    return GaussianMixturePrior(torch.zeros(1, 1, height, width, dtype=torch.float64), covariance[None])


def white(height, width):
    return gaussian(0.25 * torch.eye(height * width, dtype=torch.float64), height, width)


def rows_of(rho, height, width):
    """Independent rows, each a stationary Markov process of unit variance and correlation rho^|i - j|."""
    place = torch.arange(width, dtype=torch.float64)
    row = rho ** (place[:, None] - place).abs()
    return gaussian(torch.block_diag(*[row] * height), height, width)


def noisy(n, height, width, seed=0):
    return torch.randn(n, 1, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("height", "width"), [(13, 21), (5, 21), (3, 4), (8, 8)])
def test_independent_pixels_are_denoised_as_in_the_whole_picture(height, width):
    """Also in pictures that are smaller than a tile. The gradient is that of the whole picture, too."""
    tiled, whole = TiledPrior(white(8, 8), overlap=3, micro_batch=3), white(height, width)
    results = []
    for prior in (tiled, whole):
        x = noisy(2, height, width).requires_grad_()
        denoised = prior.denoise(x, T)
        (gradient,) = torch.autograd.grad((denoised.x0 * noisy(2, height, width, 1)).sum(), x)
        results.append((denoised.x0, denoised.eps, gradient))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_correlations_shorter_than_the_overlap_are_kept():
    """A Markov process beyond a tile bears on a pixel i in it only through the last pixel b of the tile. So the tile's
    x0_i is off by at most rho^|i - b| times what x0_b is off, summed over both ends; measurements in between make it
    less. The blend is off by no more than the weighted mean of these bounds."""
    rho, height, width = 0.5, 16, 40
    whole, tile = rows_of(rho, height, width), rows_of(rho, 16, 16)
    x = noisy(2, height, width)
    exact = whole.denoise(x, T).x0
    place, errors = torch.arange(16), {}
    for overlap in (0, 8):
        tiled = TiledPrior(tile, overlap=overlap)

        starts = tiled.tiles_of(height, width).starts[1]

        def bound(part, rows, numbers, starts=starts):
            inner = torch.tensor([[starts[k] > 0, starts[k] + 16 < width] for k in numbers]).view(-1, 1, 1, 2)
            theirs = torch.stack(
                [exact[i, ..., starts[k] : starts[k] + 16] for i, k in zip(rows, numbers, strict=True)]
            )
            off = (tile.denoise(part, T[rows]).x0 - theirs).abs()[..., [0, -1]] * inner
            return [off[..., :1] * rho**place + off[..., 1:] * rho ** (15 - place)]

        (allowed,) = tiled.tiles_of(height, width).blend(bound, x)
        off = (tiled.denoise(x, T).x0 - exact).abs()
        assert (off <= allowed + 1e-9).all()
        errors[overlap] = off.square().mean().sqrt()
    assert errors[8] < errors[0] / 4


def test_a_result_does_not_depend_on_the_batch():
    """Neither on the other pictures nor on how many tiles share a call."""
    x = noisy(3, 20, 30)
    t = torch.tensor([600, 200, 5])
    tile = rows_of(0.9, 8, 8)
    together = TiledPrior(tile, micro_batch=None).denoise(x, t).x0
    for micro_batch in (1, 5):
        torch.testing.assert_close(TiledPrior(tile, micro_batch=micro_batch).denoise(x, t).x0, together)
    torch.testing.assert_close(TiledPrior(tile).denoise(x[1:2], t[1:2]).x0, together[1:2])


def test_tiles_are_counted_and_their_activations_are_not_kept():
    """6 tiles of 45 x 70. The backward calls the network again, which the relative cost of a backward includes."""
    embedded = rps.EmbeddedPrior()
    tiled = TiledPrior(embedded, overlap=8)
    assert tiled.relative_cost.backward == 1 + embedded.relative_cost.backward
    measurement = degrade(torch.zeros(2, 1, 45, 70), Denoise(), 0.1)
    counted, calls = CountedPrior(tiled).given(measurement), []
    embedded.unet.register_forward_hook(lambda *_: calls.append(1))
    x = noisy(2, 45, 70).float().requires_grad_()
    x0 = counted.denoise(x, T).x0
    assert counted.cost.network_calls == 2 * 6 and len(calls) == 2  # of 8 and of 4 tiles
    x0.square().sum().backward()
    assert counted.cost.network_backwards == 2 * 6 and len(calls) == 4
    assert x.grad.isfinite().all() and (x.grad != 0).all()


def test_progress_counts_the_tiles_of_a_picture_once():
    """So that its total is known before the sizes of the pictures are."""
    prior = TiledPrior(white(8, 8))
    traversal = rps.MapRps(t0=[0, 100], steps=3, estimator=rps.ProximalMap(4))
    for size, tiles in (((8, 8), 1), ((8, 20), 4)):
        reported: list[int] = []
        measurement = degrade(torch.zeros(2, 1, *size, dtype=torch.float64), Inpaint(0.5), 0.1)
        found = traversal.run(measurement, prior, lambda _, calls, reported=reported: reported.append(calls))
        assert sum(reported) == 2 * traversal.network_calls_per_image(prior)
        assert found.total_cost.network_calls == tiles * traversal.network_calls_per_image(prior)


def test_the_forward_keeps_the_picture_and_no_more():
    kept = []
    x = noisy(1, 45, 70).float().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda v: kept.append(v.numel()), lambda _: None):
        TiledPrior(rps.EmbeddedPrior()).denoise(x, T[:1])
    assert sum(kept) == x.numel()


def test_a_latent_prior_encodes_and_decodes_in_tiles():
    latent = rps.EmbeddedLatentPrior()
    image = torch.rand(1, 1, 45, 70, generator=torch.Generator().manual_seed(0)) * 2 - 1
    counted = CountedPrior(TiledPrior(latent)).given(degrade(image, Denoise(), 0.1))
    assert counted.sample_shape == (4, 12, 18) and counted.image_shape == (1, 45, 70)
    assert counted.decode(counted.encode(image)).shape == image.shape
    assert counted.cost.decoder_calls == 2 * 8  # neighbours share 4 of 8 pixels of the latents
    one = TiledPrior(latent)
    torch.testing.assert_close(
        one.decode(one.encode(image[..., :32, :32])), latent.decode(latent.encode(image[..., :32, :32]))
    )


class Labelled(Prior):
    """x0 is the label of the row, whatever x_t."""

    needs = Need("label", "class_label")

    def __init__(self):
        super().__init__()
        self.schedule, self.sample_shape = Schedule.linear(), (1, 8, 8)

    def given(self, measurement):
        return shallow_copy(self, labels=torch.tensor(measurement.conditions["label"]))

    def denoise(self, x, t):
        return self.from_x0(x, self.labels.view(-1, 1, 1, 1) + 0 * x, t)


def test_every_tile_has_the_condition_of_its_picture():
    measurement = degrade(torch.zeros(3, 1, 13, 21), Inpaint(0.5), 0.1)
    measurement.conditions = {"label": [3, 1, 4]}
    x0 = (
        TiledPrior(Labelled(), micro_batch=4)
        .given(measurement)
        .denoise(torch.zeros(3, 1, 13, 21), torch.tensor([1, 2, 3]))
        .x0
    )
    torch.testing.assert_close(x0, torch.tensor([3.0, 1, 4]).view(3, 1, 1, 1).expand_as(x0))


def test_a_tile_as_large_as_the_picture_is_the_network_at_its_size():
    embedded = rps.EmbeddedPrior()
    x = noisy(2, 48, 72).float()
    whole = TiledPrior(embedded, tile=512)
    with torch.no_grad():
        torch.testing.assert_close(whole.denoise(x, T), embedded.denoise(x, T))
        assert whole.denoise(x[..., :45, :70], T).x0.shape == (2, 1, 45, 70)  # no multiple of the network's 4 pixels
    assert len(whole.tiles_of(45, 70)) == 1 and whole.tiles_of(45, 70).size == (48, 72)


def test_overlap_removes_the_seams():
    """Of one call on a noisy ramp, against the network at the size of the picture: tiles that only touch jump."""
    embedded = rps.EmbeddedPrior()
    clean = torch.linspace(-1, 1, 70).expand(4, 1, 45, 70)
    x = embedded.schedule.add_noise(clean, noisy(4, 45, 70).float(), torch.full((4,), 400))
    found = {}
    with torch.no_grad():
        untiled = TiledPrior(embedded, tile=512).denoise(x, torch.full((4,), 400)).x0
        for overlap in (0, 8):
            tiled = TiledPrior(embedded, overlap=overlap)
            found[overlap] = seams(tiled.denoise(x, torch.full((4,), 400)).x0, untiled, tiled.borders(45, 70)).jump
    assert found[0] > 1.5 and found[8] < 1.1


@pytest.mark.parametrize("prior", [rps.EmbeddedPrior, rps.EmbeddedLatentPrior])
def test_it_is_a_sound_prior(prior):
    assert check_prior(TiledPrior(prior())) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "operator", [Inpaint(0.5), SuperResolution(4), AnisotropicBlur()], ids=lambda o: type(o).__name__
)
def test_a_picture_of_45_by_70_is_restored(operator):
    """Better than by A^+ y, in the size that it has."""
    columns, rows = torch.arange(70), torch.arange(45)[:, None]
    clean = (((columns - 35) / 25.0) ** 2 + ((rows - 22) / 15.0) ** 2 < 1)[None, None].float() * 1.4 - 1
    measurement = degrade(clean, operator, 0.1)
    found = rps.MapRps(t0=[0, 100], steps=5, estimator=rps.ProximalMap(10)).run(
        measurement, TiledPrior(rps.EmbeddedPrior())
    )
    before = (measurement.pseudo_inverse() - clean).square().mean().sqrt()
    for image in found.images.values():
        assert image.shape == clean.shape
        assert (image - clean).square().mean().sqrt() < 0.8 * before
    assert found.cost[0].network_calls % 6 == 0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: TiledPrior(white(8, 8), tile=16), "a tile of GaussianMixturePrior must be its own size, got 16"),
        (lambda: TiledPrior(rps.EmbeddedPrior(), tile=34), "must be a multiple of 4, got 34"),
        (lambda: TiledPrior(rps.EmbeddedLatentPrior(), tile=36), "must be a multiple of 8, got 36"),
        (lambda: TiledPrior(white(8, 8), overlap=5), "at most half of the tile of 8 pixels, got 5"),
        (lambda: TiledPrior(white(8, 8), micro_batch=0), "micro_batch must be at least 1"),
    ],
)  # fmt: skip
def test_bad_settings_are_one_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
