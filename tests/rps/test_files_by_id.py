"""Operators whose masks, kernels and quantiser steps come from files, by the ids of the samples."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from rps.cli import main
from rps.measurement import degrade, measured
from rps.operators import Jpeg, JpegFile, KernelFile, MaskFile, SpectralOperator
from rps.pictures import PictureFiles, read_picture
from rps.randomness import Streams


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.uint8(pixels)).save(path, **options)


def test_a_file_belongs_to_the_picture_of_the_same_path(tmp_path):
    for name in ("a.png", "sub/a.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = PictureFiles(str(tmp_path), "masks")
    assert {id_: path.relative_to(tmp_path).as_posix() for id_, path in files.by_id.items()} == {
        "a": "a.png",
        "sub__a": "sub/a.png",
    }
    for id_ in ("b", "../a", "..", "", str(tmp_path / "a")):
        with pytest.raises(FileNotFoundError, match="has no picture for the id"):
            files.of(id_)
    assert PictureFiles(str(tmp_path / "a.png"), "masks").of("anything") == tmp_path / "a.png"
    with pytest.raises(ValueError, match="masks 'nowhere' does not exist"):
        PictureFiles("nowhere", "masks")


def test_streams_know_their_ids():
    streams = Streams(0, ["a", "b", "c"])
    assert streams.at("mask").at_step(3).ids == ["a", "b", "c"] == streams[slice(None)].ids
    assert streams[torch.tensor([2, 0, 2])].ids == ["c", "a", "c"]
    assert streams[torch.tensor([True, False, True])].ids == ["a", "c"]
    assert Streams.cat([streams[1:], streams[:1]]).ids == ["b", "c", "a"]


def test_white_is_known_and_a_mask_is_resized_with_its_picture(tmp_path):
    """A mask of 16 x 32 for images of 8 x 8: the centre square, halved."""
    mask = np.zeros((16, 32))
    mask[4:8, 12:20] = 255
    save(tmp_path / "a.png", mask)
    save(tmp_path / "b.png", 255 - mask)
    operator = MaskFile(str(tmp_path))
    x = torch.arange(64.0).view(1, 1, 8, 8) / 64 - 1
    (known,) = operator.bind((1, 8, 8), Streams(0, ["a"])).index
    assert known.tolist() == [8 * row + column for row in (2, 3) for column in range(2, 6)]
    assert not operator.alike and MaskFile(str(tmp_path / "a.png")).alike
    assert torch.equal(degrade(x, operator, 0.0, ["a"]).y[0, 0], x.flatten()[known])
    assert measured(x, operator, 0.0, (1, 8, 8), ["b"]).y.shape == (1, 1, 64 - 8)
    with pytest.raises(ValueError, match="different numbers of pixels, 8 to 56; make batches of one"):
        operator.bind((1, 8, 8), Streams(0, ["a", "b"]))
    save(tmp_path / "c.png", 0 * mask)
    with pytest.raises(ValueError, match=r"c.png has no white pixel"):
        MaskFile(str(tmp_path / "c.png")).bind((1, 8, 8), Streams(0, ["a"]))


def test_a_point_becomes_the_kernel(tmp_path):
    """Not turned, of sum 1, and centred; another one for another id."""
    kernel = np.zeros((3, 5))
    kernel[0, 1], kernel[2, 4] = 60, 180
    for name, pixels in (("a", kernel), ("b", kernel[::-1]), ("even", kernel[:2]), ("large", np.ones((7, 7)))):
        save(tmp_path / f"{name}.png", pixels)
    point = torch.zeros(2, 1, 9, 9, dtype=torch.float64)
    point[:, 0, 4, 4] = 1
    operator = KernelFile(str(tmp_path))
    y = operator.bind((1, 9, 9), Streams(0, ["a", "b"]))(point)[:, 0, 3:6, 2:7]
    expected = torch.from_numpy(kernel / kernel.sum())
    torch.testing.assert_close(y, torch.stack([expected, expected.flip(0)]))
    with pytest.raises(ValueError, match=r"odd height and width.*got 2 x 5 in .*even\.png"):
        operator.bind((1, 9, 9), Streams(0, ["even"]))
    with pytest.raises(ValueError, match="kernels of one batch have sizes from 5 to 7; make batches of one"):
        operator.bind((1, 9, 9), Streams(0, ["a", "large"]))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_the_jpeg_of_a_file_is_that_of_its_tables_and_sampling(subsampling, tmp_path):
    """It decodes to Pillow's picture, but for the smoothing of chroma: closer than with another sampling."""
    ramp = np.linspace(0, 255, 40)
    smooth = np.stack([np.add.outer(ramp, ramp) / 2, np.add.outer(ramp[::-1], ramp) / 2, np.outer(ramp, ramp) / 255], 2)
    for k in range(3):
        save(tmp_path / f"{k}.jpg", smooth, quality=37, subsampling=k)
    x = torch.from_numpy(np.uint8(smooth)).permute(2, 0, 1)[None].double() / 127.5 - 1
    expected, operator = read_picture(tmp_path / f"{subsampling}.jpg", 3), JpegFile(str(tmp_path))
    decoded = [degrade(x, operator, 0.0, [str(k)]).pseudo_inverse().clamp(-1, 1)[0] for k in range(3)]
    off = [float((each - expected).abs().mean()) * 127.5 for each in decoded]
    assert off.index(min(off)) == subsampling and off[subsampling] < (2 if subsampling == 2 else 1)
    if subsampling == 2:
        torch.testing.assert_close(degrade(x, operator, 0.0, ["2"]).y, degrade(x, Jpeg(37), 0.0).y)
    with pytest.raises(ValueError, match="files of one batch have 2 different compressions; make batches of one"):
        operator.bind((3, 40, 40), Streams(0, ["0", "1"]))


