"""Image quality without a reference: ARNIQA (Agnolucci et al., WACV 2024, arXiv 2310.14918)."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from rps.metrics.base import Metric, in_batches, in_colour

Opinions = Literal["koniq10k", "kadid10k"]


class Arniqa(Metric):
    """A linear regression of human opinions on features of a ResNet-50 trained to distinguish distortions.

    Computed by torchmetrics, whose weights torch.hub downloads at first use to TORCH_HOME/hub/checkpoints (ARNIQA.pth
    and regressor_OPINIONS.pth; without a network, put them there). 0 is the worst rating, 1 the best; it is meaningful
    for photographs only. It does not measure the distance to the truth: invented details count too.

    Args:
        opinions: "koniq10k", ratings of authentic photographs, or "kadid10k", of artificially distorted ones.
        batch_size: images in one pass.
    Errors: OSError if the weights are missing and cannot be downloaded.
    """

    name, title, better, needs_reference = "arniqa", "ARNIQA", "higher", False

    def __init__(self, opinions: Opinions = "koniq10k", batch_size: int = 16) -> None:
        super().__init__()
        if opinions not in ("koniq10k", "kadid10k"):
            raise ValueError(f"opinions must be koniq10k or kadid10k, got {opinions!r}")
        from torchmetrics.image.arniqa import ARNIQA

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.network = ARNIQA(regressor_dataset=opinions).model
        except OSError as error:  # includes every failure of urllib
            raise OSError(
                f"ARNIQA needs ARNIQA.pth and regressor_{opinions}.pth in {torch.hub.get_dir()}/checkpoints, and they "
                f"cannot be fetched ({error}); copy them from a machine with a network, or leave ARNIQA out of "
                "the metrics"
            ) from error
        self.requires_grad_(False).eval()
        self.opinions, self.batch_size = opinions, batch_size
        self.definition = (
            f"ARNIQA (arXiv 2310.14918) without a reference, by torchmetrics, of the opinions on {opinions}: 0 is the "
            "worst, 1 the best photograph"
        )

    @torch.no_grad()
    def forward(self, restored: Tensor, reference: Any = None) -> Tensor:
        """restored: [N, 1 or 3, H, W] in [0, 1] -> [N]. Grey images are repeated to three channels."""
        return in_batches(partial(self.network, normalize=True), self.batch_size, in_colour(restored, self))
