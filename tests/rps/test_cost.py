"""Every evaluation of a network is counted when it happens: the numbers here are counted by hand."""

import math
import re

import pyarrow.parquet
import pytest
import torch

from rps.cost import Cost, RelativeCost
from rps.estimators import MapEstimator
from rps.priors.counted import CountedPrior
from rps.records import Origin, RecordWriter, evaluate, read_records, summary
from rps.records.rows import RowCost
from rps.report import compare_runs, paired_table
from rps.report.page import write_page
from rps.report.shown import Shown
from rps.report.table import table
from rps.samplers import Daps, Dcdp, Ddnm, Dmap, Dps, LatentDaps, LatentDps, Psld, ReSample, Sitcom, Stsl
from rps.samplers.chains import Chain, run_chains
from rps.traversals import Interpolation, MapRps, SampleAverage
from tests.rps.predictions import prediction
from tests.rps.solvers import LATENT, PIXEL

N = 2


def test_forward_equivalents():
    cost = Cost(10, 4, 3, 2) * 2 - Cost(2, 2, 2, 2)
    assert cost / 2 + Cost(1, 1, 1, 1) == Cost(10, 4, 3, 2)
    assert Cost(10, 4, 3, 2).forward_equivalents(RelativeCost(1.5, 0.5, 2)) == 10 + 6 + 1.5 + 4


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_a_relative_cost_is_a_finite_number(value):
    with pytest.raises(ValueError, match=r"relative_cost.backward must be a finite number >= 0, got"):
        RelativeCost(backward=value)


def cost_of(sampler, world, timesteps, evaluations=1) -> Cost:
    """Per image, of one chain."""
    prior, measurement = world.prior(), world.measure(N)
    prior.evaluations = evaluations
    start = torch.zeros(N, *prior.sample_shape, dtype=torch.float64)
    chain = Chain.renoised(start, timesteps, measurement.streams, prior.schedule, sampler)
    (_, (cost,)) = run_chains([chain], measurement, CountedPrior(prior))
    return cost