def test_a_grey_jpeg_of_a_file_has_the_spectrum_of_its_tables(tmp_path):
    save(tmp_path / "a.jpg", np.arange(256).reshape(16, 16), quality=37)
    x = torch.linspace(-1, 1, 256, dtype=torch.float64).view(1, 1, 16, 16)
    found, given = (degrade(x, operator, 0.1) for operator in (JpegFile(str(tmp_path / "a.jpg")), Jpeg(37)))
    assert torch.equal(found.y, given.y) and found.noise_std == given.noise_std
    for measurement in (found, given):
        assert isinstance(measurement.operator, SpectralOperator)


def test_another_file_has_no_jpeg_tables(tmp_path):
    save(tmp_path / "a.png", np.zeros((8, 8)))
    with pytest.raises(ValueError, match="is PNG and not JPEG"):
        JpegFile(str(tmp_path)).bind((1, 8, 8), Streams(0, ["a"]))


def test_the_blocks_of_a_jpeg_that_is_turned_are_not_those_that_are_shown(tmp_path):
    exif = Image.Exif()
    for name, exif[0x0112] in (("upright", 1), ("turned", 6)):
        Image.new("L", (16, 8)).save(tmp_path / f"{name}.jpg", exif=exif)
    JpegFile(str(tmp_path)).bind((1, 8, 16), Streams(0, ["upright"]))
    with pytest.raises(ValueError, match="turned by its EXIF orientation"):
        JpegFile(str(tmp_path)).bind((1, 8, 16), Streams(0, ["turned"]))


@pytest.mark.slow
def test_a_mask_for_each_picture_through_the_command(tmp_path, capsys):
    """Batches of one, whatever the batch size; a picture without a mask is a failure of its own."""
    for k, name in enumerate("abc"):
        save(tmp_path / "photos" / f"{name}.png", np.full((32, 32), 60 * k + 40))
    for k, name in enumerate("ab"):
        mask = np.full((64, 64), 255)
        mask[: 8 * (k + 1), :20] = 0
        save(tmp_path / "masks" / f"{name}.png", mask)
    given = ["--config", "demo", "--data.folder", str(tmp_path / "photos"), "--data.degraded", "true"]
    given += ["--model.operator", "MaskFile", "--model.operator.masks", str(tmp_path / "masks"), "--model.t0", "[0]"]
    given += ["--model.estimator.num_steps", "2", "--output", str(tmp_path / "run")]
    assert main(["predict", *given]) == 3, capsys.readouterr().err
    result = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert result["levels"][0]["n"] == 2 and list(result["failures"]) == ["c"]
    assert "has no picture for the id 'c'" in result["failures"]["c"]
    shown = read_picture(tmp_path / "run" / "images" / "measurement" / "b.png", 1)[0]
    assert (shown[:8, :10] == shown[0, 0]).all() and shown[10, 10] != shown[0, 0]
