"""Metrics of torchmetrics and pyiqa against the packages themselves."""

import sys
from types import ModuleType

import pytest
import torch
from torch import nn
from torchmetrics.functional.image import universal_image_quality_index
from torchmetrics.image import ErrorRelativeGlobalDimensionlessSynthesis

from rps.metrics import Pyiqa, TorchMetrics, rmse
from rps.metrics.adapters import _column

ERGAS = "torchmetrics.image.ErrorRelativeGlobalDimensionlessSynthesis"
UQI = "torchmetrics.functional.image.universal_image_quality_index"


def images(n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, 3, 32, 32, generator=generator)
    return x, (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1)


def test_a_functional_is_called_image_by_image():
    x, clean = images()
    metric = TorchMetrics(UQI, better="higher")
    expected = torch.stack([universal_image_quality_index(x[i : i + 1], clean[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(metric(x, clean), expected)
    assert metric.info.name == "universal_image_quality_index" and metric.info.better == "higher"
    assert metric(x[:0], clean[:0]).shape == (0,)


def test_a_metric_with_a_state_is_reset_after_each_image():
    x, clean = images()
    metric = TorchMetrics(ERGAS, name="ergas", arguments={"ratio": 2.0})
    one = ErrorRelativeGlobalDimensionlessSynthesis(ratio=2.0)
    expected = torch.stack([one(x[i : i + 1], clean[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(metric(x, clean), expected)
    torch.testing.assert_close(metric(x, clean), expected)
    assert metric.info.better == "lower" and "ratio=2.0" in metric.info.definition
    assert metric.metric.preds == []


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("torchmetrics.image.Nope", "there is no metric 'torchmetrics.image.Nope' to import"),
        ("nope", "there is no metric 'nope' to import"),
    ],
)
def test_what_is_not_there_is_one_sentence(target, sentence):
    with pytest.raises(ValueError, match=sentence):
        TorchMetrics(target)


def test_what_returns_more_than_a_number_is_one_sentence():
    x, clean = images()
    with pytest.raises(ValueError, match=r"must return one number for one image, got shape \(1, 3, 32, 32\)"):
        TorchMetrics("torch.sub", name="difference")(x, clean)


@pytest.mark.parametrize(
    ("path", "column"),
    [("SpectralAngleMapper", "spectral_angle_mapper"), ("SSIM", "ssim"), ("PSNRBlock", "psnr_block"), ("a-b", "a_b")],
)
def test_the_column_of_a_name(path, column):
    assert _column(path) == column


@pytest.fixture
def pyiqa(monkeypatch):
    """The package where it is installed, else what we use of it (tried with pyiqa 0.1.16)."""
    try:
        import pyiqa

        return pyiqa
    except ImportError:
        fake = ModuleType("pyiqa")

        class Psnr(nn.Module):
            lower_better, metric_mode = False, "FR"

            def forward(self, x, clean):
                assert x.shape[1] == 3
                return -20 * rmse(x, clean).log10().float()[:, None]

        fake.__version__ = "0.1.16"
        fake.list_models = lambda: ["psnr"]
        fake.create_metric = lambda name, device: Psnr()
        monkeypatch.setitem(sys.modules, "pyiqa", fake)
        return fake


def test_pyiqa(pyiqa):
    x, clean = images()
    metric = Pyiqa("psnr", batch_size=2)
    torch.testing.assert_close(metric(x, clean), -20 * rmse(x, clean).log10().float(), rtol=1e-3, atol=1e-3)
    assert metric(x[:, :1], clean[:, :1]).shape == (3,) and metric.info.better == "higher"
    assert metric.name == "pyiqa_psnr" and Pyiqa("psnr", name="mine").name == "mine"
    with pytest.raises(ValueError, match="pyiqa has no metric 'nope'"):
        Pyiqa("nope")
