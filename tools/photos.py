"""Collect free photographs from Debian packages, for the photo prior: patches of them are what it is trained on.

apt download gcompris-qt-data lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 libjxl-testdata
for deb in *.deb; do dpkg -x $deb packages; done
python tools/photos.py packages --output runs/photos       # PNGs, and ATTRIBUTION.md with author, licence and source

Kept are photographs whose licence, in the package's machine-readable copyright file (DEP-5), is CC0, CC BY, CC BY-SA
or the public domain; pictures that such a package draws (icons, letters, posters) are left out by name.
"""

from __future__ import annotations

import argparse
import io
import re
import struct
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from PIL import Image

FREE = re.compile(r"CC0|CC-BY-\d|CC-BY-SA|public-domain")
DRAWN = re.compile(r"analogpattern|Painting|Fossa|Infinite|umang|wide-gamut|/tools/|/others/|/alphabets/|/numbers/")
ACTIVITIES = ("categorization", "explore_world_animals")  # of GCompris: those with photographs by others
LONG_SIDES = {"lomiri-wallpapers": (768, 384), "gcompris": (512,), "libjxl": (500,)}  # pixels of the saved pictures
SMALL = 200  # the long side of pictures of less than 512 pixels, whose compression shows at full size


def copyrights(root: Path, package: str) -> list[tuple[str, str, str, str]]:
    """(pattern of file names, author, licence, source) of the paragraphs of a DEP-5 file, in its order."""
    text = (root / f"usr/share/doc/{package}/copyright").read_text()
    rows = []
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Z][\w-]*):\s*((?:.|\n[ \t])*)", paragraph, re.M))
        for pattern in fields.get("Files", "").split():
            author, licence = fields.get("Copyright", ""), fields.get("License", "").split("\n")[0]
            rows.append((pattern, " ".join(author.split()), licence, " ".join(fields.get("Comment", "").split())))
    return rows


def qt_resources(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the uncompressed files in a Qt resource bundle (header qres, a tree of nodes, names, data)."""
    raw = path.read_bytes()
    version, tree, data, names = struct.unpack(">4I", raw[4:20])
    node = 22 if version >= 2 else 14

    def walk(index: int, folder: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * index
        name_at, flags = struct.unpack(">IH", raw[at : at + 6])
        length = struct.unpack(">H", raw[names + name_at : names + name_at + 2])[0] if index else 0
        name = folder + raw[names + name_at + 6 : names + name_at + 6 + 2 * length].decode("utf-16-be")
        if flags & 2:  # a folder
            count, child = struct.unpack(">2I", raw[at + 6 : at + 14])
            for i in range(child, child + count):
                yield from walk(i, name + "/" * bool(index))
        elif not flags & 5:  # neither zlib nor zstd
            offset = data + struct.unpack(">I", raw[at + 10 : at + 14])[0]
            size = struct.unpack(">I", raw[offset : offset + 4])[0]
            yield name, raw[offset + 4 : offset + 4 + size]

    return walk(0, "")


def pictures(root: Path, package: str) -> Iterator[tuple[str, bytes]]:
    """(name as in the package's source, content) of the pictures of a package."""
    if package.startswith("gcompris"):
        for activity in ACTIVITIES:
            for name, content in qt_resources(root / f"usr/share/gcompris-qt/rcc/{activity}.rcc"):
                yield name.removeprefix("gcompris/"), content
        return
    top = {"libjxl-testdata": "usr/share/libjxl-testdata"}.get(package, "usr/share/backgrounds")
    for file in sorted((root / top).rglob("*")):
        if file.suffix in (".jpg", ".png"):
            yield file.relative_to(root / top).as_posix(), file.read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="folder that the packages were unpacked into")
    parser.add_argument("--output", type=Path, required=True)
    a = parser.parse_args()
    a.output.mkdir(parents=True, exist_ok=True)
    lines = ["| picture | author | licence | source |", "|---|---|---|---|"]
    for package in sorted(file.parent.name for file in a.root.glob("usr/share/doc/*/copyright")):
        rows = copyrights(a.root, package)
        sides = next((v for k, v in LONG_SIDES.items() if package.startswith(k)), (512,))
        for name, content in pictures(a.root, package):
            # Packages convert pictures and move folders: the name without its suffix, or below another folder, decides.
            path = PurePosixPath(name)
            matching = [row for row in rows if fnmatch(str(path.with_suffix("")), "*" + row[0].rsplit(".", 1)[0])
                        or row[0].endswith(f"/{path.name}")]  # fmt: skip
            if not matching or not FREE.match(matching[-1][2]) or DRAWN.search(name):
                continue
            try:
                image = Image.open(io.BytesIO(content)).convert("RGB")
            except OSError:
                continue
            if min(image.size) < 140:
                continue
            for side in sides if max(image.size) >= 500 else (SMALL,):
                scaled = image.copy()
                scaled.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)
                scaled.save(a.output / f"{package.split('-')[0]}_{path.stem}_{side}.png")
            lines.append(f"| {name} | {' | '.join(matching[-1][1:])} |")
    (a.output / "ATTRIBUTION.md").write_text("\n".join(lines) + "\n")
    print(f"{len(lines) - 2} photographs: {a.output}")


if __name__ == "__main__":
    main()
