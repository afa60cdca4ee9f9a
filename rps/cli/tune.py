"""rps tune: looks for settings of a prior, an operator and data with few pictures."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rps.bounded_yaml import load_yaml
from rps.cli import arguments, processes, signals
from rps.cli.errors import InputError, SentenceParser, report
from rps.cli.predict import Run, to_its_end
from rps.cli.quiet import quiet
from rps.cli.streams import say, show, show_written

if TYPE_CHECKING:
    from rps.cli.trials import TrialCli
    from rps.tuning.objective import Objective
    from rps.tuning.search import Search

HELP = """\
usage: rps tune --config NAME_OR_FILE --over OPTION=VALUES [--over ...] --output DIR [options of rps predict]

Look for the best values of some settings, with few pictures. Configs and options are those of rps predict.

  rps tune --config demo --config embedded/inpaint --data.limit 32 --model.t0 '[200]' \\
      --over model.sampler.step_size=0.01:10:log --objective rmse,sqrt_frechet --output runs/tuned
  rps tune --config demo --data.folder small_photos --data.degraded true --over model.estimator.num_steps=10,20,40 \\
      --objective fission --output runs/tuned_blind

options:
  --over OPTION=VALUES   an option of the model and its values; may be repeated. LOW:HIGH is a range, LOW:HIGH:log one
                         that is searched in the logarithm, LOW:HIGH:int one of integers, A,B,C a list. If all options
                         have lists, every combination is tried once
  --over FILE            a YAML file that maps options to values
  --objective NAME       a metric of the run (rmse, psnr, ssim, ...; --metric Lpips adds lpips), sqrt_frechet or kernel,
                         or a product of metrics with commas between: rmse,sqrt_frechet; default rmse. Without clean
                         pictures fission or held_out, see below. It is the mean over the levels of the run
  --trials N             number of trials, earlier ones included; default 20
  --processes N          number of processes on this machine; or start the same command several times; default 1
  --no_pruning           complete hopeless trials too; network calls then take whole batches (--data.batch_size)
  --tau T                of fission; default 0.5
  --share S              of held_out; default 0.1
  --output DIR           the folder of the search; the same command resumes one, also with more trials
  --seed N               seed of the search and of all random numbers of the model; default 0

fission adds noise to the measurement y and keeps what it takes away: with w ~ N(0, sigma^2 I), y+ = y + tau w is
restored and the result x is compared with y- = y - w / tau, whose noise is independent of that of y+. held_out does the
same with a share of the pixels that a mask measures. Both estimate the mean squared error of A(x) without clean
pictures. They see nothing that A does not measure, and say nothing about how real the images look.

The first trial has the configured settings, which are kept if they are within one standard error of the best, paired
over the pictures: the lead of the best of many is in part luck. A trial that is worse after a part of the pictures than
half of the others ends early. The search writes DIR/trials.md, trials.json and trials.png, and DIR/best.yaml, a config
to merge after the others; and prints the command to run next. Needs optuna: pip install 'optuna>=4'.

