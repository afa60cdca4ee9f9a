"""The Frechet distance: known Gaussians, the formula as written, and singular covariances."""

import math

import pytest
import torch

from rps.metrics import Statistics, frechet_distance


def features(n: int, d: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=generator, dtype=torch.float64) / math.sqrt(d)
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64) @ mix + 0.1 * seed


def test_agrees_with_the_matrix_square_root():
    from scipy.linalg import sqrtm

    a, b = (Statistics.from_features(features(200, 20, seed, scale)) for seed, scale in ((0, 1.0), (1, 1.5)))
    root = torch.from_numpy(sqrtm((a.cov @ b.cov).numpy()).real)
    expected = (a.mean - b.mean).square().sum() + (a.cov + b.cov - 2 * root).trace()
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-9)


def test_gaussians_with_a_known_distance():
    """|m1 - m2|^2 for a shift; d (s1 - s2)^2 for N(0, s^2 I); sum of (s1 - s2)^2 on the axes of a diagonal."""
    d = 7
    identity, zero = torch.eye(d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64)
    shifted = Statistics(zero + 2, identity, 100)
    assert frechet_distance(Statistics(zero, identity, 100), shifted) == pytest.approx(4 * d)
    assert frechet_distance(Statistics(zero, 4 * identity, 100), Statistics(zero, 9 * identity, 100)) == pytest.approx(
        d
    )
    s1, s2 = torch.arange(d, dtype=torch.float64), torch.arange(d, dtype=torch.float64).flip(0)
    distance = frechet_distance(Statistics(zero, s1.square().diag(), 9), Statistics(zero, s2.square().diag(), 9))
    assert distance == pytest.approx((s1 - s2).square().sum().item())


def test_fewer_samples_than_dimensions():
    """With F the centred features over sqrt(n - 1), tr (C_a C_b)^(1/2) is the nuclear norm of F_a F_b^T."""
    x, y = features(10, 50, 0), features(12, 50, 1)
    a, b = Statistics.from_features(x), Statistics.from_features(y)
    f, g = ((z - z.mean(0)) / math.sqrt(len(z) - 1) for z in (x, y))
    cross = torch.linalg.svdvals(f @ g.mT).sum()
    expected = (x.mean(0) - y.mean(0)).square().sum() + f.square().sum() + g.square().sum() - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-10)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize(("n", "published"), [(100, 256), (1000, 34)])
def test_bias_of_few_samples(n, published):
    """Two samples of N(0, I_256): 256 at n = 100, 34 at n = 1000, although the distributions are the same."""
    generator = torch.Generator().manual_seed(0)
    a, b = (Statistics.from_features(torch.randn(n, 256, generator=generator)) for _ in range(2))
    assert frechet_distance(a, b) == pytest.approx(published, rel=0.03)


def test_statistics_are_saved_whole(tmp_path):
    saved = Statistics.from_features(features(9, 4, 0).float(), images="nine images")
    saved.save(tmp_path / "reference.safetensors")
    loaded = Statistics.load(tmp_path / "reference.safetensors")
    assert torch.equal(saved.mean, loaded.mean) and torch.equal(saved.cov, loaded.cov)
    assert (loaded.n, loaded.images) == (9, "nine images")
    torch.testing.assert_close(loaded.cov, torch.cov(features(9, 4, 0).float().double().T))


def test_what_cannot_be_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Statistics.load(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("not tensors")
    with pytest.raises(ValueError, match="not a file of reference statistics"):
        Statistics.load(tmp_path / "text.safetensors")
    with pytest.raises(ValueError, match="n >= 2"):
        Statistics.from_features(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="4 and 5 dimensions"):
        frechet_distance(*(Statistics.from_features(features(9, d, 0)) for d in (4, 5)))
