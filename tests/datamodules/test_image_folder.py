"""Pictures of every kind, their names, and what cannot be used."""

import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import PurePath
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin

from datamodules import ImageFolder
from rps.pictures import deep_png
from rps.pictures import reading as pictures
from rps.pictures.ids import LONGEST, ids_of
from rps.pictures.reading import read_picture
from rps.protocol import RunModule
from rps.records import RunDirectory


def grey(size=(8, 8), value=128):
    return Image.new("L", size, value)


def load(folder, **options):
    """The folder's only batch."""
    data = ImageFolder(str(folder), **{"size": 4, "channels": 1, **options})
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    return batch


def test_sizes_and_units(tmp_path):
    grey((8, 8), 0).save(tmp_path / "a.png")
    grey((40, 12), 255).save(tmp_path / "b.png")
    batch = load(tmp_path)
    assert batch["id"] == ["a", "b"]
    assert batch["image"].shape == (2, 1, 4, 4) and batch["image"].dtype == torch.float32
    assert (batch["image"][0] == -1).all() and (batch["image"][1] == 1).all()


def test_the_crop_is_the_centre(tmp_path):
    pixels = np.zeros((4, 12), dtype=np.uint8)
    pixels[:, 4:8] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (load(tmp_path)["image"] == 1).all()


def test_reduction_is_antialiased(tmp_path):
    """A checkerboard of single pixels becomes grey, not black or white."""
    board = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    Image.fromarray(board).save(tmp_path / "a.png")
    assert load(tmp_path, size=16)["image"].abs().max() < 0.05


def test_a_picture_of_the_right_size_is_not_changed(tmp_path):
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = (load(tmp_path, size=16)["image"][0, 0] + 1) * 127.5
    assert np.array_equal(read.round().numpy(), pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "picture",
    [
        grey(value=255),
        Image.new("RGB", (8, 8), "white"),
        Image.new("RGB", (8, 8), "white").convert("P"),
        Image.new("RGBA", (8, 8), (0, 0, 0, 0)),  # transparent: shown on white
        Image.new("LA", (8, 8), (0, 0)),
        Image.new("1", (8, 8), 1),
        Image.fromarray(np.full((8, 8), 65535, dtype=np.uint16)),
    ],
    ids=["grey", "RGB", "palette", "RGBA", "grey + alpha", "1 bit", "16 bits"],
)
def test_kinds_of_pictures(tmp_path, picture, channels):
    picture.save(tmp_path / "a.png")
    image = load(tmp_path, channels=channels)["image"]
    assert image.shape == (1, channels, 4, 4)
    assert torch.allclose(image, torch.ones(()))


def test_colours_become_luma_and_16_bits_keep_their_depth(tmp_path):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    assert read_picture(tmp_path / "red.png", 1).mean().item() == pytest.approx(2 * 0.299 - 1, abs=0.005)
    Image.fromarray(np.full((4, 4), 257 * 100 + 128, dtype=np.uint16)).save(tmp_path / "deep.png")
    value = (257 * 100 + 128) / 65535 * 2 - 1
    assert read_picture(tmp_path / "deep.png", 1).mean().item() == pytest.approx(value, abs=1e-6)


