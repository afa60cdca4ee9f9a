"""Blur with a kernel of any form: one from a shaking camera, or one from a file."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from rps.operators.base import ONE_BY_ONE, LinearOperator
from rps.operators.motion_kernel import motion_kernels
from rps.operators.padding import mirror
from rps.pictures import PictureFiles, read_picture
from rps.randomness import Streams


class KernelBlur(LinearOperator):
    """y_i = sum_k kernel_k x_{i + k - r} per channel, r = (taps - 1) / 2, mirrored borders.  x, y: [N, C, H, W].

    Computed with FFTs, because a direct convolution with 61 x 61 taps takes more than five times as long. A subclass
    finds the kernels in `kernels_of`.
    """

    per_sample = ("kernel",)
    kernel: Tensor
    """The kernel of each image, sum 1.  float64 [N, 1, taps, taps], taps odd."""

    def kernels_of(self, streams: Streams) -> Tensor:
        """The kernel of every sample.  -> float64 [N, 1, taps, taps]."""
        raise NotImplementedError(f"{type(self).__name__} must define kernels_of(streams)")

    def bind(self, shape: tuple[int, int, int], streams: Streams) -> KernelBlur:
        return self.bound(image_shape=tuple(shape), kernel=self.kernels_of(streams))

    def forward(self, x: Tensor) -> Tensor:
        _, h, w = self._shape()
        self.check_rows(x)
        if not len(x):
            return x.clone()  # the FFT rejects an empty batch
        border = self.kernel.shape[-1] // 2

        def outward(size: int) -> Tensor:
            return mirror(torch.arange(-border, size + border, device=x.device), size)

        padded = x[..., outward(h), :][..., outward(w)]
        size = padded.shape[-2:]
        transfer = torch.fft.rfft2(self.kernel.to(x), size).conj()
        return torch.fft.irfft2(transfer * torch.fft.rfft2(padded), size)[..., :h, :w]


class MotionBlur(KernelBlur):
    """The blur of a shaking camera, with a random kernel for each sample (see motion_kernels).

    Args:
        taps: height and width of the kernel, odd; published 61 for images of 256 pixels, use fewer for smaller ones.
        intensity: amount of shake, from 0 (motion along a line) to 1.
    """

    def __init__(self, taps: int = 61, intensity: float = 0.5) -> None:
        super().__init__()
        if taps < 3 or taps % 2 == 0:
            raise ValueError(f"taps must be odd and >= 3, so that the kernel has a centre, got {taps}")
        if not 0 <= intensity <= 1:
            raise ValueError(f"intensity must be in [0, 1], got {intensity}")
        self.taps, self.intensity = taps, intensity

    def kernels_of(self, streams: Streams) -> Tensor:
        return motion_kernels(streams.at("kernel"), self.taps, self.intensity)


class KernelFile(KernelBlur):
    """The blur of a kernel in a file: the picture of a single bright point, the point-spread function.

    The kernel is turned by 180 degrees, since a point spreads by convolution, and divided by its sum. Its pixels are
    those of the restored image: it is not resized. Kernels of a folder may have different sizes, which makes batches of
    one.

    Args:
        kernels: path of a picture, the kernel of all samples; or of a folder with one for each id, named as its
            picture.
    """

    def __init__(self, kernels: str) -> None:
        super().__init__()
        self.kernels, self.files = kernels, PictureFiles(kernels, "kernels")
        self.alike = self.files.one is not None

    def kernels_of(self, streams: Streams) -> Tensor:
        found = [_read(self.files.of(id_)) for id_ in streams.ids]
        if len(sizes := {kernel.shape[-1] for kernel in found}) > 1:
            raise ValueError(f"kernels of one batch have sizes from {min(sizes)} to {max(sizes)}; {ONE_BY_ONE}")
        return torch.stack(found).unsqueeze(1).to(streams.keys.device) if found else torch.zeros(0, 1, 1, 1)


def _read(path: Path) -> Tensor:
    """The turned kernel of a file, with black borders that make it square.  -> float64 [taps, taps]."""
    kernel = (read_picture(path, channels=1)[0].double() + 1).flip(0, 1)
    height, width = kernel.shape
    if not (height % 2 and width % 2) or not kernel.any():
        raise ValueError(
            "a kernel must have an odd height and width, so that it has a centre, and a pixel that is not black, got "
            f"{height} x {width} in {path}; crop it, or add a black border on one side"
        )
    border = [(max(height, width) - size) // 2 for size in (width, width, height, height)]
    return F.pad(kernel / kernel.sum(), border)
