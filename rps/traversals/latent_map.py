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
LAWS = ("before", "after")
"""Names in the file."""


class LatentMap(nn.Module):
    """T(z) = m_b + T (z - m_a) of every patch z: the Monge map between N(m_a, C_a) and N(m_b, C_b), see
    rps.metrics.frechet.transport.

    Patches are p x p places without overlap, as vectors of c p^2 numbers; p = 1 is the channels of each place.

    a, b: the laws of the patches before and after. ids: samples that they were fitted on.
    """

    matrix: Tensor

    def __init__(self, a: Gaussian, b: Gaussian, patch: int = 1, ids: Sequence[str] = ()) -> None:
        super().__init__()
        self.a, self.b, self.patch, self.ids = a, b, patch, frozenset(ids)
        for name, value in (("matrix", transport(a, b)), ("before", a.mean), ("after", b.mean)):
            self.register_buffer(name, value.float())

    def forward(self, z: Tensor) -> Tensor:
        """[N, c, h, w] -> likewise.  Errors: ValueError for latents that have no such patches."""
        d, (c, h, w), p = len(self.matrix), z.shape[1:], self.patch
        if h % p or w % p or c * p * p != d:
            raise ValueError(
                f"the transport was fitted on patches of {d} numbers ({p} x {p} places), which latents of {c} x {h} x "
                f"{w} do not have; give the autoencoder that it was fitted with"
            )
        matrix, before, after = (value.to(z) for value in self.buffers())
        moved = torch.einsum("ij,njhw->nihw", matrix, pixel_unshuffle(z, p) - before.view(-1, 1, 1))
        return pixel_shuffle(moved + after.view(-1, 1, 1), p)

    @classmethod
    def fit(cls, a: Tensor, b: Tensor, patch: int = 1, ids: Sequence[str] = ()) -> LatentMap:
        """The map of the latents `a` to the law of `b`.  a, b: [N, c, h, w], h and w multiples of `patch`."""
        vectors = [pixel_unshuffle(z.double(), patch).movedim(1, -1).flatten(0, -2) for z in (a, b)]
        return cls(Statistics.from_features(vectors[0]), Statistics.from_features(vectors[1]), patch, ids)

    def save(self, path: str | Path) -> None:
        """Writes means, covariances, patch and ids to a file of safetensors."""
        from safetensors.torch import save_file

        laws = zip(LAWS, (self.a, self.b), strict=True)
        tensors = {f"{name}.{part}": getattr(law, part) for name, law in laws for part in ("mean", "cov")}
        about = {"patch": str(self.patch), "ids": json.dumps(sorted(self.ids))}
        with written(Path(path)) as temporary:
            save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, about)

    @classmethod
    def load(cls, path: str) -> LatentMap:
        """Reads a file that `save` wrote; "embedded/TASK" ships with the package.  Errors: ValueError."""
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
                laws = [Gaussian(*(file.get_tensor(f"{name}.{p}") for p in ("mean", "cov"))) for name in LAWS]
            return cls(laws[0], laws[1], int(about["patch"]), json.loads(about["ids"]))
        except (SafetensorError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is not a file of a transport ({error}); make one with tools/fit_transport.py"
            ) from error
