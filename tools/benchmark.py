"""Measure time and memory: see `benchmark.py COMMAND --help` and docs/benchmarks.md.

python tools/benchmark.py overhead                             # every method, on the embedded priors
python tools/benchmark.py options                              # dtype, speed.*, checkpointing
python tools/benchmark.py memory                               # one image each; minutes per line on two cores
python tools/benchmark.py ratios                               # for --model.relative_cost
python tools/benchmark.py peers                                # needs deepinv
python tools/benchmark.py overhead --device cuda --dtype bfloat16 --cases ffhq-256 sd-1.5-512 --images 4
python tools/benchmark.py memory --device cuda --dtype float16
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks.cases import CASES
from benchmarks.memory import memory
from benchmarks.options import options
from benchmarks.overhead import overhead
from benchmarks.peers import peers
from benchmarks.ratios import ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(job: Callable[..., None], images: int = 0, **numbers: int) -> argparse.ArgumentParser:
        text = sys.modules[job.__module__].__doc__
        raw = argparse.RawDescriptionHelpFormatter
        one = commands.add_parser(job.__name__, description=text, formatter_class=raw)
        one.set_defaults(job=job)
        if images:
            one.add_argument("--images", dest="number", type=int, default=images)
        for name, default in numbers.items():
            one.add_argument(f"--{name}", type=int, default=default)
        return one

    o = command(overhead, images=64, repeats=3)
    o.add_argument("--only", nargs="+", default=[], help="names of methods")
    o.add_argument("--cases", nargs="+", choices=CASES, default=["embedded", "embedded-latent"])
    m = command(memory)
    m.add_argument("--batch-sizes", type=int, nargs="+", default=[1])
    m.add_argument("--cases", nargs="+", choices=CASES, default=[name for name in CASES if "embedded" not in name])
    r = command(ratios, repeats=15)
    r.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 8, 64])
    r.add_argument("--cases", nargs="+", choices=CASES, default=["embedded", "embedded-latent"])
    p = command(options, images=64, repeats=3)
    p.add_argument("--cases", nargs="+", choices=CASES, default=["embedded", "embedded-latent"])
    command(peers, images=16, steps=50, repeats=2)
    for each in (o, m, p, r):
        each.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    for each in (o, m, r):
        each.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    given = vars(parser.parse_args())
    given.pop("command")
    given.pop("job")(**given)


if __name__ == "__main__":
    main()