def test_orientation_is_honoured(tmp_path):
    pixels = np.zeros((4, 8, 3), dtype=np.uint8)
    pixels[:, :4] = 255  # the left half is white
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    exif[0x0112] = 6  # to be turned clockwise: left becomes top
    picture.save(tmp_path / "a.png", exif=exif)
    upright = read_picture(tmp_path / "a.png", 1)
    assert upright.shape == (1, 8, 4)
    assert (upright[:, :4] == 1).all() and (upright[:, 4:] == -1).all()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def file_of(picture, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(*more: tuple[int, int, int, bytes]) -> bytes:
    """EXIF: to be turned clockwise, and further tags (tag, type, count, value)."""
    entries = sorted([(0x0112, 3, 1, struct.pack(">HH", 6, 0)), *more])
    body = b"".join(struct.pack(">HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"MM\0\x2a" + struct.pack(">IH", 8, len(entries)) + body + bytes(4) + struct.pack(">II", 0, 0)


DAMAGED_EXIF = {
    "a text as resolution": turned((0x011A, 2, 4, b"abc\0")),
    "0/0 as resolution": turned((0x011A, 5, 1, struct.pack(">I", 38))),
    "NaN as software": turned((0x0131, 11, 1, struct.pack(">f", float("nan")))),
    "a directory that is nowhere": turned((0x8825, 4, 1, b"\xff\xff\xff\xff")),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("exif", DAMAGED_EXIF.values(), ids=DAMAGED_EXIF)
def test_a_picture_with_damaged_exif_is_read_and_turned(kind, exif):
    content = file_of(Image.new("RGB", (8, 4), "white"), kind, exif=b"Exif\0\0" + exif)
    upright = read_picture(io.BytesIO(content), 1)
    assert upright.shape == (1, 8, 4) and torch.allclose(upright, torch.ones(()))


DAMAGED_CHUNKS = {
    "a text that does not unpack": chunk(b"zTXt", b"k\0\5x"),
    "a text of 10 MB": chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10_000_000))),
    "a wrong checksum": chunk(b"tEXt", b"a\0b")[:-1] + b"?",
    "a short gamma": chunk(b"gAMA", b"1"),
    "a short profile": chunk(b"iCCP", b"n"),
}


@pytest.mark.parametrize("place", [33, -12], ids=["before the pixels", "after them"])
@pytest.mark.parametrize("damaged", DAMAGED_CHUNKS.values(), ids=DAMAGED_CHUNKS)
def test_a_png_with_damaged_chunks_is_read_and_turned(damaged, place):
    content = file_of(Image.new("L", (8, 4), 255), "PNG", exif=turned())
    content = content[:place] + damaged + content[place:]
    assert torch.equal(read_picture(io.BytesIO(content), 1), torch.ones(1, 8, 4))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_of_16_bits_is_written_and_read_in_full(tmp_path, channels):
    """Two pictures that differ by 1 / 65535, of which 8 bits see nothing."""
    values = np.random.default_rng(0).integers(0, 65535, (5, 7, channels), dtype=np.uint16)
    pictures = [values.squeeze(), (values + 1).squeeze()]
    for i, picture in enumerate(pictures):
        (tmp_path / f"{i}.png").write_bytes(deep_png.encode(picture))
        read = (read_picture(tmp_path / f"{i}.png", channels).double() + 1) * 65535 / 2
        assert np.allclose(read.permute(1, 2, 0).squeeze(-1 if channels == 1 else ()), picture, atol=0.02)
    with Image.open(tmp_path / "0.png") as file:
        assert np.array_equal(np.asarray(file), pictures[0] if channels == 1 else pictures[0] >> 8), (
            "as Pillow reads it"
        )
    assert load(tmp_path, channels=channels)["image"].shape == (2, channels, 4, 4)


@pytest.mark.parametrize(("colour", "values"), [(4, (30000, 32768)), (6, (30000, 30000, 30000, 32768))])
def test_a_half_transparent_png_of_16_bits_is_shown_on_white(colour, values):
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, colour, 0, 0, 0))
    row = b"\0" + struct.pack(f">{len(values)}H", *values)
    content += chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    alpha = 32768 / 65535
    shown = alpha * 30000 / 65535 + 1 - alpha
    assert read_picture(io.BytesIO(content), 1).item() == pytest.approx(2 * shown - 1, abs=1e-6)


@pytest.mark.parametrize("exif", [turned(), *DAMAGED_EXIF.values()], ids=["whole", *DAMAGED_EXIF])
@pytest.mark.parametrize("damaged", [b"", chunk(b"tEXt", b"a\0b")[:-1] + b"?"], ids=["", "a wrong checksum"])
def test_a_damaged_png_of_16_bits_is_read_and_turned(exif, damaged):
    content = deep_png.encode(np.full((4, 8, 3), 65535, dtype=np.uint16))
    content = content[:33] + chunk(b"eXIf", exif) + damaged + content[33:]
    assert torch.equal(read_picture(io.BytesIO(content), 3), torch.ones(3, 8, 4))


def test_a_png_of_16_bits_that_ends_early_fails_in_words(tmp_path):
    (tmp_path / "a.png").write_bytes(deep_png.encode(np.full((40, 80, 3), 7, dtype=np.uint16))[:60])
    ((id_, reason),) = load(tmp_path)["failed"]
    assert id_ == "a" and reason.startswith("cannot be read: ")


def test_a_png_whose_orientation_cannot_be_read_is_read_as_it_is():
    content = file_of(Image.new("L", (8, 4), 255), "PNG")
    content = content[:33] + chunk(b"eXIf", b"junk") + content[33:]
    assert torch.equal(read_picture(io.BytesIO(content), 1), torch.ones(1, 4, 8))


