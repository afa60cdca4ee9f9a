"""LPIPS, timm features and FID's Inception, as far as they go without a network."""

import sys
import warnings

import pytest
import torch
from torch import nn

from rps.metrics import EmbeddedFeatures, InceptionFeatures, Lpips, Statistics, TimmFeatures, frechet_distance
from rps.metrics.inception import resize


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory):
    """A file as torchvision offers it, with random weights."""
    import torchvision

    path = tmp_path_factory.mktemp("weights") / "alexnet.pth"
    features = torchvision.models.alexnet().features.state_dict()
    torch.save({f"features.{name}": value for name, value in features.items()}, path)
    return path


def test_lpips_is_that_of_its_package(alexnet):
    """The package's own network, given the same backbone by hand, and its own input range."""
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    state, rest = torch.load(alexnet), expected.net.state_dict()
    expected.net.load_state_dict({name: state["features." + name.partition(".")[2]] for name in rest})
    x, reference = torch.rand(2, 5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = Lpips("alex", alexnet, batch_size=2)(x, reference)
    torch.testing.assert_close(found, expected(2 * x - 1, 2 * reference - 1).flatten(), rtol=1e-4, atol=1e-6)
    assert (found > 0).all()


def test_lpips_of_grey_images_is_that_of_three_equal_channels(alexnet):
    distance = Lpips("alex", alexnet)
    x, reference = torch.rand(2, 2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    colour = distance(x.expand(-1, 3, -1, -1), reference.expand(-1, 3, -1, -1))
    torch.testing.assert_close(distance(x, reference), colour)
    assert distance(x[:0], x[:0]).shape == (0,)
    assert distance(x, x).tolist() == [0, 0]


def test_lpips_without_weights_is_one_sentence(monkeypatch, tmp_path):
    import urllib.error

    import torch.hub

    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(OSError, match="give a local copy of that file"):
        Lpips("alex")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        Lpips("alex", tmp_path / "none.pth")
    torch.save({}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="not torchvision's state dict of alexnet"):
        Lpips("alex", tmp_path / "other.pth")


def test_embedded_features_tell_blurred_garments_from_sharp_ones():
    """The clean images that ship are nearer to the reference than the same images averaged over 4 x 4 pixels."""
    import io

    import numpy as np
    import pyarrow.parquet
    from PIL import Image

    from rps.metrics.features import EMBEDDED_CLASSIFIER

    parquet = EMBEDDED_CLASSIFIER.parent / "fashion_mnist_test_1000.parquet"
    rows = pyarrow.parquet.read_table(parquet).slice(0, 200).to_pylist()
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))) for row in rows])
    clean = torch.from_numpy(pixels)[:, None].float() / 255
    blurred = nn.functional.interpolate(nn.functional.avg_pool2d(clean, 4), scale_factor=4)
    network, reference = EmbeddedFeatures(), Statistics.load(EmbeddedFeatures.reference)
    assert network.dim == len(reference.mean) == 32
    near, far = (frechet_distance(Statistics.from_features(network(x)), reference) for x in (clean, blurred))
    assert near < 0.2 * far


def test_timm_features_are_those_before_the_classifier(monkeypatch):
    """Normalised and resized as the model's own configuration says; no weights are fetched here."""
    import timm

    model = timm.create_model("resnet10t", num_classes=0).eval()
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: model)
    network = TimmFeatures("resnet10t")
    config = timm.data.resolve_model_data_config(model)
    x = torch.rand(2, 3, *config["input_size"][1:])
    mean, std = (torch.tensor(config[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    torch.testing.assert_close(network(x), model((x - mean) / std))
    assert network(torch.rand(2, 1, 40, 40)).shape == (2, network.dim) == (2, 512)


def test_timm_features_of_an_early_stage(monkeypatch):
    """The average over pixels of the first feature maps; a stage that the model has not is named."""
    import timm

    model = timm.create_model("resnet10t", num_classes=0).eval()
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: model)
    network = TimmFeatures("resnet10t", stage=1)
    size = timm.data.resolve_model_data_config(model)["input_size"]
    x = torch.rand(2, *size)
    maps = model.layer1(model.maxpool(model.act1(model.bn1(model.conv1((x - network.mean) / network.std)))))
    torch.testing.assert_close(network(x), maps.mean((2, 3)))
    assert network.name == "resnet10t, stage 1"
    with pytest.raises(ValueError, match="has stages 0 to 4, got stage=5"):
        TimmFeatures("resnet10t", stage=5)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("./nowhere", "not a feature network"),
        ("no_such_model", "neither a folder with config.json nor a timm model"),
    ],
)
def test_feature_networks_that_are_not_there(model, sentence):
    with pytest.raises((FileNotFoundError, ValueError), match=sentence):
        TimmFeatures(model)


def test_colour_images_for_a_grey_network():
    with pytest.raises(ValueError, match=r"images have 3 channels but the feature network .* takes 1"):
        EmbeddedFeatures()(torch.zeros(1, 3, 32, 32))


def test_inception_resize_is_tensorflows():
    """Output pixel i at input position i * scale, between the pixel below and the next, written out."""
    x = torch.rand(1, 2, 5, 9, generator=torch.Generator().manual_seed(0)).double()

    def at(row: float, column: float) -> torch.Tensor:
        i, j = int(row), int(column)
        a, b = row - i, column - j
        k, m = min(i + 1, 4), min(j + 1, 8)
        v = x[0]
        return (1 - a) * ((1 - b) * v[:, i, j] + b * v[:, i, m]) + a * ((1 - b) * v[:, k, j] + b * v[:, k, m])

    expected = torch.stack([torch.stack([at(i * 5 / 7, j * 9 / 7) for j in range(7)], 1) for i in range(7)], 1)
    torch.testing.assert_close(resize(x, 7)[0], expected)


class Pooled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=[2, 3]).repeat(1, 683)[:, :2048]


def test_inception_from_a_torchscript_file(tmp_path):
    """It gets (x - 128) / 128 of 8-bit values, grey images in three channels."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Pooled()).save(tmp_path / "inception.pt")
    network = InceptionFeatures(str(tmp_path / "inception.pt"))
    x = torch.full((2, 1, 32, 32), 64 / 255)
    assert network(x).shape == (2, network.dim)
    torch.testing.assert_close(network(x), torch.full((2, 2048), -0.5))


def test_inception_without_torch_fidelity_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    torch.save({}, tmp_path / "state.pth")
    for weights in (None, str(tmp_path / "state.pth")):
        with pytest.raises(ImportError, match=r"needs torch-fidelity: pip install 'map-rps\[fid\]'"):
            InceptionFeatures(weights)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        InceptionFeatures(str(tmp_path / "none.pt"))
