"""The command `rps`. Heavy modules are imported only once there is something to run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from rps import __version__
from rps.cli import signals, streams

HELP = """\
usage: rps predict --config NAME_OR_FILE --output DIR [options]
       rps evaluate RUN [--metric CLASS] [--lpips NET] [--features CLASS] [--reference FILE]
       rps merge DIR
       rps compare DIR DIR ... [--levels A:B,...] [--output FILE_OR_FOLDER]
       rps recommend DIR (--max-METRIC X | --min-METRIC X | --knee)
       rps report DIR [DIR ...] [--output FILE] [--standalone]
       rps study FILE --output DIR [options]
       rps tune --config NAME_OR_FILE --over OPTION=VALUES --output DIR [options]
       rps demo [--port N] [options]
       rps --version | --help

Restore images with a diffusion prior along the distortion-perception curve.

  rps predict --config demo --output runs/demo
  rps predict --config demo --config embedded/inpaint --output runs/inpaint --data.limit 8 --seed 1
  rps predict --config photos --data.folder my_photos --output runs/photos
  rps evaluate runs/demo --lpips vgg
                                 other metrics of the pictures that are saved; see rps evaluate --help
  rps merge runs/demo            rebuild table, curve and page from the records so far, even during a run
  rps compare runs/a runs/b      paired differences between runs; see rps compare --help
  rps report runs/demo --standalone --output demo.html
                                 the page of a run, or of several, as one file; see rps report --help
  rps recommend runs/demo --max-rmse 0.105
                                 the most realistic level within a bound; see rps recommend --help
  rps study step_size --output runs/steps
                                 the runs of a file, one table and one figure; see rps study --help
  rps tune --config demo --over model.sampler.step_size=0.01:10:log --output runs/tuned
                                 the best settings for few pictures, clean or not; see rps tune --help
  rps demo                       a page on this machine to drop a picture on; see rps demo --help

options of rps predict:
  --config FILE     a YAML file or the name of a packaged config (demo, embedded/sr4, ...); several are merged in the
                    order given, the last one wins, and flags win over all of them; a config names the classes to
                    run, so use only configs that you trust
  --output DIR      the run directory (trainer.default_root_dir); an earlier run of the same config in it is resumed,
                    on any number of processes; with other levels or other samples it is extended: what is missing is
                    restored, and nothing is lost
  --overwrite       replace an earlier run in DIR: its files are kept until the new run has restored its first batch,
                    and only files that a run has written are removed
  --retry_failed    when resuming a run, retry the samples that failed
  --seed N          seed of all random numbers (model.seed); default 0
  --stage1 DIR      read the estimates of stage 1 from DIR, and write those that are not there: runs that differ only
                    in stage 2 compute them once; results and recorded costs are those of a run alone
  --metric CLASS    an additional metric, from rps.metrics or your own; may be repeated
  --data.folder DIR your own pictures instead of the configured data; --data.degraded true if they are measurements,
                    whose noise --model.noise null estimates
  --print_config    print every value that can be set, and exit
  --model.KEY, --data.KEY, --trainer.KEY VALUE
                    set any value of the model, the data or the Lightning Trainer: --model.t0 '[0,50,100]',
                    --data.batch_size 4, --trainer.devices 2, --model.operator my_module.MyOperator,
                    --trainer.callbacks+=my_module.MyCallback; names of our classes in any case: --model.sampler dps
  --trainer.callbacks.NAME.OPTION VALUE
                    set an option of one callback, by its class: --trainer.callbacks.GridWriter.max_grids 4
  --trainer.logger CLASS
                    send figures, curve and grids to a logger of Lightning: CSVLogger, TensorBoardLogger, WandbLogger,
                    MLFlowLogger, or a list of them; the step is the level, files go to DIR/logs
  --model.help CLASS, --data.help CLASS
                    print the arguments of a class: a module, operator, prior, estimator, sampler, ..., in any case,
                    e.g. --model.help MapRps, --model.help dps

exit codes: 0 all done; 2 invalid input; 3 done, but some samples failed or shared an id, or none was restored; 130
interrupted; 143, 129, 138 ended by SIGTERM, SIGHUP, SIGUSR1; 1 a bug, or another process or the run directory was
lost; 137 killed, also when one process of a run fails while the others start. Set RPS_DEBUG=1 to see the traceback of
an error.
"""


EARLY = {
    "predict": "interrupted before the run began; nothing was written",
    "study": "interrupted between runs, which are kept; the same command resumes",
}
"""Command -> what a signal prints that comes before a run can handle it."""


COMMANDS = ("predict", "evaluate", "merge", "compare", "recommend", "report", "study", "tune", "demo")
"""Each is run by the function run_COMMAND of its module, which raises ValueError or OSError for bad input."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.  argv: the arguments after `rps`; None uses sys.argv.  -> the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    predicts = arguments[:1] == ["predict"]
    early = EARLY.get(arguments[0] if arguments else "", "interrupted")
    with streams.unbreakable() as out, signals.stoppable(early):
        try:
            code = _run(arguments)
            out.flush()
        except KeyboardInterrupt:
            streams.say(early)
            return 130
        if out.error is None:
            return code
        streams.say(f"error: standard output cannot be written ({out.error.strerror}); what was printed is incomplete")
        return code if predicts else code or 2


def _run(arguments: list[str]) -> int:
    command = arguments[0] if arguments else "--help"
    asks = {"-h", "--help"} & set(arguments)
    if command in ("-h", "--help") or (command == "predict" and asks):
        print(HELP, end="")
        return 0
    if command == "--version":
        print(f"rps {__version__}")
        return 0
    if command not in COMMANDS:
        streams.say(f"error: {command!r} is not a command; try rps predict, or rps --help")
        return 2
    module = import_module(f"rps.cli.{command}")
    if asks:
        print(module.HELP, end="")
        return 0
    try:
        return getattr(module, f"run_{command}")(arguments[1:])
    except (ValueError, OSError) as error:
        from rps.cli.errors import sentence

        streams.say(f"error: {sentence(error)}")
        return 2
