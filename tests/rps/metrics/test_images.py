"""Per-image metrics, held to scikit-image, torchmetrics and numbers that can be worked out by hand."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from rps.measurement import degrade
from rps.metrics import as_saved, consistency, ms_ssim, psnr, residual_rms, rmse, ssim
from rps.operators import Denoise, Inpaint, SuperResolution
from rps.report import pixels


def pair(channels: int, n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth images and noisy ones, as saved."""
    generator = torch.Generator().manual_seed(channels)
    coarse = torch.rand(n, channels, 6, 7, generator=generator)
    reference = torch.nn.functional.interpolate(coarse, (33, 40), mode="bicubic").clamp(0, 1)
    noisy = (reference + 0.1 * torch.randn(reference.shape, generator=generator)).clamp(0, 1)
    return as_saved(2 * noisy - 1), as_saved(2 * reference - 1)


def test_as_saved_is_what_the_png_holds():
    x = torch.linspace(-1.3, 1.3, 999).view(1, 1, 27, 37)
    file = io.BytesIO()
    Image.fromarray(pixels(as_saved(x)[0])).save(file, format="PNG")
    assert torch.equal(as_saved(x)[0, 0], torch.from_numpy(np.asarray(Image.open(file)).copy()).float().div(255))


def test_as_saved_rounds_and_does_not_truncate():
    x = torch.tensor([-2.0, -1.0, 0.0, 254.6 / 127.5 - 1, 1.0, 3.0, math.nan])
    saved = (as_saved(x) * 255).tolist()
    assert saved[:6] == pytest.approx([0, 0, 128, 255, 255, 255]) and math.isnan(saved[6])


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim_agree_with_scikit_image(channels):
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    x, reference = pair(channels)
    for i in range(len(x)):
        a, b = x[i].double().numpy(), reference[i].double().numpy()
        expected = structural_similarity(
            a, b, channel_axis=0, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert ssim(x, reference)[i] == pytest.approx(expected, abs=1e-9)
        assert psnr(x, reference)[i] == pytest.approx(peak_signal_noise_ratio(b, a, data_range=1), abs=1e-9)
        assert rmse(x, reference)[i] == pytest.approx(np.sqrt(np.mean((a - b) ** 2)), abs=1e-12)


def test_psnr_and_ssim_agree_with_torchmetrics():
    """Its SSIM inside the border; at the border it reflects the image, which Wang et al. do not."""
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    x, reference = pair(3)
    expected = peak_signal_noise_ratio(x, reference, data_range=1.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(psnr(x, reference).float(), expected, rtol=0, atol=1e-4)
    _, image = structural_similarity_index_measure(
        x.double(), reference.double(), data_range=1.0, reduction="none", return_full_image=True
    )
    expected = image[..., 5:-5, 5:-5].flatten(1).mean(1)
    torch.testing.assert_close(ssim(x, reference), expected, rtol=0, atol=1e-9)


def test_equal_images():
    """A bright sky too, where single precision gives .9995."""
    x = torch.full((1, 1, 16, 16), 230 / 255)
    assert ssim(x, x).item() == pytest.approx(1, abs=1e-9)
    assert rmse(x, x).item() == 0 and psnr(x, x).item() == math.inf


def test_psnr_of_a_set_is_the_mean_over_images():
    """Two images of mean squared error .5 and .1: 6.51 dB, where pooling says 5.23 dB."""
    error = torch.tensor([0.5, 0.1]).sqrt().view(2, 1, 1, 1).expand(2, 1, 8, 8)
    assert psnr(error, torch.zeros_like(error)).mean().item() == pytest.approx(6.51, abs=0.005)
    assert -10 * math.log10(error.square().mean()) == pytest.approx(5.23, abs=0.005)


def test_no_images_and_small_images():
    none, tiny = torch.zeros(0, 1, 32, 32), torch.zeros(2, 1, 8, 8)
    assert all(len(metric(none, none)) == 0 for metric in (rmse, psnr, ssim))
    assert ssim(tiny, tiny).isnan().all()


def test_one_bad_image_leaves_the_others_alone():
    x, reference = pair(1)
    broken = x.clone()
    broken[1, 0, 4, 4] = math.nan
    for metric in (rmse, psnr, ssim):
        assert metric(broken, reference)[1].isnan()
        assert torch.equal(metric(broken, reference)[[0, 2]], metric(x, reference)[[0, 2]])


def test_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"same shape .* \(1, 1, 8, 8\) and \(1, 3, 8, 8\)"):
        rmse(torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize("operator", [Denoise(), SuperResolution(2), Inpaint(0.3)])
def test_the_true_image_has_consistency_1(operator):
    """||n||^2 / m has mean 1 and standard deviation sqrt(2 / m), so the ratio is 1 within 4 sqrt(1 / (2 m N))."""
    x = torch.rand(64, 1, 16, 16) * 2 - 1
    measurement = degrade(x, operator, noise=0.3)
    m = measurement.y[0].numel()
    ratio = consistency(measurement, x)
    assert ratio.shape == (64,)
    assert ratio.mean().item() == pytest.approx(1, abs=4 * math.sqrt(1 / (2 * m * 64)))
    torch.testing.assert_close(residual_rms(measurement, x), 0.3 * ratio)


def test_without_noise_there_is_no_consistency_but_a_residual():
    x = torch.zeros(2, 1, 8, 8)
    measurement = degrade(x, Denoise(), noise=0.0)
    assert consistency(measurement, x) is None
    assert residual_rms(measurement, x + 0.5).tolist() == pytest.approx([0.5, 0.5])


def test_ms_ssim_is_its_formula():
    """By a convolution with the window, and by scikit-image at the last scale; near to torchmetrics."""
    from skimage.metrics import structural_similarity
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    generator = torch.Generator().manual_seed(0)
    reference = torch.nn.functional.interpolate(torch.rand(2, 1, 11, 12, generator=generator), (176, 190)).double()
    x = (reference + 0.1 * torch.randn(reference.shape, generator=generator)).clamp(0, 1)
    line = torch.exp(-0.5 * (torch.arange(-5, 6).double() / 1.5) ** 2)
    window = (line[:, None] * line / line.sum() ** 2).expand(1, 1, -1, -1)
    a, b, expected = x, reference, torch.ones(2, dtype=torch.float64)
    for weight in (0.0448, 0.2856, 0.3001, 0.2363):
        mean, other, square, product = (torch.conv2d(z, window) for z in (a, b, a**2 + b**2, a * b))
        contrast = (2 * (product - mean * other) + 0.03**2) / (square - mean**2 - other**2 + 0.03**2)
        expected *= contrast.mean(dim=(1, 2, 3)) ** weight
        a, b = (torch.nn.functional.avg_pool2d(z, 2) for z in (a, b))
    options = {"data_range": 1, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    last = [structural_similarity(p.numpy(), q.numpy(), channel_axis=0, **options) for p, q in zip(a, b, strict=True)]
    expected *= torch.tensor(last, dtype=torch.float64) ** 0.1333
    torch.testing.assert_close(ms_ssim(x, reference), expected, rtol=0, atol=1e-9)
    near = multiscale_structural_similarity_index_measure(x, reference, data_range=1.0, reduction="none")
    torch.testing.assert_close(ms_ssim(x, reference), near, rtol=0, atol=1e-3)


def test_ms_ssim_of_small_and_broken_images():
    assert ms_ssim(torch.zeros(2, 1, 175, 200), torch.zeros(2, 1, 175, 200)).isnan().all()
    x = torch.rand(2, 1, 176, 176, generator=torch.Generator().manual_seed(0))
    broken = x.clone()
    broken[0, 0, 3, 3] = math.nan
    found = ms_ssim(broken, x)
    assert found[0].isnan() and found[1].item() == pytest.approx(1, abs=1e-9)
