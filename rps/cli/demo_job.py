"""What `rps demo` does with a picture: its measurement, and its restoration level by level."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from rps.estimators import ProximalMap
from rps.estimators.store import EstimateStore
from rps.measurement import Measurement, degrade, measured
from rps.metrics import Candidate, as_saved, psnr
from rps.metrics.plausibility import NoiseRatio
from rps.operators import Denoise, GaussianBlur, Jpeg, MaskFile, Operator, SuperResolution
from rps.pictures.reading import picture_size, read_picture
from rps.priors import Prior
from rps.records.files import file_name
from rps.report.pictures import pixels, save_picture
from rps.traversals import MapRps


class Task(NamedTuple):
    """What happened to a picture.

    operator: of a number and the file of the mask. number: what the number is. range: its least and largest value, and
    its step. value, noise: defaults of the number and the noise; None estimates the noise.
    """

    operator: Callable[[float, str], Operator]
    number: str = ""
    range: tuple[float, float, float] = (0, 1, 1)
    value: float = 0
    noise: float | None = 0.02


TASKS = {
    "A part is missing": Task(lambda _, mask: MaskFile(mask)),
    "It is too small": Task(lambda factor, _: SuperResolution(int(factor)), "factor to enlarge by", (2, 8, 1), 4),
    "It is blurred": Task(
        lambda std, _: GaussianBlur(2 * round(3 * std) + 1, std), "width of the blur, in pixels", (0.5, 5, 0.25), 2
    ),
    "It is noisy": Task(lambda *_: Denoise(), noise=None),
    "It has JPEG artefacts": Task(lambda quality, _: Jpeg(int(quality)), "JPEG quality", (1, 95, 1), 10, 0.0),
}
PAINTED = "A part is missing"


@dataclass(frozen=True)
class Job:
    """A picture to restore, and how.

    picture, mask: files; the mask has the missing pixels dark and all others white or transparent. clean: whether the
    picture is degraded first. task: a key of TASKS, with its number. noise: its standard deviation; None estimates it.
    name: what the names of the results begin with.
    """

    picture: Path
    mask: Path | None
    task: str
    number: float
    noise: float | None
    prior: str
    clean: bool = False
    steps: int = 50
    seed: int = 0
    name: str = "picture"


class Stopped(Exception):
    """The user stopped a restoration."""


@dataclass
class Demo:
    """Restores pictures, one at a time.

    priors: name -> how to load it. folder: for results and estimates of stage 1. largest: largest height and width of a
    restoration, in pixels; larger pictures are reduced. stopped: set it to end what is running.
    """

    priors: Mapping[str, Callable[[], Prior]]
    folder: Path
    largest: int
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.prior = cache(lambda name: self.priors[name]().eval().requires_grad_(False).to(self.device))

    def measurement(self, job: Job) -> tuple[Measurement, Tensor | None]:
        """y, and the clean picture if there is one.  Errors: ValueError."""
        if job.task == PAINTED:
            known = [] if job.mask is None else (read_picture(job.mask, 1) > 0).unique().tolist()
            if known != [False, True]:
                amount = "everything" if known == [False] else "nothing"
                raise ValueError(f"{amount} is painted; paint over what is missing, or choose what else happened")
        channels = self.prior(job.prior).image_shape[0]
        operator = TASKS[job.task].operator(job.number, str(job.mask))
        factor = 1 if job.clean else operator.image_shape_of((channels, 1, 1))[1]
        most = max(self.largest // factor, 1)
        x = read_picture(job.picture, channels, (most, most), fit="resize")[None].to(self.device)
        if job.clean:
            if job.noise is None:
                raise ValueError("noise is estimated of degraded pictures only; give the noise that this one gets")
            return degrade(x, operator, job.noise, seed=job.seed), x
        shape = operator.image_shape_of((channels, x.shape[2], x.shape[3]))
        return measured(x, operator, job.noise, shape, seed=job.seed), None

    def restore(
        self, job: Job, levels: Sequence[int], progress: Callable[[float, str], None] = lambda *_: None
    ) -> Iterator[tuple[int | None, Path, str]]:
        """Restores at each level, upwards: (level, its picture, a line about it), each as soon as it is there, after
        (None, A^+ y, a line about y). The pictures are those of one run with micro_batch = 1.

        Whoever stops it from this call on stops it. progress: is given the fraction of a level that is done, and what
        is being done. Errors: ValueError; Stopped.
        """
        self.stopped.clear()
        return self._restored(job, levels, progress)

    def _restored(
        self, job: Job, levels: Sequence[int], progress: Callable[[float, str], None]
    ) -> Iterator[tuple[int | None, Path, str]]:
        measurement, clean = self.measurement(job)
        prior, folder = self.prior(job.prior), Path(tempfile.mkdtemp(dir=self.folder))
        store = EstimateStore(self.folder / "stage1", job.prior)
        method = MapRps(sorted(levels), store.serve(ProximalMap()), steps=job.steps, micro_batch=1)

        def saved(part: str, image: Tensor, about: str) -> tuple[Path, str]:
            if not bool(image.isfinite().all()):
                raise ValueError(f"the restoration diverged at {about}; check what happened, and the noise")
            if clean is not None:
                about += f", PSNR {float(psnr(as_saved(image), as_saved(clean))):.1f} dB"
            path = folder / f"{file_name(job.name)}_{part}.png"
            save_picture(pixels(as_saved(image)[0]), path)
            return path, about

        _, height, width = measurement.image_shape
        h, w = picture_size(job.picture) or (height, width)
        about = f"{width} x {height} pixels from {w} x {h}, noise {measurement.noise_std:.3g}{_doubt(measurement)}"
        yield None, *saved("degraded", measurement.operator.pinv(measurement.y, 0.1), about)
        for level in sorted(levels):
            part, done = method.only([level]), 0
            calls = max(part.network_calls_per_image(prior), 1)

            def advanced(what: str, number: int, of: int = level, calls: int = calls) -> None:
                nonlocal done
                if self.stopped.is_set():
                    raise Stopped
                done += number
                progress(min(done / calls, 1.0), f"t0 = {of}, {what}")

            image = part.run(measurement, prior, advanced).images[level]
            yield level, *saved(f"t0_{level}", image, f"t0 = {level}")


def _doubt(measurement: Measurement) -> str:
    """What is implausible about a measurement, in words; nothing if there is no doubt."""
    ratio = NoiseRatio().judge(Candidate(measurement.y, measurement.y, measurement))
    (low, less), (high, more) = NoiseRatio.low, NoiseRatio.high
    return "" if ratio is None else f". Check: {less}" if ratio < low else f". Check: {more}" if ratio > high else ""
