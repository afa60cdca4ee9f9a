"""Measure resident memory and time per sample during a long run over many embedded samples.

    python tools/soak.py --samples 2000 --output runs/soak        # about half an hour on two CPU cores
    python tools/soak.py --merge-only 100000 --output runs/merge  # the cost of merging so many records; no network

Prints a markdown table with a line every --mark samples, and the size of the run directory at the end. The curve is
tiny (two levels, the second with a few steps), because only records, pictures and memory matter here.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import lightning as L

from datamodules import Embedded, SampleDataModule
from modules import MapRps
from rps.callbacks import GridWriter, ImageWriter, MetricRecorder
from rps.estimators import MapEstimator
from rps.metrics import EmbeddedFeatures
from rps.operators import SuperResolution
from rps.priors import EmbeddedPrior
from rps.records import RecordWriter, Row, levels_left, outcomes
from rps.report import finish

MB = 2**20


class Again(SampleDataModule):
    """The embedded images, repeated without end under new names."""

    def samples(self) -> Iterator:
        for turn in itertools.count():
            for name, read, _ in Embedded(limit=None).samples():
                yield f"{turn}-{name}", read


class Marks(L.Callback):
    """Prints a line of the table after every `every` samples."""

    def __init__(self, every: int) -> None:
        self.every, self.count, self.next = every, 0, every

    def on_predict_start(self, *_: object) -> None:
        self.since = time.monotonic(), time.process_time()
        print("| samples | resident MB | seconds per sample | CPU seconds per sample |\n|---:|---:|---:|---:|")
        print(f"| 0 | {resident():.0f} | | |", flush=True)

    def on_predict_batch_end(self, trainer: object, module: object, outputs: object, *_: object) -> None:
        self.count += len(outputs.ids)  # type: ignore[attr-defined]
        if self.count >= self.next:
            now = time.monotonic(), time.process_time()
            wall, cpu = ((after - before) / self.every for after, before in zip(now, self.since, strict=True))
            print(f"| {self.count} | {resident():.0f} | {wall:.3f} | {cpu:.3f} |", flush=True)
            self.since, self.next = now, self.next + self.every


def resident() -> float:
    """Current resident memory of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MB


def soak(samples: int, batch_size: int, mark: int, output: Path) -> None:
    module = MapRps(
        EmbeddedPrior(), SuperResolution(4), 0.1, t0=[0, 2], steps=1000, estimator=MapEstimator(num_steps=2)
    )
    callbacks = [Marks(mark), MetricRecorder(features=EmbeddedFeatures()), ImageWriter(), GridWriter()]
    trainer = L.Trainer(
        callbacks=callbacks, default_root_dir=output, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_model_summary=False, enable_progress_bar=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.predict(module, datamodule=Again(batch_size, limit=samples), return_predictions=False)


def merge_only(samples: int, levels: int, batch_size: int, output: Path) -> None:
    """Writes and merges records without a run and without features; metrics depend on the position."""
    writer, start = RecordWriter(output), time.monotonic()
    values = {"rmse": 0.1, "psnr": 20.0, "ssim": 0.5, "consistency": 1.0, "residual_rms": 0.1}
    for first in range(0, samples, batch_size):
        ids = [f"{i:09d}" for i in range(first, min(first + batch_size, samples))]
        metrics = [{k: v + int(id_) % 97 / 1e3 for k, v in values.items()} for id_ in ids]
        rows = [Row(id_, level, metrics=m) for level in range(levels) for id_, m in zip(ids, metrics, strict=True)]
        writer.write(rows, "t0")
    print(f"written in {time.monotonic() - start:.1f} s, resident {resident():.0f} MB")
    for what, job in (
        ("which samples are done", lambda: levels_left(outcomes(output))),
        ("finish", lambda: finish(output)),
    ):
        start = time.monotonic()
        job()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{what}: {time.monotonic() - start:.1f} s, peak resident {peak:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--mark", type=int, default=200, help="samples between two lines")
    parser.add_argument("--merge-only", type=int, metavar="SAMPLES", help="only write and merge this many records")
    parser.add_argument("--levels", type=int, default=5, help="levels, with --merge-only")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    given = parser.parse_args()
    if given.output.exists():
        parser.error(f"{given.output} exists; give a new folder")
    if given.merge_only:
        merge_only(given.merge_only, given.levels, given.batch_size, given.output)
    else:
        soak(given.samples, given.batch_size, given.mark, given.output)
    for folder in ("records", "features", "images", "grids"):
        sizes = [path.stat().st_size for path in (given.output / folder).rglob("*") if path.is_file()]
        if sizes:
            print(f"{folder}: {len(sizes)} files, {sum(sizes) / MB:.2f} MB")


if __name__ == "__main__":
    main()