def test_damaged_segments_of_a_jpeg_and_tags_of_a_tiff():
    """A short JFIF header beside an EXIF that can be read; texts that lie outside the file, an XMP that is a number."""
    content = file_of(Image.new("L", (8, 4), 255), "JPEG", exif=b"Exif\0\0" + turned())
    content = content[:2] + b"\xff\xe0\0\x07JFIF\0" + content[2:]
    assert torch.equal(read_picture(io.BytesIO(content), 1), torch.ones(1, 8, 4))
    for tag in (270, 700):
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[tag], tags.tagtype[tag], tags[274] = (1, 2, 3), 4, 6
        content = file_of(Image.new("L", (8, 4), 255), "TIFF", tiffinfo=tags)
        assert torch.equal(read_picture(io.BytesIO(content), 1), torch.ones(1, 8, 4))


def test_nothing_of_pillow_and_libtiff_reaches_the_terminal(capfd, caplog):
    """A compressed TIFF with a tag that libtiff complains of."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[50838], tags.tagtype[50838] = (1, 2, 3), 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_picture(io.BytesIO(file_of(grey(), "TIFF", compression="tiff_lzw", tiffinfo=tags)), 1)
    assert capfd.readouterr() == ("", "") and not caplog.records
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


def test_threads_leave_standard_error_where_it_was(monkeypatch):
    """One that begins while another reads a TIFF, and ends after it; other pictures do not touch it."""
    before, kept = os.fstat(2), os.dup(2)
    entered, leave = threading.Event(), threading.Event()

    def reads():
        with pictures._no_standard_error():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=reads)
    try:
        with pictures._no_standard_error():
            thread.start()
            assert not entered.wait(0.2)
    finally:
        leave.set()
        thread.join()
        found = os.fstat(2)
        os.dup2(kept, 2)
        os.close(kept)
    assert os.path.samestat(before, found)
    monkeypatch.setattr(pictures, "_no_standard_error", None)
    read_picture(io.BytesIO(file_of(grey(), "PNG")), 1)
    with pytest.raises(TypeError):
        read_picture(io.BytesIO(file_of(grey(), "TIFF")), 1)


@pytest.mark.parametrize(
    ("bits", "colour", "row", "key", "expected"),
    [
        (16, 0, ">2H", (768,), [1, 769 / 65535 * 2 - 1]),
        (4, 0, ">B", (3,), [1, 9 / 15 * 2 - 1]),
        (16, 2, ">6H", (256, 256, 256), [1, 512 / 65535 * 2 - 1]),
    ],
    ids=["16-bit grey", "4-bit grey", "16-bit colours"],
)
def test_a_transparent_value_becomes_white(bits, colour, row, key, expected):
    """Two pixels, the first of which has the transparent value."""
    values = {">2H": (768, 769), ">B": (0x39,), ">6H": (256, 256, 256, 512, 512, 512)}[row]
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, bits, colour, 0, 0, 0))
    content += chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    content += chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(row, *values))) + chunk(b"IEND", b"")
    assert read_picture(io.BytesIO(content), 1).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_lab_is_read_as_colours_and_as_grey():
    content = file_of(Image.new("LAB", (4, 4), (128, 128, 128)), "TIFF")
    three, one = (read_picture(io.BytesIO(content), channels) for channels in (3, 1))
    assert three.mean().item() == pytest.approx(119 / 127.5 - 1, abs=0.01), "L* = 50.2 in sRGB"
    assert one.shape == (1, 4, 4) and one.mean().item() == pytest.approx(three.mean().item(), abs=0.01)


@pytest.mark.timeout(60)
def test_other_files_are_counted_and_a_fifo_is_never_opened(tmp_path, capsys):
    grey().save(tmp_path / "a.png")
    for name in ("b.heic", "c.heic", "notes.txt", ".hidden"):
        (tmp_path / name).write_text("")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "null.png").symlink_to("/dev/zero")
    assert load(tmp_path)["id"] == ["a"]
    message = capsys.readouterr().err
    assert "5 files of folder" in message and "(2 .heic, 2 .png, 1 .txt)" in message and message.count("\n") == 1
    data = ImageFolder(str(tmp_path), size=4, channels=1)
    data.trainer = SimpleNamespace(global_rank=1, world_size=2)
    data.setup("predict")
    assert capsys.readouterr().err == ""


def test_degraded_pictures_keep_their_size(tmp_path):
    grey((9, 5)).save(tmp_path / "a.png")
    batch = load(tmp_path, degraded=True, size=None)
    assert "image" not in batch and batch["measurement"].shape == (1, 1, 5, 9)


def test_fit_resize_keeps_the_whole_picture(tmp_path):
    """The longer side gets the size; a picture that is smaller keeps its own."""
    grey((80, 40)).save(tmp_path / "wide.png")
    grey((9, 5)).save(tmp_path / "small.png")
    data = ImageFolder(str(tmp_path), size=16, channels=1, fit="resize")
    data.setup("predict")
    found = {batch["id"][0]: tuple(batch["image"].shape[2:]) for batch in data.predict_dataloader()}
    assert found == {"wide": (8, 16), "small": (5, 9)}


@pytest.mark.parametrize("channels", [1, 3])
def test_fit_pad_mirrors_the_whole_picture_at_its_border(tmp_path, channels):
    for name, shape in (("wide", (10, 16)), ("small", (5, 9))):
        Image.fromarray(np.arange(shape[0] * shape[1], dtype=np.uint8).reshape(shape)).save(tmp_path / f"{name}.png")
    batch = load(tmp_path, size=16, channels=channels, fit="pad")
    small, wide = (batch["image"][batch["id"].index(name)] for name in ("small", "wide"))
    own = read_picture(tmp_path / "wide.png", channels)
    assert small.shape == wide.shape == (channels, 16, 16)
    assert torch.equal(wide, torch.cat([own[:, :3].flip(1), own, own[:, -3:].flip(1)], dim=1))
    assert torch.equal(small[:, 5:10, 3:12], read_picture(tmp_path / "small.png", channels))


@pytest.mark.parametrize(("size", "shapes"), [(None, {(5, 9), (40, 80)}), (4, {(4, 4)})])
def test_pictures_keep_their_size_for_a_prior_of_any_size(tmp_path, size, shapes):
    """Unless they are given one. Pictures of different sizes are in different batches."""
    for name, of in (("a", (80, 40)), ("b", (9, 5)), ("c", (80, 40))):
        grey(of).save(tmp_path / f"{name}.png")
    data, module = ImageFolder(str(tmp_path), size=size), RunModule()
    module.image_shape, module.any_size = (1, 8, 8), True
    data.trainer = SimpleNamespace(lightning_module=module, global_rank=0, world_size=1)
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert {tuple(batch["image"].shape[2:]) for batch in batches} == shapes
    assert sorted(id_ for batch in batches for id_ in batch["id"]) == ["a", "b", "c"]


def test_failures_have_a_reason_and_the_others_are_done(tmp_path):
    grey().save(tmp_path / "good.png")
    grey((3, 9)).save(tmp_path / "small.png")
    (tmp_path / "text.png").write_text("not a picture")
    Image.effect_noise((64, 64), 50).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:2000])
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "notes.txt").write_text("no image file at all")
    batch = load(tmp_path)
    assert batch["id"] == ["good"]
    reasons = dict(batch["failed"])
    assert set(reasons) == {"small", "text", "cut", "gone"}
    assert "3 x 9, smaller than the 4 x 4" in reasons["small"] and "rps.TiledPrior" in reasons["small"]
    assert "not a picture" in reasons["text"]
    assert all("cannot be read" in reasons[name] for name in ("text", "cut", "gone"))


def test_order_subfolders_hidden_files_and_links(tmp_path):
    outside = tmp_path / "outside"
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    outside.mkdir()
    for path in (folder / "sub" / "a.PNG", folder / "b.jpg", folder / ".hidden.png", outside / "c.png"):
        grey().save(path)
    (folder / "link.png").symlink_to(outside / "c.png")
    (folder / "linked_folder").symlink_to(outside)
    assert load(folder)["id"] == ["b", "link", "sub__a"]


@pytest.mark.parametrize(
    ("make", "options", "sentence"),
    [
        (lambda p: None, {}, "folder '.*pictures' does not exist; give a folder"),
        (lambda p: p.write_text(""), {}, "folder '.*pictures' is not a folder"),
        (lambda p: p.mkdir(), {}, "folder '.*pictures' contains no image files"),
        (lambda p: p.mkdir(), {"channels": 2}, "channels must be 1 .* or 3 .*, got 2"),
        (lambda p: p.mkdir(), {"size": 0}, "size must be at least 1 pixel, got 0"),
        (lambda p: p.mkdir(), {"size": 4, "degraded": True}, "degraded pictures are never resized"),
    ],
)
def test_what_cannot_be_used_at_all(tmp_path, make, options, sentence):
    make(tmp_path / "pictures")
    with pytest.raises(ValueError, match=sentence):
        load(tmp_path / "pictures", **options)


def test_the_prior_says_size_and_channels(tmp_path):
    grey().save(tmp_path / "a.png")
    data = ImageFolder(str(tmp_path))
    with pytest.raises(ValueError, match=r"has no prior .*; give size and channels"):
        data.setup("predict")
    module = type("Module", (RunModule,), {"image_shape": (3, 4, 8)})()
    data.trainer = SimpleNamespace(lightning_module=module, global_rank=0, world_size=1)
    data.setup("predict")
    assert next(iter(data.predict_dataloader()))["image"].shape == (1, 3, 4, 8)


def test_ids_are_different_safe_and_readable():
    names = [
        "a.png", "sub/a.png", "sub__a.png", "sub/_a.png", "sub_/a.png", "sub/__a.png", "_/_.png", "b.png", "b.jpg",
        "b.png.png", "B.png", "x..y.png", "50%.png", "50%25.png", "a:b.png", "a%3Ab.png", "grün.png", "a b (1).png",
        os.fsdecode(b"latin\xfc.png"), "line\nfeed.png", "d/e/f.png", "d/e__f.png", "d__e/f.png",
    ]  # fmt: skip
    ids = ids_of([PurePath(name) for name in names])
    by_name = dict(zip(names, ids, strict=True))
    assert len(set(ids)) == len(names)
    assert not any("/" in id_ or "\\" in id_ or ".." in id_ or "\n" in id_ for id_ in ids)
    assert all(id_.encode() for id_ in ids)
    assert by_name["sub/a.png"] == "sub__a" and by_name["a b (1).png"] == "a b (1)" and by_name["grün.png"] == "grün"
    assert by_name["b.jpg"] == "b.jpg" and by_name["B.png"] == "B"


def test_long_names_stay_different_and_short_enough():
    ids = ids_of([PurePath("ä" * 120, "ä" * 120, f"{i}.png") for i in range(3)])
    assert len(set(ids)) == 3 and all(len(id_.encode()) <= LONGEST for id_ in ids)


@pytest.mark.parametrize(
    ("before", "recorded", "now"),
    [(["a.png"], {"a"}, ["a.png", "a.jpg"]), (["a.png", "a.jpg"], {"a.png", "a.jpg"}, ["a.png"])],
)
def test_a_folder_whose_ids_have_changed_is_refused_when_a_run_resumes(tmp_path, before, recorded, now):
    """One more picture of that name, or one less; other pictures may come and go."""
    for names in ([*before, "b.png"], now):
        for path in tmp_path.iterdir():
            path.unlink()
        for name in names:
            grey().save(tmp_path / name)
        data = ImageFolder(str(tmp_path), size=4, channels=1)
        data.setup("predict")
        if names != now:
            data.check_recorded(recorded)
    with pytest.raises(ValueError, match="undo that, or give another --output"):
        data.check_recorded(recorded)


def test_runs_below_the_folder_are_no_data(tmp_path):
    """The second start of a run whose output lies among the pictures would take its own pictures for data."""
    for name in ("a.png", "sub/b.png", "run/images/0/a.png", "sub/run/grids/rank0_batch00000.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(tmp_path / name)
    for run in (tmp_path / "run", tmp_path / "sub" / "run"):
        RunDirectory(run).begin("model: {}", [])
    data = ImageFolder(str(tmp_path), size=8, channels=1)
    data.setup("predict")
    assert [sample[0] for sample in data.samples()] == ["a", "sub__b"]
    with pytest.raises(ValueError, match="is a run of rps; to read its pictures, give one of its folders in images/"):
        ImageFolder(str(tmp_path / "run"), size=8, channels=1).setup("predict")


def test_a_picture_that_was_renamed_since_it_was_restored_is_missed(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    data = ImageFolder(str(tmp_path), size=8, channels=1)
    data.setup("predict")
    assert data.place == str(tmp_path.resolve())
    data.check_recorded({"a", "b", "b (repeat 1)"})
    with pytest.raises(ValueError, match=r"has records of 'c', which folder .* no longer has; restore"):
        data.check_recorded({"a", "c"})
