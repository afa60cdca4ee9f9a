"""Find the stage of the embedded classifier that best separates damaged from clean images, for EmbeddedFeatures.

    python tools/compare_features.py

No restorations are involved: test images are blurred, made noisy, or rearranged, in 15 groups of 64. For every stage:
the increase of sqrt(FD) caused by the damage, divided by its standard deviation among the groups. A useful distance
detects every kind of damage, so the best stage is the one whose smallest ratio is largest.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import fashion_mnist
import numpy as np
from train_classifier import REFERENCE, features

from rps.metrics import Statistics, TimmFeatures, frechet_distance
from rps.metrics.features import EMBEDDED_CLASSIFIER

GROUP, GROUPS = 64, 15


def damages(images: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (name, damaged images) for each kind of damage.  images: uint8 [N,32,32]."""
    from scipy.ndimage import gaussian_filter, map_coordinates  # type: ignore[import-untyped]

    random, other = np.random.default_rng(0), np.roll(images, 1, 0)
    for std in (0.5, 1.0, 2.0):
        yield f"blur, std {std} pixels", gaussian_filter(images, (0, std, std))
    for std in (0.05, 0.1, 0.2):
        yield f"noise, std {std} in [0,1]", _bytes(images + random.normal(0, 255 * std, images.shape))
    yield "right half of another", np.concatenate([images[:, :, :16], other[:, :, 16:]], 2)
    yield "lower half of another", np.concatenate([images[:, :16], other[:, 16:]], 1)
    yield "ghost of another, 20 %", _bytes(0.8 * images + 0.2 * other)
    swapped = images.copy()
    swapped[:, 8:16, 8:16], swapped[:, 16:24, 16:24] = images[:, 16:24, 16:24], images[:, 8:16, 8:16]
    yield "two 8 x 8 blocks swapped", swapped
    shift = gaussian_filter(random.normal(size=(len(images), 2, 32, 32)), (0, 0, 3, 3))
    places = np.mgrid[:32, :32] + shift / shift.std((1, 2, 3), keepdims=True)
    warped = [map_coordinates(i.astype(float), p, order=1) for i, p in zip(images, places, strict=True)]
    yield "warp, std 1 pixel", _bytes(np.stack(warped))


def _bytes(images: np.ndarray) -> np.ndarray:
    return images.round().clip(0, 255).astype(np.uint8)


def distances(network: TimmFeatures, images: np.ndarray, reference: Statistics) -> np.ndarray:
    """sqrt(FD) of each group of 64 images to the reference.  -> [15]."""
    groups = features(network, images[: GROUP * GROUPS]).split(GROUP)
    return np.array([frechet_distance(Statistics.from_features(g), reference) ** 0.5 for g in groups])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=fashion_mnist.DEFAULT_FOLDER, help="folder of the idx files")
    images, _ = fashion_mnist.load("test", parser.parse_args().data)
    damaged = dict(damages(images[: GROUP * GROUPS]))
    columns: dict[str, list[float]] = {}
    for stage in range(len(TimmFeatures(str(EMBEDDED_CLASSIFIER)).network.feature_info)):
        network = TimmFeatures(str(EMBEDDED_CLASSIFIER), stage)
        reference = Statistics.from_features(features(network, images[REFERENCE]))
        clean = distances(network, images, reference)
        changes = [distances(network, x, reference) - clean for x in damaged.values()]
        columns[str(stage)] = [c.mean() / c.std(ddof=1) for c in changes]
    print(f"| damage | stage {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for i, name in enumerate(damaged):
        print(f"| {name} | {' | '.join(f'{c[i]:.1f}' for c in columns.values())} |")
    print(f"| **smallest** | {' | '.join(f'{min(c):.1f}' for c in columns.values())} |")


if __name__ == "__main__":
    main()
