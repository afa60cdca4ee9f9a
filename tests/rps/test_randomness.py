"""Philox against its published answers, and the streams' laws and independence."""

import math

import pytest
import torch

from rps.randomness import Streams, philox

IDS = [f"s{i}" for i in range(16)]

# Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, answer.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter, key, answer):
    def words(text):
        return tuple(torch.tensor([int(word, 16)]) for word in text.split())

    assert " ".join(f"{int(word):08x}" for word in philox(words(counter), words(key))) == answer


def test_streams_are_the_same_on_every_machine():
    """Pinned: whoever changes these numbers changes every published result."""
    assert Streams(0, ["kodim01"]).keys.tolist() == [[1330281627, 286404367]]
    assert Streams(0, ["kodim01"]).at("stage2", 300).at_step(7).bits(3).tolist() == [
        [1057963844, 2896459547, 2172269697]
    ]
    assert Streams(0, ["caf\u00e9 \U0001fae8"]).keys.tolist() == [[1277198197, 1412850687]]


def draws(streams):
    return {
        "bits": streams.bits(5),
        "uniform": streams.uniform((2, 3)),
        "normal": streams.normal((3, 5)),
        "permutation": streams.permutation(9),
        "deeper": streams.at("stage2", 300, 0.5).at_step(3).normal((4,)),
    }


def test_numbers_of_an_id_do_not_depend_on_the_batch():
    whole = draws(Streams(3, IDS))
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    shuffled = draws(Streams(3, [IDS[i] for i in order]))
    alone = draws(Streams(3, IDS[5:6]))
    repeated = draws(Streams(3, IDS)[torch.tensor([7, 2, 7])])
    joined = draws(Streams.cat([Streams(3, IDS[:4]), Streams(3, IDS[4:])]))
    for name, values in whole.items():
        assert torch.equal(shuffled[name], values[order]), name
        assert torch.equal(alone[name], values[5:6]), name
        assert torch.equal(repeated[name], values[[7, 2, 7]]), name
        assert torch.equal(joined[name], values), name


def test_a_call_is_a_pure_function_and_a_longer_one_continues_it():
    streams = Streams(0, IDS)
    assert torch.equal(streams.normal((7,)), streams.normal((7,)))
    assert torch.equal(streams.normal((7,)), streams.normal((100,))[:, :7])


def test_steps_may_differ_between_rows():
    streams = Streams(0, IDS[:3]).at("stage2")
    mixed = streams.at_step(torch.tensor([4, 0, 9])).normal((5,))
    for row, step in enumerate([4, 0, 9]):
        assert torch.equal(mixed[row], streams.at_step(step).normal((5,))[row])


def test_streams_differ_and_are_uncorrelated():
    """Different seeds, ids, purposes, steps, and levels of one number but another type; |correlation| < 4 / sqrt(n)."""
    n, base = 20_000, Streams(0, ["a"])
    streams = {
        "base": base,
        "another seed": Streams(1, ["a"]),
        "another id": Streams(0, ["b"]),
        "at": base.at("x"),
        "deeper at": base.at("x", 1),
        "at in two calls": base.at("x").at(1),
        "text": base.at("x", "1"),
        "step 0": base.at_step(0),
        "step 1": base.at_step(1),
        "step -1": base.at_step(-1),
        "step of a purpose": base.at("x").at_step(0),
    }
    values = torch.cat([s.normal((n,)) for s in streams.values()])
    correlation = torch.corrcoef(values) - torch.eye(len(values))
    assert correlation.abs().max() < 4 / math.sqrt(n)
    assert (torch.corrcoef(values[:, :-1] + values[:, 1:]) - torch.eye(len(values))).abs().max() < 6 / math.sqrt(n)


def test_neighbouring_numbers_of_a_stream_are_uncorrelated():
    x = Streams(0, ["a"]).normal((100_000,))[0].double()
    for lag in (1, 2, 3, 4, 8):
        assert abs((x[lag:] * x[:-lag]).mean()) < 4 / math.sqrt(len(x))


def kolmogorov_distance(x, cdf):
    """sup |F_n - F|, of n numbers."""
    f, n = cdf(x.sort().values.double()), len(x)
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    return float(torch.maximum(steps[1:] - f, f - steps[:-1]).max())


def test_normal_law():
    """Moments within 4 standard errors; Kolmogorov-Smirnov at level 1e-3 (1.95 / sqrt(n))."""
    x = Streams(0, IDS).normal((50_000,)).flatten().double()
    n = len(x)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((x**power).mean() - moment) < 4 * math.sqrt(variance / n), power
    assert kolmogorov_distance(x, torch.special.ndtr) < 1.95 / math.sqrt(n)
    assert 4.2 < x.abs().max() < 6.5


def test_uniform_law():
    u = Streams(0, IDS).uniform((50_000,)).flatten()
    assert u.dtype == torch.float32 and u.min() > 0 and u.max() < 1
    assert kolmogorov_distance(u, lambda x: x) < 1.95 / math.sqrt(len(u))


def test_uniform_excludes_its_ends_at_the_extreme_bits(monkeypatch):
    monkeypatch.setattr(Streams, "bits", lambda self, count: torch.tensor([[0, 0xFFFFFFFF]]))
    u = Streams(0, ["a"]).uniform((2,))
    assert u[0, 0] > 0 and u[0, 1] < 1
    assert torch.isfinite(Streams(0, ["a"]).normal((2,))).all()


def test_permutation_is_one_and_is_uniform():
    """Every place gets every value equally often: chi^2 of 8 x 8 counts, (8 - 1)^2 degrees of freedom, 4 deviations."""
    n, k = 8000, 8
    p = Streams(0, [str(i) for i in range(n)]).permutation(k)
    assert torch.equal(p.sort(dim=1).values, torch.arange(k).expand(n, k))
    counts = torch.stack([(p == value).sum(0) for value in range(k)]).double()
    chi2 = ((counts - n / k) ** 2 / (n / k)).sum()
    assert abs(chi2 - (k - 1) ** 2) < 4 * math.sqrt(2 * (k - 1) ** 2)


def test_empty_batch():
    assert {name: tuple(v.shape) for name, v in draws(Streams(0, [])).items()} == {
        "bits": (0, 5),
        "uniform": (0, 2, 3),
        "normal": (0, 3, 5),
        "permutation": (0, 9),
        "deeper": (0, 4),
    }
    assert Streams(0, ["a"]).normal((0,)).shape == (1, 0)
