"""Random numbers as a pure function of (seed, sample id, purpose, step).

Philox4x32-10 (Salmon et al., SC 2011) is a counter-based generator without state, so the numbers of a sample do not
depend on its batch, on order, workers, processes or restarts, or on what else is computed.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)


def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Philox4x32-10: four random 32-bit words from a 128-bit counter and a 64-bit key.

    counter: four and key: two broadcastable int64 tensors of values in [0, 2^32) -> four such tensors.
    """
    c0, c1, c2, c3 = counter
    rounds = torch.arange(10, device=key[0].device).view(-1, *[1] * key[0].dim())
    for k0, k1 in zip(*((k + rounds * weyl) & _MASK for k, weyl in zip(key, _WEYL, strict=True)), strict=True):
        # int64 products wrap modulo 2^64, so the masked shift is the unsigned high word.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = ((p1 >> 32) & _MASK) ^ c1 ^ k0, p1 & _MASK, ((p0 >> 32) & _MASK) ^ c3 ^ k1, p0 & _MASK
    return c0, c1, c2, c3


def _words(*path: object) -> tuple[int, int]:
    """Two 32-bit words from a path of strings and numbers; the same on every machine, unlike hash().

    In ASCII (!a), because the characters that repr() escapes differ between versions of Python.
    """
    text = "\0".join(f"{type(part).__name__}:{part!a}" for part in path)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


class Streams:
    """One independent stream of random numbers per row of a batch.

        streams = Streams(seed=0, ids=["kodim01", "kodim02"])
        noise = streams.at("measurement").normal((3, 256, 256))        # [2, 3, 256, 256]

    Every call with the same path and shape gives the same numbers; `at` derives streams for a purpose, `at_step` for a
    step of a loop. ids: the sample id of each row; rows with equal ids have equal numbers.
    """

    def __init__(self, seed: int, ids: Sequence[str], device: torch.device | str = "cpu") -> None:
        if not hasattr(seed, "__index__"):
            raise ValueError(f"seed must be a whole number, got {seed!r}")
        self.ids = [str(id_) for id_ in ids]
        words = [_words(seed, id_) for id_ in self.ids]
        self.keys = torch.tensor(words, dtype=torch.int64, device=device).view(len(words), 2)

    @classmethod
    def _from_keys(cls, keys: Tensor, ids: list[str]) -> Streams:
        streams = cls.__new__(cls)
        streams.keys, streams.ids = keys, ids
        return streams

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, rows: Tensor | slice) -> Streams:
        """The streams of some rows of the batch (a row may be taken more than once)."""
        taken = range(len(self))[rows] if isinstance(rows, slice) else torch.arange(len(self))[rows.cpu()].tolist()
        return self._from_keys(self.keys[rows], [self.ids[i] for i in taken])

    def to(self, device: torch.device | str) -> Streams:
        return self._from_keys(self.keys.to(device), self.ids)

    @classmethod
    def cat(cls, streams: Sequence[Streams]) -> Streams:
        return cls._from_keys(torch.cat([s.keys for s in streams]), [id_ for s in streams for id_ in s.ids])

    def at(self, *path: str | int | float) -> Streams:
        """The streams for a purpose, e.g. at("stage2", level): new keys, independent of those they derive from."""
        word0, word1 = _words(*path)
        counter = [torch.full_like(self.keys[:, 0], word) for word in (word0, word1, 1, 1)]
        k0, k1, _, _ = philox(tuple(counter), (self.keys[:, 0], self.keys[:, 1]))
        return self._from_keys(torch.stack([k0, k1], dim=1), self.ids)

    def at_step(self, step: int | Tensor) -> Streams:
        """The streams for one step of a loop.  step: one integer, or one per row [N]."""
        step = torch.as_tensor(step, dtype=torch.int64, device=self.keys.device) & _MASK
        zero = torch.zeros_like(self.keys[:, 0])
        k0, k1, _, _ = philox((zero + step, zero, zero + 2, zero), (self.keys[:, 0], self.keys[:, 1]))
        return self._from_keys(torch.stack([k0, k1], dim=1), self.ids)

    def bits(self, count: int) -> Tensor:
        """Random 32-bit integers.  -> int64 [N, count]."""
        blocks = torch.arange(math.ceil(count / 4), dtype=torch.int64, device=self.keys.device)
        zero = torch.zeros_like(blocks)
        words = philox((blocks, zero, zero, zero), (self.keys[:, :1], self.keys[:, 1:]))
        return torch.stack(words, dim=-1).flatten(1)[:, :count]

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """U(0, 1), both ends excluded, float32.  -> [N, *shape]."""
        bits = self.bits(math.prod(shape))
        return ((bits >> 9).float() + 0.5).mul(2.0**-23).view(len(self), *shape)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """N(0, 1) by Box-Muller, float32.  -> [N, *shape].

        Computed in double precision if the device has it, so that the vectorised and the scalar logarithm of a CPU, and
        that of a GPU, round to the same float32.
        """
        count = math.prod(shape)
        half = math.ceil(count / 2)
        pairs = self.bits(2 * half).view(len(self), half, 2)
        exact = torch.float32 if pairs.device.type == "mps" else torch.float64
        u = (pairs.to(exact) + 0.5) * 2.0**-32
        radius = torch.sqrt(-2.0 * torch.log(u[..., 0]))
        angle = 2.0 * math.pi * u[..., 1]
        values = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
        return values.flatten(1)[:, :count].float().view(len(self), *shape)

    def permutation(self, n: int) -> Tensor:
        """A uniformly random order of 0 .. n-1 for each row.  -> int64 [N, n]."""
        return torch.argsort(self.bits(n), dim=1, stable=True)
