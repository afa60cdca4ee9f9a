"""An instance of every operator, for the tests that hold for all of them."""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

import rps.operators
from rps.operators import (
    AnisotropicBlur,
    BicubicSuperResolution,
    BlurGenerator,
    BoxInpaint,
    Compose,
    CompressedSensing,
    DeepInverse,
    GaussianBlur,
    HighDynamicRange,
    Inpaint,
    Jpeg,
    JpegFile,
    KernelFile,
    LegacyAnisotropicBlur,
    LegacyInpaint,
    LinearOperator,
    MaskFile,
    MotionBlur,
    NonlinearBlur,
    Operator,
    PhaseRetrieval,
    SeparableBlur,
    Shared,
    SpectralOperator,
    SuperResolution,
)
from rps.randomness import Streams
from tests.rps.solvers import kinds

KINDS = kinds(rps.operators, Operator)
NEED_ARGUMENTS = {
    "Compose",
    "DeepInverse",
    "JpegFile",
    "KernelFile",
    "LinearCompose",
    "LinearDeepInverse",
    "MaskFile",
    "NonlinearBlur",
    "SeparableBlur",
    "Shared",
}
"""These stand below; another one that cannot be built without arguments is an error until it does as well."""


class Physics(nn.Module):
    """What an operator of deepinv looks like from outside: A, and a buffer in a precision of its own."""

    def __init__(self):
        super().__init__()
        self.register_buffer("gain", torch.linspace(0.5, 1.5, 16, dtype=torch.float64).view(-1, 1))

    def A(self, x):
        return (x.unflatten(2, (16, -1)) * self.gain.unsqueeze(-1)).flatten(2, 3).square()


class LinearPhysics(Physics):
    def A(self, x):
        return (x.unflatten(2, (16, -1)) * self.gain.unsqueeze(-1)).flatten(2, 3)[..., ::2]

    def A_adjoint(self, y):
        raise AssertionError("the adjoint comes from autograd")


def small_generator(features=2, front=1, back=1):
    """The bkse generator with few random weights, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return BlurGenerator(features, front, back)


_held = tempfile.TemporaryDirectory()
FOLDER = Path(_held.name)
"""A mask, a JPEG and a kernel."""
_draw = np.random.default_rng(0)
Image.fromarray(np.uint8(255 * (_draw.random((16, 32)) < 0.4))).save(FOLDER / "mask.png")
Image.fromarray(_draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(FOLDER / "picture.jpg", quality=30)
Image.fromarray(_draw.integers(0, 256, (3, 5), dtype=np.uint8)).save(FOLDER / "kernel.png")

OPERATORS = {
    **{name: kind() for name, kind in sorted(KINDS.items()) if name not in NEED_ARGUMENTS},
    "SuperResolution 16": SuperResolution(16),
    "BicubicSuperResolution 2": BicubicSuperResolution(2),
    "Inpaint shared": Shared(Inpaint(0.3)),
    "BoxInpaint random": BoxInpaint(5, place="random", margin=2),
    "AnisotropicBlur zeros": AnisotropicBlur(padding="zeros"),
    "SeparableBlur": SeparableBlur([1.0, 2.0, 4.0], [0.3, 0.2, 0.1, 0.9, 0.7]),
    "MotionBlur 5": MotionBlur(5, intensity=1.0),
    "MotionBlur shared": Shared(MotionBlur(7)),
    "CompressedSensing shared": Shared(CompressedSensing(4)),
    "PhaseRetrieval of [0, 1]": PhaseRetrieval(unit_range=True),
    "Jpeg 75": Jpeg(75),
    "MaskFile": MaskFile(str(FOLDER / "mask.png")),
    "KernelFile": KernelFile(str(FOLDER / "kernel.png")),
    "JpegFile": JpegFile(str(FOLDER / "picture.jpg")),
    "NonlinearBlur": NonlinearBlur(small_generator(), size=128),
    "LegacyAnisotropicBlur in order": LegacyAnisotropicBlur(wrong_order=False),
    "LegacyInpaint shared": Shared(LegacyInpaint()),
    "Compose": Compose([MotionBlur(5), HighDynamicRange()]),
    "Compose linear": Compose([GaussianBlur(5, 1.0), SuperResolution(2), Inpaint()]),
    "DeepInverse": DeepInverse(Physics()),
    "DeepInverse linear": DeepInverse(LinearPhysics()),
}
SHAPE = (3, 16, 32)


def bind(operator, shape=SHAPE, n=4, ids=None):
    return operator.bind(shape, Streams(0, ids or [str(i) for i in range(n)]).at("operator"))


BOUND = {name: bind(operator) for name, operator in OPERATORS.items()}
LINEAR = [name for name, operator in BOUND.items() if isinstance(operator, LinearOperator)]
SPECTRAL = [name for name, operator in BOUND.items() if isinstance(operator, SpectralOperator)]


def images(n=4, shape=SHAPE, dtype=torch.float64, seed=0):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 2 - 1