exit codes: 0 done; 2 invalid input, or no trial was completed; 130 interrupted.
"""

TASK = ("model.operator", "model.noise", "model.seed")
"""Options of the model that define the task, so that trials with different values cannot be compared."""


def run_tune(argv: Sequence[str]) -> int:
    """Runs `rps tune`.  argv: the arguments after it.  -> the exit code."""
    return to_its_end(Tune(argv))


class Tune(Run):
    """One call of `rps tune`, whose runs are trials in this process and have no run directory."""

    search: dict[str, Any]

    def main(self) -> int:
        self.given, self.rest = parser().parse_known_args(self.argv)
        base = arguments.read(self.rest)
        self._check(base)
        from rps.tuning.space import read_space

        self.space = read_space(self.given.over)
        for option in self.space:
            if not option.startswith("model.") or any(f"{option}.".startswith(f"{name}.") for name in TASK):
                raise InputError(f"--over {option}: only settings of the method may be searched, not its task or data")
        quiet()
        from rps.cli.trials import TrialCli
        from rps.metrics.standard import DISTORTION
        from rps.tuning.folder import begin
        from rps.tuning.results import line, value_at
        from rps.tuning.search import Search

        self.given.objective = self.given.objective or DISTORTION
        cli = TrialCli(base, self.open)
        self._check_space(cli)
        objective = cli.objective(self.given.objective, self.given.tau, self.given.share)
        batches = cli.batches(whole=self.given.no_pruning)
        config = cli.config.as_dict()
        start = {option: value_at(option, config) for option in self.space}
        seed = value_at("model.seed", config)
        begin(self.folder, self.search)
        seed = seed if isinstance(seed, int) else 0
        search = Search(self.folder, self.space, objective.better, seed, not self.given.no_pruning, start)
        count, done = sum(len(batch["id"]) for batch in batches), len(search.trials())
        trials = f"{done} trial{'s are' if done != 1 else ' is'} done"
        say(f"{objective.title}, {objective.better} is better, of {count} pictures; {trials}")
        for limit in objective.limits:
            say(limit)
        signals.heed()
        self.started = True
        with processes.copies(["tune", *self.argv, "--processes", "1"], self.given.processes - 1):
            search.run(
                lambda settings: cli.measure(settings, batches, objective),
                self.given.trials,
                lambda trial: say(line(trial, self.space, objective)),
            )
        return self.finish(cli, search, objective)

    def _check(self, base: arguments.Arguments) -> None:
        """Errors: InputError for what can be seen before anything is imported."""
        if base.overwrite or base.retry_failed:
            raise InputError("rps tune has no --overwrite and no --retry_failed; the same command resumes a search")
        for name in ("trials", "processes"):
            if getattr(self.given, name) < 1:
                raise InputError(f"--{name} must be at least 1, got {getattr(self.given, name)}")
        if find_spec("optuna") is None:
            raise InputError("rps tune needs the package optuna, which is not installed; pip install 'optuna>=4'")

    def _check_space(self, cli: TrialCli) -> None:
        """Errors: InputError for unknown options, and for values that they do not take."""
        from rps.tuning.space import Range

        try:
            cli.parsed({option: values.first for option, values in self.space.items()})
        except InputError as error:
            for option, values in self.space.items():
                if isinstance(values, Range) and str(error).startswith(f"{option} must be int"):
                    raise InputError(f"--over {option}={values}: {option} takes integers; give {values}:int") from error
            raise

    def open(self, base: arguments.Arguments, config: Any, dumped: str) -> None:
        """Checks the folder between parsing and building, so that an unusable one is reported first."""
        from rps.tuning.folder import check

        if not config.trainer.default_root_dir:
            raise InputError("there is no --output; give the folder of the search, e.g. --output runs/tuned")
        self.folder = Path(config.trainer.default_root_dir)
        over = {option: str(values) for option, values in self.space.items()}
        defining = {name: getattr(self.given, name) for name in ("objective", "tau", "share")}
        self.search = {"config": load_yaml(dumped), "over": over, **defining}
        check(self.folder, self.search)

    def failed(self, error: BaseException) -> int:
        return report(error, self.started, "finished trials are kept")

    def _kept(self) -> str:
        return "finished trials are kept, and the same command resumes"

    def finish(self, cli: TrialCli, search: Search, objective: Objective) -> int:
        """Writes and prints what was found.  Errors: InputError if no trial was completed."""
        from rps.tuning.folder import write_results
        from rps.tuning.results import as_config, notes, table

        trials, choice = search.trials(), search.choice()
        config = {} if choice is None else as_config(choice.settings, cli.parsed(choice.settings).as_dict())
        written = write_results(self.folder, trials, self.space, objective, choice, config)
        show("\n" + "\n\n".join([table(trials, self.space, objective), *notes(trials, self.space, objective, choice)]))
        show_written(written)
        if choice is None:
            raise InputError(f"no trial was completed; {self.folder / 'trials.md'} has the reasons")
        show("\nNext, on all pictures of the configs (those that the search has seen flatter it):")
        show(f"  {next_command(self.rest, list(self.space), self.folder)}")
        return 0


def parser() -> SentenceParser:
    """The options that rps predict does not have."""
    found = SentenceParser("rps tune", "options of its own and those of rps predict")
    found.add_argument("--over", action="append", default=[])
    found.add_argument("--objective")
    found.add_argument("--trials", type=int, default=20)
    found.add_argument("--processes", type=int, default=1)
    found.add_argument("--no_pruning", action="store_true")
    found.add_argument("--tau", type=float, default=0.5)
    found.add_argument("--share", type=float, default=0.1)
    return found


def next_command(rest: Sequence[str], tuned: Sequence[str], folder: Path) -> str:
    """The command that runs the best settings on all pictures of the configs.

    rest: the arguments of the search that rps predict has too. Flags of the tuned options, which would win over
    best.yaml, and of the choice of pictures are left out.
    """
    groups: list[list[str]] = []
    for part in rest:
        groups.append([part]) if part.startswith("--") or part == "-c" or not groups else groups[-1].append(part)
    left_out = {"output", "data.limit", "data.skip", *tuned}
    names = [group[0].partition("=")[0].removeprefix("--").replace(".init_args", "") for group in groups]
    kept = [part for name, group in zip(names, groups, strict=True) if name not in left_out for part in group]
    return shlex.join(["rps", "predict", *kept, "--config", f"{folder / 'best.yaml'}", "--output", f"{folder}_best"])
