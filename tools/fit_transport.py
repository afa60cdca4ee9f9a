"""Fit the map of rps.traversals.LatentTransport to the saved pictures of a run.

    rps predict --config demo --config embedded/sr4 --model.t0 0 --data.skip 500 --data.limit 256 --output runs/fit_sr4
    python tools/fit_transport.py runs/fit_sr4 --output sr4.safetensors

The run restores images that will not be evaluated, by the estimator alone. Its restored and its clean pictures are
encoded; the file has the means and covariances of both sets of latents, and the ids of the images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from rps.priors import EmbeddedLatentPrior, LatentPrior
from rps.records import check_has_records, level_name
from rps.records.files import file_name, picture_file
from rps.records.reader import read_records
from rps.report import read_saved
from rps.traversals.latent_map import LatentMap


@torch.no_grad()
def latents(prior: LatentPrior, folder: Path, ids: list[str]) -> Tensor:
    """The latents of the pictures of these samples.  -> [N, c, h, w]."""
    pictures = [read_saved(picture_file(folder, file_name(id_)), prior.image_shape) for id_ in ids]
    return torch.cat([prior.encode(2 * x - 1) for x in torch.stack(pictures).split(64)])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", type=Path, help="a run with pictures of a data set with clean images")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--level", type=float, default=0, help="the level of RUN that is the estimate")
    parser.add_argument("--autoencoder", help="folder or hub name of a latent model; default the embedded one")
    parser.add_argument("--patch", type=int, default=1, help="p: patches of p x p places")
    a = parser.parse_args(arguments)
    try:
        check_has_records(a.run)
        records = read_records(a.run)
        if a.level not in records.levels:
            raise ValueError(f"{a.run} has no level {level_name(a.level)}; it has {records.levels}")
        ids = [id_ for id_, row in records.rows["restored", a.level].items() if row.status == "ok"]
        prior = LatentPrior.from_pretrained(a.autoencoder) if a.autoencoder else EmbeddedLatentPrior()
        sets = [latents(prior, a.run / "images" / name, ids) for name in (level_name(a.level), "reference")]
        LatentMap.fit(*sets, a.patch, ids).save(a.output)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"{len(ids)} images of {a.run}: {a.output}")


if __name__ == "__main__":
    main()
