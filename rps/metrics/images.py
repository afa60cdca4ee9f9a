"""Metrics of single images: distortion, and consistency with the measurement.

Distortion is computed on the image as it is saved, in [0, 1] and rounded to 8 bits; one value per image, never pooled
over a batch. All metrics use double precision if the device has it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from rps.measurement import Measurement

SSIM_WINDOW, SSIM_STD = 11, 1.5
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
MS_SSIM_SIZE = SSIM_WINDOW * 2 ** (len(MS_SSIM_WEIGHTS) - 1)


def as_saved(x: Tensor) -> Tensor:
    """round(255 clip((x + 1) / 2, 0, 1)) / 255: the content of an 8-bit PNG of x.  x: about [-1, 1] -> [0, 1].

    NaN stays NaN.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return ((x + 1) / 2).clamp(0, 1).mul(255).round().div(255)


def rmse(x: Tensor, reference: Tensor) -> Tensor:
    """sqrt(mean((x - reference)^2)) per image.  x, reference: [N, C, H, W] in [0, 1] -> float64 [N]."""
    x, reference = _pair(x, reference)
    return (x - reference).square().flatten(1).mean(1).sqrt()


def psnr(x: Tensor, reference: Tensor) -> Tensor:
    """-10 log10(mean((x - reference)^2)) per image, in dB; infinite for equal images.

    x, reference: [N, C, H, W] in [0, 1] -> float64 [N]. The PSNR of a set is the mean of these values, not the PSNR of
    the pooled error: 6.51 dB, not 5.23, for two images with mean squared errors .5 and .1.
    """
    return -20 * rmse(x, reference).log10()


def ssim(x: Tensor, reference: Tensor) -> Tensor:
    """(2 m m' + c1)(2 s_xx' + c2) / ((m^2 + m'^2 + c1)(s_xx + s_x'x' + c2)), mean over windows and channels, per image.

    As defined by Wang et al. (IEEE TIP 2004): m and s are means and (co)variances under a Gaussian window of 11 x 11
    pixels and standard deviation 1.5 at all places inside the image, c1 = .01^2, c2 = .03^2, data range 1. Equal to
    scikit-image's structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1).

    Computed in double precision as two products with banded matrices: in single precision, which torchmetrics uses,
    identical images of a bright sky give .9995.

    x, reference: [N, C, H, W] in [0, 1] -> float64 [N]; NaN if the image is smaller than the window.
    """
    x, reference = _pair(x, reference)
    if min(x.shape[2:]) < SSIM_WINDOW:
        return x.new_full((len(x),), math.nan)
    luminance, contrast = _terms(x, reference)
    return (luminance * contrast).flatten(1).mean(1)


def ms_ssim(x: Tensor, reference: Tensor) -> Tensor:
    """prod_j c_j^(w_j) over five scales, c_j the mean of SSIM's second factor, of both factors at the last scale.

    Wang, Simoncelli and Bovik (Asilomar 2003): windows as in `ssim`, scales by 2 x 2 means, w = .0448, .2856, .3001,
    .2363, .1333; negative means count as 0. Every scale uses only places inside the image; torchmetrics reflects the
    image at its border at the last scale, which changes the result by about 1e-5.

    x, reference: [N, C, H, W] in [0, 1] -> float64 [N], one value per image; NaN if the image is smaller than
    MS_SSIM_SIZE, whose fifth scale is one window.
    """
    x, reference = _pair(x, reference)
    if min(x.shape[2:]) < MS_SSIM_SIZE:
        return x.new_full((len(x),), math.nan)
    result = x.new_ones(len(x))
    for j, weight in enumerate(MS_SSIM_WEIGHTS):
        luminance, contrast = _terms(x, reference)
        mean = (contrast * luminance if j == len(MS_SSIM_WEIGHTS) - 1 else contrast).flatten(1).mean(1)
        result = result * mean.clamp(min=0) ** weight
        x, reference = avg_pool2d(x, 2), avg_pool2d(reference, 2)
    return result


def residual_rms(measurement: Measurement, x: Tensor) -> Tensor:
    """||y - A(x)|| / sqrt(m) per image, m the number of measurements of an image.

    x: [N, C, H, W] in about [-1, 1], as the solver returned it, not clipped -> [N], in the units of y.
    """
    return measurement.residual_norm(x) / math.sqrt(max(measurement.y[:1].numel(), 1))


def consistency(measurement: Measurement, x: Tensor) -> Tensor | None:
    """||y - A(x)|| / (noise_std sqrt(m)) per image: 1 for the true image, on average.

    x: [N, C, H, W] in about [-1, 1], not clipped -> [N]. None if noise_std is 0: the ratio is undefined; use
    `residual_rms`.
    """
    return residual_rms(measurement, x) / measurement.noise_std if measurement.noise_std > 0 else None


def _pair(x: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    if x.shape != reference.shape or x.ndim != 4:
        raise ValueError(
            f"image and reference must have the same shape [N, C, H, W], got {tuple(x.shape)} and "
            f"{tuple(reference.shape)}"
        )
    if x.device.type == "mps":  # it has no double precision
        x, reference = x.cpu(), reference.cpu()
    return x.double(), reference.double()


def _terms(x: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """SSIM's luminance and contrast-structure factors at every place inside the images."""
    vertical, horizontal = (_windows(size).to(x) for size in x.shape[2:])

    def smooth(image: Tensor) -> Tensor:
        return vertical @ image @ horizontal.mT

    c1, c2 = 0.01**2, 0.03**2
    mean, other = smooth(x), smooth(reference)
    variances = smooth(x.square() + reference.square()) - mean.square() - other.square()
    covariance = smooth(x * reference) - mean * other
    luminance = (2 * mean * other + c1) / (mean.square() + other.square() + c1)
    return luminance, (2 * covariance + c2) / (variances + c2)


def _windows(size: int) -> Tensor:
    """[size - 10, size]: row i holds the Gaussian window over pixels i .. i + 10."""
    offset = torch.arange(size) - torch.arange(size - SSIM_WINDOW + 1).unsqueeze(1) - SSIM_WINDOW // 2
    weight = torch.exp(-0.5 * (offset.double() / SSIM_STD).square()) * (offset.abs() <= SSIM_WINDOW // 2)
    return weight / weight.sum(1, keepdim=True)
