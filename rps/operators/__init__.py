"""What instruments do: y = A(x). Images are [N, C, H, W] in [-1, 1]."""

from rps.operators.base import Gain, LinearOperator, Operator, SpectralOperator, conjugate_gradient
from rps.operators.blur import AnisotropicBlur, SeparableBlur
from rps.operators.check import check_operator
from rps.operators.identity import Denoise
from rps.operators.inpainting import BoxInpaint, Inpaint, Mask
from rps.operators.super_resolution import SuperResolution

__all__ = [
    "AnisotropicBlur",
    "BoxInpaint",
    "Denoise",
    "Gain",
    "Inpaint",
    "LinearOperator",
    "Mask",
    "Operator",
    "SeparableBlur",
    "SpectralOperator",
    "SuperResolution",
    "check_operator",
    "conjugate_gradient",
]
