"""Table, curve and grids, from the figures of a run."""

import numpy as np
import pytest
import torch
from PIL import Image

from rps.cost import RelativeCost
from rps.metrics import Statistics, as_saved
from rps.operators import Inpaint, Operator, SuperResolution
from rps.records import RecordWriter, evaluate, read_records, summary
from rps.report import dp_curve_plot, finish, grid, pixels, prediction_grid, read_saved, save_picture, table
from rps.report.grid import BROKEN
from rps.report.table import ABSENT
from tests.rps.predictions import Blocks, clean_images, prediction

IDS = [f"image {i}" for i in range(12)]


@pytest.fixture
def result(tmp_path):
    """The summary of a run of 12 images, one of which failed at level 50, compared with another set."""
    found = evaluate(prediction(IDS, broken=((50, IDS[0]),)), features=Blocks())
    RecordWriter(tmp_path).write(found.rows, "t0", found.vectors, Blocks.name)
    others = Blocks()(as_saved(clean_images([f"other {i}" for i in range(50)])))
    return summary(read_records(tmp_path), Statistics.from_features(others, "fifty others"))


def rows(text: str) -> dict[str, dict[str, str]]:
    """The cells of the first markdown table, by line and column."""
    first = text.split("\n\n")[0]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in first.splitlines()]
    return {line[0]: dict(zip(lines[0], line, strict=True)) for line in lines[2:]}


def test_table_has_a_line_for_each_level_the_baseline_and_the_clean_images(result):
    cells = rows(table(result))
    assert list(cells) == ["0", "50", "100", "A⁺y", "clean images"]
    assert cells["50"]["n"] == "11" and cells["50"]["failed"] == "1"
    rmse = result["levels"][2]["metrics"]["rmse"]
    assert cells["100"]["RMSE"] == f"{rmse['mean']:.4f} ± {rmse['se']:.4f}"
    frechet = result["pseudo_inverse"]["metrics"]["frechet"]
    assert cells["A⁺y"]["√FD"] == f"{frechet['sqrt']:.2f} ± {frechet['se_sqrt']:.2f}"
    assert cells["clean images"]["RMSE"] == ABSENT and cells["clean images"]["√FD"] != ABSENT
    assert "LPIPS" not in cells["0"]


def test_table_says_what_the_figures_are_of(result):
    text = table(result)
    assert "n = 12; features: quarters; reference: fifty others (n = 50)" in text
    assert "1 sample failed" in text and "Level: a value of t0. A⁺y: the measurement mapped back by" in text
    assert "consistency: ||y - A(x)||" in text and "RMSE: sqrt" not in text


def test_table_of_a_restoration_without_references(tmp_path):
    found = evaluate(prediction(IDS, with_reference=False), relative_cost=RelativeCost())
    RecordWriter(tmp_path).write(found.rows, "t0")
    finish(tmp_path)
    cells = rows((tmp_path / "table.md").read_text())
    assert set(cells["0"]) == {"t0", "n", "failed", "consistency", "cost", "seconds"}


def test_table_of_nothing_but_failures(tmp_path):
    found = evaluate(prediction([], failures={"a": "broken"}))
    RecordWriter(tmp_path).write(found.rows, "t0")
    cells = rows(table(finish(tmp_path)))
    assert cells["0"] == {"t0": "0", "n": "0", "failed": "1"}


def test_curve_is_drawn_with_any_number_of_levels(result, tmp_path):
    dp_curve_plot(result, tmp_path / "all.png")
    result["levels"] = result["levels"][:1]
    del result["reference"], result["pseudo_inverse"]
    dp_curve_plot(result, tmp_path / "one.png")
    for name in ("all", "one"):
        image = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
        blue = (image == (0, 0x72, 0xB2)).all(-1)
        assert image.shape[0] > 500 and blue.sum() > 50


