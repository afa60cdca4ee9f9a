"""Quality without a reference, with weights that the test makes in the form in which they are published."""

import json
import urllib.error
import warnings

import pytest
import torch
import torch.hub
from torch import nn
from torchvision.models import resnet50

from rps.callbacks import MetricRecorder
from rps.metrics import Arniqa
from tests.rps.test_callbacks import run


class Regressor(nn.Module):
    weights: torch.Tensor
    biases: torch.Tensor

    def __init__(self, weights: torch.Tensor, bias: float):
        super().__init__()
        self.register_buffer("weights", weights)
        self.register_buffer("biases", torch.tensor(bias))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights.mT + self.biases


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """The encoder and the weights of the regression; their files are where torch.hub keeps what it has fetched."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    encoder, weights = nn.Sequential(*list(resnet50().children())[:-1]), 100 * torch.randn(1, 4096)
    torch.save({f"model.{name}": value for name, value in encoder.state_dict().items()}, folder / "ARNIQA.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Regressor(weights, 50.0)).save(folder / "regressor_koniq10k.pth")
    return encoder.eval(), weights


@torch.no_grad()
def test_arniqa_is_its_definition(parts):
    """Unit-length features of the normalised image and of its half, a regression, and (score - 1) / 99."""
    encoder, weights = parts
    x = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    half = nn.functional.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
    features = [nn.functional.normalize(encoder((image - mean) / std).flatten(1)) for image in (x, half)]
    expected = (torch.cat(features, 1) @ weights.mT + 50 - 1).flatten() / 99
    arniqa = Arniqa(batch_size=2)
    torch.testing.assert_close(arniqa(x), expected, rtol=1e-4, atol=1e-5)
    assert expected.std() > 0 and arniqa(x[:0]).shape == (0,)
    torch.testing.assert_close(arniqa(x[:, :1]), arniqa(x[:, :1].expand(-1, 3, -1, -1)))
    with pytest.raises(ValueError, match="got 2 channels"):
        arniqa(x[:, :2])


def test_pictures_without_a_reference_have_arniqa_and_consistency(parts, tmp_path):
    run([MetricRecorder(metrics=[Arniqa()])], [["a", "b"]], tmp_path / "run", with_reference=False, size=32)
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    for level in found["levels"]:
        assert set(level["metrics"]) == {"arniqa", "consistency", "residual_rms"}
    assert len(found["networks"]["arniqa"]["sha256"]) == 64
    assert "ARNIQA |" in (tmp_path / "run" / "table.md").read_text()


def test_arniqa_without_weights_is_one_sentence(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OSError, match=r"needs ARNIQA.pth and regressor_kadid10k.pth in .*leave ARNIQA out"):
        Arniqa("kadid10k")
    with pytest.raises(ValueError, match="opinions must be koniq10k or kadid10k, got 'mine'"):
        Arniqa("mine")
