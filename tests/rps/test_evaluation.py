"""Rows and features of a batch: what is measured of each image."""

import pytest
import torch

from rps.cost import RelativeCost
from rps.metrics import as_saved, rmse
from rps.operators import Inpaint, Operator
from rps.records import (
    evaluate,
)
from rps.records.rows import RowCost
from tests.rps.predictions import LEVELS, Blocks, prediction

IDS = [f"image {i}" for i in range(7)]


def test_a_row_for_every_sample_and_level():
    rows = evaluate(prediction(IDS, failures={"lost": "cannot be read"})).rows
    restored = [row for row in rows if row.kind == "restored"]
    assert {(row.id, row.level) for row in restored} == {(id_, level) for id_ in [*IDS, "lost"] for level in LEVELS}
    assert {row.id for row in rows if row.kind == "pseudo_inverse"} == set(IDS)
    lost = [row for row in restored if row.id == "lost"]
    assert all(row.status == "failed" and row.reason == "cannot be read" and not row.metrics for row in lost)


def test_metrics_are_of_the_image_as_saved():
    one = prediction(IDS)
    rows = evaluate(one, relative_cost=RelativeCost(backward=2)).rows
    row = next(row for row in rows if row.id == IDS[3] and row.level == 50)
    expected = rmse(as_saved(one.restoration.images[50]), as_saved(one.reference))[3]
    assert row.metrics["rmse"] == expected.item()
    costs = {"network_calls": 11, "network_backwards": 1, "forward_equivalents": 13}
    totals = {"total_network_calls": 30, "total_forward_equivalents": 36, "stored_forward_equivalents": 0}
    assert row.cost == RowCost(**costs, **totals, seconds=1.5, decoder_calls=0, decoder_backwards=0)
    assert set(row.metrics) == {"rmse", "psnr", "ssim", "consistency", "residual_rms"}


def test_the_residual_is_of_the_image_as_it_is():
    """Far outside [-1, 1], where clipping would hide it."""
    one = prediction(["a"], levels=(0,), noise_std=0.0)
    one.restoration.images[0][:] = one.reference + 3
    (row,) = [row for row in evaluate(one).rows if row.kind == "restored"]
    assert row.metrics["residual_rms"] == pytest.approx(3)
    assert "consistency" not in row.metrics


def test_an_image_that_is_not_finite_is_a_failed_row_and_no_other():
    found = evaluate(prediction(IDS, broken=((50, IDS[2]),)), features=Blocks())
    failed = [row for row in found.rows if row.status == "failed"]
    assert [(row.id, row.level, row.kind) for row in failed] == [(IDS[2], 50, "restored")]
    assert failed[0].reason == "the image at level 50 has values that are not finite"
    assert failed[0].cost.network_calls == 11 and not failed[0].metrics
    lengths = {(v.kind, v.level): len(v.ids) for v in found.vectors}
    assert lengths == {
        ("restored", 0): 7, ("restored", 50): 6, ("restored", 100): 7, ("pseudo_inverse", None): 7,
        ("reference", None): 7,
    }  # fmt: skip


def test_a_measurement_that_is_not_finite_is_the_operators_fault():
    given = prediction(IDS, broken=((50, IDS[2]),))
    given.measurement.y[2] = torch.nan
    found = evaluate(given)
    reasons = {row.level: row.reason for row in found.rows if row.status == "failed" and row.kind == "restored"}
    assert reasons == {50: "the operator gave a measurement that is not finite"}


def test_restoration_without_a_reference():
    found = evaluate(prediction(IDS, with_reference=False), features=Blocks())
    assert all(set(row.metrics) == {"consistency", "residual_rms"} for row in found.rows)
    assert {v.kind for v in found.vectors} == {"restored", "pseudo_inverse"}


def test_a_batch_in_which_nothing_could_be_read():
    found = evaluate(prediction([], failures={"a": "broken", "b": "too small"}), features=Blocks())
    assert len(found.rows) == 2 * len(LEVELS) and found.vectors == []


def test_an_operator_without_pseudo_inverse_has_no_baseline():
    class Square(Operator):
        def forward(self, x):
            return x.square().flatten(1)

    found = evaluate(prediction(IDS, operator=Square()))
    assert {row.kind for row in found.rows} == {"restored"}


def test_baseline_of_a_mask_is_mid_grey_in_the_holes():
    one = prediction(["a"], operator=Inpaint(0.5), noise_std=0.0, size=16)
    row = next(row for row in evaluate(one).rows if row.kind == "pseudo_inverse")
    seen = one.measurement.operator.index
    expected = torch.full((1, 256), 128 / 255)
    expected[0, seen[0]] = as_saved(one.reference).flatten(1)[0, seen[0]]
    assert row.metrics["rmse"] == pytest.approx(rmse(expected.view(1, 1, 16, 16), as_saved(one.reference)).item())


def test_the_spread_of_several_chains_is_recorded():
    """In [0, 1] units, of the level that has one."""
    found = prediction(["a", "b"])
    found.restoration.spread[50] = torch.full_like(found.restoration.images[50], 0.2)
    rows = {(row.level, row.id): row for row in evaluate(found).rows if row.kind == "restored"}
    assert rows[50, "a"].metrics["spread"] == pytest.approx(0.1)
    assert "spread" not in rows[0, "a"].metrics