def test_no_curve_without_both_figures(result, tmp_path):
    for level in result["levels"]:
        del level["metrics"]["rmse"]
    with pytest.raises(ValueError, match="needs a level with RMSE"):
        dp_curve_plot(result, tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def cell(sheet: np.ndarray, row: int, column: int, size: int, rows: int) -> np.ndarray:
    gap = max(2, size // 32)
    top = len(sheet) - rows * (size + gap)
    y, x = top + row * (size + gap), gap + column * (size + gap)
    return sheet[y : y + size, x : x + size]


def test_grid_shows_the_images_as_saved_enlarged_by_a_whole_number():
    one = prediction(IDS[:3])
    sheet = prediction_grid(one)
    for row in range(3):
        shown = [one.reference, one.measurement.pseudo_inverse(), *one.restoration.images.values()]
        for column, images in enumerate(shown):
            expected = pixels(as_saved(images)[row]).repeat(6, 0).repeat(6, 1)
            assert np.array_equal(cell(sheet, row, column, 96, 3), np.stack([expected] * 3, -1))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_saved_picture_is_read_to_the_last_bit(channels, tmp_path):
    """All 256 values, in single and double precision."""
    image = torch.linspace(-1.1, 1.1, channels * 24 * 31, dtype=torch.float64).view(channels, 24, 31)
    save_picture(pixels(as_saved(image)), tmp_path / "a.png")
    for dtype in (torch.float32, torch.float64):
        saved = as_saved(image.to(dtype))
        assert len(saved.unique()) == 256 and torch.equal(read_saved(tmp_path / "a.png", image.shape, dtype), saved)


def test_another_picture_is_refused(tmp_path):
    save_picture(np.zeros((24, 31, 3), np.uint8), tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is not as a run writes an image of 1 x 24 x 31"):
        read_saved(tmp_path / "a.png", (1, 24, 31))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"a\.png is no picture that can be read"):
        read_saved(tmp_path / "a.png", (3, 24, 31))


def test_grid_without_reference_has_no_such_column():
    whole, degraded = (prediction_grid(prediction(IDS[:2], with_reference=given)) for given in (True, False))
    assert whole.shape[1] - degraded.shape[1] == 96 + 3


def test_masked_pixels_are_mid_grey():
    one = prediction(IDS[:1], operator=Inpaint(0.5), noise_std=0.0)
    shown = cell(prediction_grid(one), 0, 1, 96, 1)[::6, ::6, 0]
    hidden = torch.ones(256, dtype=torch.bool)
    hidden[one.measurement.operator.index[0]] = False
    assert (shown[hidden.view(16, 16).numpy()] == 128).all() and (shown == 128).sum() < 140


def test_a_broken_image_is_a_plain_square():
    one = prediction(IDS[:2], broken=((50, IDS[1]),))
    one.restoration.images[100][0, 0, 3, 3] = torch.inf
    sheet = prediction_grid(one)
    assert (cell(sheet, 1, 3, 96, 2) == BROKEN).all() and (cell(sheet, 0, 4, 96, 2) == BROKEN).all()
    assert not (cell(sheet, 0, 3, 96, 2) == BROKEN).all()


def test_no_more_rows_than_asked_for_and_none_without_images():
    assert prediction_grid(prediction(IDS), max_samples=2).shape == prediction_grid(prediction(IDS[:2])).shape
    assert prediction_grid(prediction([])) is None


def test_a_measurement_that_is_no_image_has_no_column():
    class Sums(Operator):
        def forward(self, x):
            return x.sum(-1).flatten(1)

    one = prediction(IDS[:2], operator=Sums())
    assert prediction_grid(one).shape == prediction_grid(prediction(IDS[:2], with_reference=False)).shape


def test_a_grid_of_photographs_is_reduced():
    """By means, so that single black and white pixels become grey."""
    large = (torch.arange(2048) % 2).float().expand(1, 3, 1024, 2048)
    sheet = grid([("a", large), ("b", large.mean(3, keepdim=True).expand_as(large))])
    assert sheet.shape[1] < 2 * 512 + 100 and sheet.shape[0] < 256 + 100
    assert (sheet[-100, 100:500] == 128).all()


def test_columns_of_different_sizes_share_a_grid():
    """Small images are repeated until they fill their cell."""
    small, large = torch.zeros(1, 1, 24, 24), torch.ones(1, 3, 96, 96)
    sheet = grid([("small", small), ("large", large)])
    assert (cell(sheet, 0, 0, 96, 1) == 0).all() and (cell(sheet, 0, 1, 96, 1) == 255).all()


def test_grids_of_other_operators():
    sheet = prediction_grid(prediction(IDS[:1], operator=SuperResolution(4)))
    shown = cell(sheet, 0, 1, 96, 1)
    assert np.array_equal(shown, shown[::24, ::24].repeat(24, 0).repeat(24, 1))


@pytest.mark.parametrize(("channels", "shape"), [(1, (5, 7)), (3, (5, 7, 3)), (4, (5, 28))])
def test_pixels_of_any_number_of_channels(channels, shape, tmp_path):
    image = as_saved(2 * torch.rand(channels, 5, 7) - 1)
    assert pixels(image).shape == shape
    save_picture(pixels(image), tmp_path / "sub" / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "sub" / "a.png")), pixels(image))


def test_a_mean_of_several_chains_has_its_map_of_doubt_beside_it():
    """Standard deviation .1 of [0, 1] pixels is shown as .4; the level without chains has no map."""
    found = prediction(IDS[:2])
    without = prediction_grid(found)
    found.restoration.spread[50] = torch.full_like(found.restoration.images[50], 0.2)
    sheet = prediction_grid(found)
    assert sheet.shape[1] > without.shape[1] and sheet.shape[0] == without.shape[0]
    width = (sheet.shape[1] - without.shape[1]) // 2
    column = 5 * sheet.shape[1] // 6 - sheet.shape[1] // 6 // 2  # reference, measurement, 0, 50, the map, 100
    assert (sheet[-width // 2, column] == round(0.4 * 255)).all()