@pytest.mark.parametrize(
    ("sampler", "cost"),
    [
        (Dps(), Cost(3, 3)),
        (Ddnm(), Cost(3)),
        (Daps(ode_steps=2, langevin_steps=4), Cost(6)),
        (Sitcom(inner_steps=2, tolerance=0.0), Cost(9, 6)),
        (Dmap(ascents=2), Cost(3 + 4, 4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_pixel_samplers_in_three_steps(sampler, cost):
    """The decoder of a pixel prior costs nothing, and guidance doubles forwards and backwards."""
    assert cost_of(sampler, PIXEL, [900, 500, 100]) == cost
    assert cost_of(sampler, PIXEL, [900, 500, 100], evaluations=2) == cost * 2


@pytest.mark.parametrize(
    ("sampler", "cost"),
    [
        (LatentDps(), Cost(3, 3, 3, 3)),
        (Psld(), Cost(3, 3, 3 + 3, 3)),  # encodes once a step
        (Stsl(), Cost(6, 6, 3, 3)),
        (Dcdp(inner_steps=4), Cost(3, 0, 12, 12)),
        (LatentDaps(ode_steps=2, langevin_steps=4, step_size=1e-5), Cost(6, 0, 12, 12)),
        # The curvature takes 1 + 3 calls of the decoder and 3 backwards.
        (LatentDaps(ode_steps=2, langevin_steps=4), Cost(6, 0, 12 + 12, 12 + 9)),
        (Sitcom(inner_steps=2, tolerance=0.0), Cost(9, 6, 6 + 6, 6)),  # decodes again to see what fits
        # Above latent_below it decodes and encodes around a fit of the image; below, it fits the latent.
        (ReSample(period=1, latent_steps=4, tolerance=0.0), Cost(3, 0, 2 + 2 + 4, 4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_latent_samplers_in_three_steps(sampler, cost):
    assert cost_of(sampler, LATENT, [900, 500, 100]) == cost


def test_the_estimate_is_never_differentiated_through_the_network():
    """A step of latent MAP decodes once, differentiated; its start is encoded."""
    for world, cost in ((PIXEL, Cost(5)), (LATENT, Cost(5, 0, 1 + 5, 5))):
        counted = CountedPrior(world.prior())
        MapEstimator(num_steps=5).estimate(world.measure(N), counted)
        assert counted.cost / N == cost


def test_a_backward_is_counted_each_time_and_only_where_it_happens():
    counted = CountedPrior(PIXEL.prior())
    x, t = torch.zeros(N, *PIXEL.shape, dtype=torch.float64, requires_grad=True), torch.full((N,), 300)
    denoised = counted.denoise(x, t)
    plain = counted.prior.denoise(x, t)
    assert torch.equal(denoised.x0, plain.x0) and torch.equal(denoised.eps, plain.eps)
    torch.autograd.grad(denoised.x0.square().sum(), denoised.x0, retain_graph=True)
    assert counted.cost == Cost(N)  # that gradient does not reach the network
    for loss in (denoised.x0.sum(), (denoised.x0 * denoised.eps).sum()):
        torch.autograd.grad(loss, x, retain_graph=True)
    assert counted.cost == Cost(N, 2 * N)
    gradients = [torch.autograd.grad(d.x0.exp().sum() + d.eps.square().sum(), x)[0] for d in (denoised, plain)]
    assert torch.equal(*gradients)
    denoised.x0.clamp_(-1, 1)  # as without counting


@pytest.mark.parametrize(
    "made",
    [
        lambda levels: MapRps(levels or [0, 200, 600], MapEstimator(num_steps=2), LatentDps(), steps=10, samples=2),
        lambda levels: SampleAverage(levels or [1, 3], LatentDps(), steps=3),
    ],
)
@pytest.mark.parametrize("world", [PIXEL, LATENT])
def test_the_cost_of_a_level_is_what_it_costs_alone(made, world):
    """Stage 1 where it is needed, its chains and its own decodings."""
    whole = made(None).run(world.measure(N), world.prior())
    for level in whole.levels:
        assert whole.cost[level] == made([level]).run(world.measure(N), world.prior()).total_cost
    assert whole.total_cost.network_calls <= sum(cost.network_calls for cost in whole.cost.values())


def test_an_interpolation_shares_the_estimate_and_the_sample():
    """Stage 1 is Cost(2, 0, 3, 2), the chain Cost(3, 3, 3, 3); each is decoded once."""
    found = Interpolation([0.0, 0.5, 1.0], MapEstimator(num_steps=2), LatentDps(), steps=3).run(
        LATENT.measure(N), LATENT.prior()
    )
    assert found.cost == {0.0: Cost(2, 0, 4, 2), 0.5: Cost(5, 3, 8, 5), 1.0: Cost(3, 3, 4, 3)}
    assert found.total_cost == found.cost[0.5]


RELATIVE = RelativeCost(backward=2.0, decoder_call=0.5, decoder_backward=0.25)


def write(folder, relative=RELATIVE):
    """A run of the levels 0, 50 and 100 that cost 10, 11 and 12 calls and 0, 1 and 2 backwards."""
    found = evaluate(prediction(["a", "b", "c"]), relative_cost=relative)
    RecordWriter(folder).write(found.rows, "t0", origin=Origin(relative_cost=relative))
    return folder


def test_costs_reach_the_reports(tmp_path):
    result = summary(read_records(write(tmp_path / "run")))
    assert [level["forward_equivalents_per_image"] for level in result["levels"]] == [10, 13, 16]
    assert [level["network_backwards_per_image"] for level in result["levels"]] == [0, 1, 2]
    assert result["total_forward_equivalents_per_image"] == 36
    assert result["relative_cost"] == {"backward": 2.0, "decoder_call": 0.5, "decoder_backward": 0.25}
    text = table(result)
    assert "cost |" in text and "calls" not in text.replace("decoder", "")
    assert "of which a backward counts 2. All levels together: cost 36." in text
    shown = Shown("run", tmp_path / "run", read_records(tmp_path / "run"), result)
    page = write_page(tmp_path / "run" / "report.html", [shown]).read_text().replace(' scope="col"', "")
    assert "<th>cost</th><th>calls</th><th>backwards</th><th>seconds</th>" in page
    compared = paired_table(compare_runs(tmp_path / "run", write(tmp_path / "other")))
    assert re.findall(r"cost \| +(\d+) \| +(\d+) \| +(\S+) ", compared) == [(c, c, "+0") for c in ("10", "13", "16")]
    assert "Costs are in forwards of the network, of which a backward counts 2." in compared


def test_records_of_earlier_versions_have_calls_and_no_cost(tmp_path):
    """They can be read, merged and compared with new ones."""
    old, new = write(tmp_path / "old", None), write(tmp_path / "new")
    (path,) = (old / "records").iterdir()
    kept = pyarrow.parquet.read_table(path)
    unknown = {*RowCost._fields} - {"network_calls", "total_network_calls", "seconds"}
    pyarrow.parquet.write_table(kept.drop_columns(sorted(unknown)), path)
    result = summary(read_records(old))
    assert [level["network_calls_per_image"] for level in result["levels"]] == [10, 11, 12]
    assert math.isnan(result["levels"][0]["forward_equivalents_per_image"]) and "relative_cost" not in result
    assert "calls |" in table(result) and "All levels together: calls 30." in table(result)
    compared = compare_runs(old, new)
    assert compared["levels"][0]["cost"] == {"name": "network_calls", "run": 10, "other": 10}
    assert re.search(r"calls \| +10 \| +10 \| +\+0 ", paired_table(compared))
