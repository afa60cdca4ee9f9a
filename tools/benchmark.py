"""Measure time and memory: see `benchmark.py COMMAND --help` and docs/benchmarks.md.

python tools/benchmark.py overhead                             # every method, on the embedded priors
python tools/benchmark.py options                              # dtype, speed.*, checkpointing
python tools/benchmark.py memory                               # one image each; minutes per line on two cores
python tools/benchmark.py peers                                # needs deepinv
python tools/benchmark.py overhead --device cuda --dtype bfloat16 --cases ffhq-256 sd-1.5-512 --images 4
python tools/benchmark.py memory --device cuda --dtype float16
"""

from __future__ import annotations

import argparse

from benchmarks import memory, options, overhead, peers
from benchmarks.cases import CASES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(module, **defaults) -> argparse.ArgumentParser:
        name = module.__name__.rpartition(".")[2]
        return_ = commands.add_parser(
            name, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        return_.set_defaults(run=getattr(module, name))
        for option, value in defaults.items():
            return_.add_argument(f"--{option}", type=type(value), default=value)
        return return_

    o = command(overhead, images=64, repeats=3)
    o.add_argument("--only", nargs="+", default=[], help="names of methods")
    o.add_argument("--cases", nargs="+", choices=CASES, default=["embedded", "embedded-latent"])
    m = command(memory)
    m.add_argument("--batch-sizes", type=int, nargs="+", default=[1])
    m.add_argument("--cases", nargs="+", choices=CASES, default=[name for name in CASES if "embedded" not in name])
    p = command(options, images=64, repeats=3)
    command(peers, images=16, steps=50, repeats=3)
    for each in (o, m, p):
        each.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    for each in (o, m):
        each.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"])
    given = vars(parser.parse_args())
    given.pop("command")
    given.pop("run")(**given)


if __name__ == "__main__":
    main()
