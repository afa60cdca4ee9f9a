"""The cost of a restoration in evaluations of networks, and its measure in network forwards."""

from __future__ import annotations

import operator
from dataclasses import asdict, astuple, dataclass

from rps.settings import not_negative


@dataclass(frozen=True)
class RelativeCost:
    """The time that an evaluation takes, in units of one forward of the prior's network for as many images.

    `python tools/benchmark.py ratios` measures them. The defaults are those of the embedded priors, measured on a CPU
    in batches of 64: for another prior, a guess. Smaller batches have smaller ratios.

    Args:
        backward: one backward of the network, with respect to its input; its forward is counted apart.
        decoder_call: one forward of the decoder (or encoder) of a latent model.
        decoder_backward: one backward of the decoder.
    """

    backward: float = 1.1
    decoder_call: float = 1.25
    decoder_backward: float = 1.2

    def __post_init__(self) -> None:
        not_negative(**{f"relative_cost.{name}": value for name, value in asdict(self).items()})


@dataclass
class Cost:
    """Numbers of evaluations, in images: of the network and, for latent models, of the decoder.

    Treat it as immutable; it is not frozen for the reason given in rps/restoration.py.

    network_calls: forwards of the network; guidance needs two per call of the prior. network_backwards: how often one
    of them was differentiated. decoder_calls: decoded images and, since an encoder is about as large, encoded ones.
    decoder_backwards: how often one of them was differentiated.
    """

    network_calls: float = 0
    network_backwards: float = 0
    decoder_calls: float = 0
    decoder_backwards: float = 0

    def __str__(self) -> str:
        numbers = {
            "network calls": self.network_calls,
            "backwards": self.network_backwards,
            "decoder calls": self.decoder_calls,
            "decoder backwards": self.decoder_backwards,
        }
        return ", ".join(f"{number:.4g} {name}" for name, number in numbers.items() if number) or "no network calls"

    def __add__(self, other: Cost) -> Cost:
        return Cost(*map(operator.add, astuple(self), astuple(other)))

    def __sub__(self, other: Cost) -> Cost:
        return Cost(*map(operator.sub, astuple(self), astuple(other)))

    def __mul__(self, number: float) -> Cost:
        return Cost(*(number * value for value in astuple(self)))

    def __truediv__(self, number: float) -> Cost:
        return Cost(*(value / number for value in astuple(self)))

    def forward_equivalents(self, relative: RelativeCost) -> float:
        """network_calls + r_b network_backwards + r_d decoder_calls + r_db decoder_backwards: the number of network
        forwards that take as long, r_b, r_d and r_db being the backward, decoder_call and decoder_backward of
        `relative`."""
        return (
            self.network_calls
            + relative.backward * self.network_backwards
            + relative.decoder_call * self.decoder_calls
            + relative.decoder_backward * self.decoder_backwards
        )
