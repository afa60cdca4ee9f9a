"""Checks of a batch before it is restored: its form, its ids, and the size and range of its pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from rps.image_checks import extent, range_reason
from rps.noise import Noise
from rps.priors.base import Prior

ABSURD = 50
"""A measurement without negative values that exceeds those of white and black by this factor is in 8 or 16 bits."""


def check_batch(batch: Any) -> None:
    """Errors: ValueError for a batch of another form than the class describes."""
    if not isinstance(batch, dict) or "id" not in batch or not {"image", "measurement"} & batch.keys():
        found = ", ".join(map(str, batch)) if isinstance(batch, dict) else ""
        got = f"a dict with {found or 'nothing'}" if isinstance(batch, dict) else type(batch).__name__
        raise ValueError(
            f'a batch must be a dict with "id" (a list of names) and "image" or "measurement" (tensors), got {got}; '
            "let the predict dataloader yield such dicts"
        )


def check_ids(ids: Any) -> None:
    """Errors: ValueError for ids that are not texts or cannot be written to a file."""
    if isinstance(ids, Tensor) or not all(isinstance(id_, str) for id_ in ids):
        kinds = f"a tensor of {ids.dtype}" if isinstance(ids, Tensor) else f"{type(ids).__name__} with {list(ids)[:3]}"
        raise ValueError(f"the ids of a batch must be a list of texts, got {kinds}; give [str(i) for i in ids]")
    for id_ in ids:
        if any("\ud800" <= character <= "\udfff" for character in id_):
            raise ValueError(
                f"the id {id_!r} holds a lone surrogate, which no file can hold; give texts that UTF-8 can encode"
            )


def check_pictures(batch: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Errors: ValueError for pictures with other channels than the prior, or clean images of another size."""
    images = batch["measurement"] if "measurement" in batch else batch["image"]
    if len(images) and images.shape[1] != shape[0]:
        raise ValueError(
            f"the data have {images.shape[1]} channels but the prior has {shape[0]}; "
            "choose data with the same number of channels (--data.channels) or another prior (--model.prior)"
        )
    if len(images) and "measurement" not in batch and tuple(images.shape[1:]) != tuple(shape):
        found, wanted = (" x ".join(map(str, size)) for size in (images.shape[2:], shape[1:]))
        raise ValueError(
            f"the data are {found} but the prior's images are {wanted}; set the size of the data to that of the prior, "
            "or wrap the prior in rps.TiledPrior, which takes any size"
        )


def check_noise(batch: dict[str, Any], noise: Noise | None) -> None:
    """Errors: ValueError for clean images without a noise."""
    if noise is None and "measurement" not in batch:
        raise ValueError(
            "noise is null, but it is estimated of degraded pictures only; give the standard deviation of the "
            "noise that these clean pictures get (--model.noise)"
        )


def conditions(batch: dict[str, Any], prior: Prior) -> dict[str, Sequence[Any]]:
    """The conditions of each sample that the prior needs."""
    if prior.needs is None:
        return {}
    name, instead = prior.needs
    if name not in batch:
        raise ValueError(
            f"the prior is conditioned on the {name} of each image, but the data have no {name}s; name their "
            f"column (--data.{name}_column, of datamodules.HuggingFace) or give one for all (--model.prior."
            f"{instead})"
        )
    return {name: batch[name]}


def unusable(
    batch: dict[str, Any], prior: Prior, extremes: Callable[[], tuple[Tensor, float]]
) -> tuple[dict[int, str], str | None]:
    """Row -> reason of the pictures with NaN or far outside [-1, 1], and a reason if that is all the finite ones.

    Images of an AnalyticPrior, usually a mixture of Gaussians, may have any values. The range of a measurement is known
    only for operators with positive weights, so only absurd measurements are refused: see ABSURD.
    extremes: the measurements of white and black, and the standard deviation of their noise.
    """
    pictures = batch["measurement"] if "measurement" in batch else batch.get("image")
    if not batch["id"] or pictures is None or not pictures.is_floating_point() or len(pictures) != len(batch["id"]):
        return {}, None
    finite, largest = pictures.isfinite().flatten(1).all(1), pictures.abs().flatten(1).amax(1)
    limit = prior.largest_value
    if "measurement" in batch:
        largest = largest.masked_fill((pictures < 0).flatten(1).any(1), 0)
        if limit < math.inf:
            limit = ABSURD
            if bool((largest > ABSURD).any()):
                y, std = extremes()
                limit = ABSURD * max(1.0, float(y.abs().max())) + 6 * std
    ranges = {
        i: range_reason(*extent(pictures[i])) for i in (largest > limit).logical_and(finite).nonzero()[:, 0].tolist()
    }
    every = next(iter(ranges.values())) if ranges and len(ranges) == int(finite.sum()) else None
    reason = "the picture has values that are not finite"
    return dict.fromkeys((~finite).nonzero()[:, 0].tolist(), reason) | ranges, every
