"""Noise models: the law of y given A(x)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rps.operators.base import Operator
from rps.randomness import Streams
from rps.settings import is_number
from rps.shown import Shown


class Noise(Shown):
    """A law of y given A(x), in the [-1, 1] units of images."""

    std: float
    """Standard deviation of the Gaussian that solvers assume; exact for Gaussian noise."""
    estimated: bool = False
    """Whether std was estimated from the degraded pictures."""

    def add(self, clean: Tensor, streams: Streams) -> Tensor:
        """Draws y given A(x), each row from its own stream.  clean: [N, ...] -> the same shape and dtype."""
        raise NotImplementedError(f"{type(self).__name__} must define add(clean, streams)")


class Gaussian(Noise):
    """y = A(x) + std n, n ~ N(0, I).

    Args:
        std: standard deviation, in [-1, 1] image units.
    """

    def __init__(self, std: float) -> None:
        if not (is_number(std) and std >= 0):
            raise ValueError(f"noise must have a std >= 0 in [-1, 1] image units, got {std!r}")
        self.std = std

    def add(self, clean: Tensor, streams: Streams) -> Tensor:
        return clean + self.std * streams.normal(clean.shape[1:]).to(clean.dtype)


class Estimated(Gaussian):
    """Gaussian noise of degraded pictures, see `estimate_noise`.

    Args:
        std: the estimate, in [-1, 1] image units.
    """

    estimated = True


def estimate_noise(pictures: Tensor) -> Estimated:
    """The noise of degraded pictures: median |d| / .6745 of their finest diagonal wavelet coefficients d (Donoho and
    Johnstone 1994), by scikit-image, the root mean square over pictures and channels. Coefficients that are exactly
    zero, as in holes that are zero, are left out; the borders of many small holes count as noise.

    Between 0 and 20 % too large for photographs and noise of .05 and more, where their own detail counts little; too
    small where pixels are clipped.

    pictures: [N, C, h, w] in [-1, 1]. Errors: ImportError without scikit-image and PyWavelets.
    """
    try:
        import pywt  # noqa: F401 - scikit-image needs it for this
        from skimage.restoration import estimate_sigma
    except ImportError as error:
        raise ImportError(
            "noise is estimated by scikit-image: pip install 'map-rps[noise]', or give noise as a number"
        ) from error
    planes = pictures.detach().cpu().double().flatten(0, 1).numpy()
    found = [float(estimate_sigma(plane)) for plane in planes]
    return Estimated(math.sqrt(sum(std**2 for std in found if math.isfinite(std)) / max(len(found), 1)))


class Poisson(Noise):
    """(y + 1) / 2 = k / peak, k ~ Poisson(peak (A(x) + 1) / 2): photon counts.

    The variance of y is 2 (A(x) + 1) / peak; std is that of middle grey. Values below black count as black, so this is
    for operators that measure pictures.

    Args:
        peak: mean number of photons of a white pixel; 255 is the Poisson noise of DPS at its rate 1.
    """

    def __init__(self, peak: float) -> None:
        if not peak > 0:
            raise ValueError(f"peak must be > 0 photons, got {peak}")
        self.peak, self.std = peak, math.sqrt(2 / peak)

    def add(self, clean: Tensor, streams: Streams) -> Tensor:
        exact = "cpu" if clean.device.type == "mps" else clean.device  # mps has no double precision
        rate = self.peak * (clean.to(exact).double().clamp(min=-1) + 1) / 2
        bits = streams.bits(math.prod(clean.shape[1:])).to(exact).view(clean.shape)
        return (2 * poisson_quantile((bits.double() + 0.5) * 2.0**-32, rate) / self.peak - 1).to(clean)


class Rounded(Noise):
    """Another noise, and then the rounding of an operator: y = operator.stored(A(x) + noise).

    Args:
        noise: the noise before the rounding.
        operator: an operator that rounds what it stores.
    """

    def __init__(self, noise: Noise, operator: Operator) -> None:
        self.noise, self.operator, self.std = noise, operator, math.hypot(noise.std, operator.rounding_std)
        self.estimated = noise.estimated

    def add(self, clean: Tensor, streams: Streams) -> Tensor:
        return self.operator.stored(self.noise.add(clean, streams))


def poisson_quantile(probability: Tensor, rate: Tensor) -> Tensor:
    """The smallest k with P(K <= k) >= probability for K ~ Poisson(rate), exactly.  float64, the same shape for all."""

    def below(k: Tensor) -> Tensor:
        """Whether P(K <= k) < probability, where P(K <= k) = Gamma(k + 1, rate) / Gamma(k + 1)."""
        return (k < 0) | (torch.special.gammaincc((k + 1).clamp(min=1), rate) < probability)

    # The normal quantile with a correction for skewness (Cornish-Fisher) is off by at most one or two.
    z = torch.special.ndtri(probability)
    k = (rate + rate.sqrt() * z + (z**2 - 1) / 6).round().clamp(min=0)
    while True:
        step = torch.where(rate.isfinite(), below(k).double() - (~below(k - 1)).double(), 0.0)
        if not bool(step.any()):
            return k
        k = k + step
