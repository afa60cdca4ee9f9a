"""LatentMap: the optimal transport of one law of latents to another, both taken for Gaussians of patches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

import rps
from rps.metrics.frechet import Gaussian, Statistics, transport
from rps.records.files import written

EMBEDDED = Path(rps.__file__).parent / "assets" / "embedded" / "transport"
TENSORS = ("matrix", "before", "after")


class LatentMap(nn.Module):
    """T(z) = after + matrix (z - before) of every patch z of latents.

    Patches are p x p places without overlap, as vectors of D = c p^2 numbers: p = 1 is the channels of each place.

    matrix: [D, D]. before, after: [D], the means. patch: p. ids: the samples that the map was fitted on.
    """

    matrix: Tensor
    before: Tensor
    after: Tensor

    def __init__(self, matrix: Tensor, before: Tensor, after: Tensor, patch: int = 1, ids: Sequence[str] = ()) -> None:
        super().__init__()
        self.patch, self.ids = patch, frozenset(ids)
        for name, value in zip(TENSORS, (matrix, before, after), strict=True):
            self.register_buffer(name, value.float().contiguous())

    @classmethod
    def between(cls, a: Gaussian, b: Gaussian, patch: int = 1, ids: Sequence[str] = ()) -> LatentMap:
        """The map of patches of law a to patches of law b that moves them least: rps.metrics.frechet.transport."""
        return cls(transport(a, b), a.mean, b.mean, patch, ids)

    @classmethod
    def fit(cls, a: Tensor, b: Tensor, patch: int = 1, ids: Sequence[str] = ()) -> LatentMap:
        """`between` the laws of patches of two sets of latents.  a, b: [N, c, h, w].

        Errors: ValueError if `patch` does not divide h and w.
        """
        if patch < 1 or a.shape[2] % patch or a.shape[3] % patch:
            raise ValueError(f"patch must divide latents of {a.shape[2]} x {a.shape[3]} places, got {patch}")
        x, y = (pixel_unshuffle(z.double(), patch).movedim(1, -1).flatten(0, -2) for z in (a, b))
        return cls.between(Statistics.from_features(x), Statistics.from_features(y), patch, ids)

    def forward(self, z: Tensor) -> Tensor:
        """[N, c, h, w] -> likewise.  Errors: ValueError for latents that have no such patches."""
        d, (c, h, w), p = len(self.matrix), z.shape[1:], self.patch
        if h % p or w % p or c * p * p != d:
            raise ValueError(
                f"the transport was fitted on patches of {d} numbers ({p} x {p} places), which latents of {c} x {h} x "
                f"{w} do not have; give the autoencoder that it was fitted with"
            )
        away = pixel_unshuffle(z, p) - self.before.to(z).view(-1, 1, 1)
        moved = torch.einsum("ij,njhw->nihw", self.matrix.to(z), away)
        return pixel_shuffle(moved + self.after.to(z).view(-1, 1, 1), p)

    def save(self, path: str | Path) -> None:
        """Writes a file of safetensors."""
        from safetensors.torch import save_file

        about = {"patch": str(self.patch), "ids": json.dumps(sorted(self.ids))}
        with written(Path(path)) as temporary:
            save_file(self.state_dict(), temporary, about)

    @classmethod
    def load(cls, path: str) -> LatentMap:
        """Reads a file that `save` wrote; "embedded/TASK" ships with the package.  Errors: ValueError, OSError."""
        from safetensors import SafetensorError, safe_open

        place = Path(path)
        if place.parts[:1] == ("embedded",) and not place.is_file():
            place = EMBEDDED / f"{place.name}.safetensors"
        if not place.is_file():
            known = ", ".join(f"embedded/{file.stem}" for file in sorted(EMBEDDED.glob("*.safetensors")))
            raise FileNotFoundError(
                f"there is no file {path} of a transport; make one with tools/fit_transport.py, or give one of {known}"
            )
        try:
            with safe_open(place, framework="pt") as file:
                about = file.metadata()
                matrix, before, after = map(file.get_tensor, TENSORS)
            return cls(matrix, before, after, int(about["patch"]), json.loads(about["ids"]))
        except (SafetensorError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is not a file of a transport ({error}); make one with tools/fit_transport.py"
            ) from error
