"""Operators, the models of instruments: y = A(x). Images are [N, C, H, W] in [-1, 1]."""

from rps.operators.base import Gain, LinearOperator, NoPseudoInverse, Operator, SpectralOperator, conjugate_gradient
from rps.operators.bicubic import BicubicSuperResolution
from rps.operators.blur import AnisotropicBlur, GaussianBlur, SeparableBlur, UniformBlur
from rps.operators.blur_generator import BlurGenerator
from rps.operators.check import check_operator
from rps.operators.colorization import Colorization
from rps.operators.compose import Compose, LinearCompose
from rps.operators.compressed_sensing import CompressedSensing
from rps.operators.deepinverse import DeepInverse, LinearDeepInverse
from rps.operators.high_dynamic_range import HighDynamicRange
from rps.operators.identity import Denoise
from rps.operators.inpainting import BoxInpaint, Inpaint, Mask, MaskFile
from rps.operators.jpeg import Jpeg, JpegFile
from rps.operators.kernel_blur import KernelBlur, KernelFile, MotionBlur
from rps.operators.legacy import LegacyAnisotropicBlur, LegacyInpaint
from rps.operators.nonlinear_blur import NonlinearBlur
from rps.operators.phase_retrieval import PhaseRetrieval
from rps.operators.separable import Separable
from rps.operators.shared import Shared
from rps.operators.super_resolution import SuperResolution

__all__ = [
    "AnisotropicBlur",
    "BicubicSuperResolution",
    "BlurGenerator",
    "BoxInpaint",
    "Colorization",
    "Compose",
    "CompressedSensing",
    "DeepInverse",
    "Denoise",
    "Gain",
    "GaussianBlur",
    "HighDynamicRange",
    "Inpaint",
    "Jpeg",
    "JpegFile",
    "KernelBlur",
    "KernelFile",
    "LegacyAnisotropicBlur",
    "LegacyInpaint",
    "LinearCompose",
    "LinearDeepInverse",
    "LinearOperator",
    "Mask",
    "MaskFile",
    "MotionBlur",
    "NoPseudoInverse",
    "NonlinearBlur",
    "Operator",
    "PhaseRetrieval",
    "Separable",
    "SeparableBlur",
    "Shared",
    "SpectralOperator",
    "SuperResolution",
    "UniformBlur",
    "check_operator",
    "conjugate_gradient",
]
