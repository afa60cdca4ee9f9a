"""Converts the command line of `rps predict` to the arguments of LightningCLI."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rps.bounded_yaml import check_yaml, read_yaml
from rps.cli.callbacks import class_node, configure
from rps.cli.classes import class_of, parameters, spelled
from rps.cli.errors import InputError, did_you_mean, one_line
from rps.cli.help import is_help
from rps.cli.replaced import write_defaults

SECTIONS = ("model", "data", "trainer")
STUDIES = "study"
"""The folder of the packaged configs that holds studies (see rps.cli.study)."""
WITH_VALUE = ("--config", "--output", "--seed", "--stage1", "--metric")
OWN_OPTIONS = (*WITH_VALUE, "--overwrite", "--retry_failed")
"""Options of rps predict that are not LightningCLI's."""
WITHOUT_EFFECT = {
    "profiler": "the table has seconds per image; python -m cProfile -m rps.cli predict ... shows where they go",
    "max_time": "limit the command itself: timeout 2h rps predict ...; finished samples are kept",
}
"""Options of Lightning's Trainer that would have no effect here -> what to do instead."""


@dataclass
class Arguments:
    """The command line of `rps predict`, sorted.

    configs: existing files. contents: what they contain. metrics: of --metric. help: the option and the class of
    --model.help CLASS and the like. rest: all other options.
    """

    configs: list[Path] = field(default_factory=list)
    contents: list[dict[str, Any]] = field(default_factory=list)
    output: str | None = None
    seed: str | None = None
    stage1: str | None = None
    overwrite: bool = False
    retry_failed: bool = False
    metrics: list[dict[str, Any]] = field(default_factory=list)
    help: tuple[str, str | None] | None = None
    rest: list[str] = field(default_factory=list)

    @property
    def own_pictures(self) -> bool:
        """Whether --data.folder is given without --data, to configs whose data have no folder."""
        options = {argument.partition("=")[0] for argument in self.rest}
        if not options & {"--data.folder", "--data.init_args.folder"} or options & {"--data", "--data.class_path"}:
            return False
        named = [name for content in self.contents if (name := class_of(content.get("data")))]
        return not named or "folder" not in parameters(spelled(named[-1], "data"))

    def for_lightning(self) -> list[str]:
        """The arguments for LightningCLI.  Files come first, so that flags win wherever they stand; before them comes
        the class of a section that an earlier file gives values, so that a task may come before the method."""
        argv: list[str] = []
        for section in ("model", "data"):
            named = [class_of(content[section]) for content in self.contents if section in content]
            if any(named) and not named[0]:
                argv += [f"--{section}", spelled(next(filter(None, named)), section)]
        callbacks, options = configure(self.contents, self.metrics, self.rest)
        kept, flags = write_defaults(self.contents, options)
        for path, old, new in zip(self.configs, self.contents, kept, strict=True):
            argv += ["--config", str(path) if new == old else json.dumps(new)]
        if callbacks is not None:
            argv += ["--trainer.callbacks", json.dumps(callbacks)]
        if self.own_pictures:
            argv += ["--data", "datamodules.ImageFolder"]
        argv += flags
        if self.seed is not None:
            argv += ["--model.init_args.seed", self.seed]
        if self.output is not None:
            argv += ["--trainer.default_root_dir", self.output]
        return argv


def read(argv: Sequence[str]) -> Arguments:
    """Sorts the arguments and checks the files.  Errors: InputError."""
    arguments = Arguments()
    names: list[str] = []
    waiting = list(argv)
    while waiting:
        option, equals, value = waiting.pop(0).partition("=")
        if option in ("--overwrite", "--retry_failed") and not equals:
            setattr(arguments, option[2:], True)
        elif is_help(option):
            value = value if equals or not waiting or waiting[0].startswith("--") else waiting.pop(0)
            arguments.help = option, value or None
        elif option in ("-c", *WITH_VALUE):
            if not equals:
                if not waiting or waiting[0].startswith("--"):
                    raise InputError(f"{option} needs a value after it (see rps --help)")
                value = waiting.pop(0)
            if option in ("-c", "--config"):
                names.append(value)
            elif option == "--metric":
                arguments.metrics.append(class_node(option, value))
            else:
                setattr(arguments, option[2:], value)
        else:
            arguments.rest.append(option + equals + value)
    arguments.configs = [find_config(name) for name in names]
    arguments.contents = [load_config(path) for path in arguments.configs]
    return arguments


def check_passed(passed: Sequence[str], command: str, known: Sequence[str], own: Sequence[str] = ()) -> None:
    """Checks the names of options that a command passes on to runs.  known: those besides the ones of model, data and
    trainer. own: the command's own, for hints. Errors: InputError."""
    for i, option in enumerate(part.partition("=")[0] for part in passed):
        named = option in known or option.removeprefix("--").partition(".")[0] in SECTIONS
        if (option.startswith("--") and not named) or (i == 0 and not option.startswith("--")):
            hint = did_you_mean(option, [*own, *known]) or f"see {command} --help"
            raise InputError(f"{option} is not an option of {command}; {hint}")


def packaged_configs(studies: bool = False) -> dict[str, Path]:
    """The configs, or the studies, that ship with the package, by name: "demo", "embedded/sr4", ..."""
    import configs

    top = Path(configs.__file__).parent
    root = top / STUDIES if studies else top
    paths = (path for path in sorted(root.rglob("*.yaml")) if studies or path.parent != top / STUDIES)
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in paths}


def find_config(name: str, option: str = "--config", studies: bool = False) -> Path:
    """The file with this name in the working directory, or else the packaged one.  Errors: InputError."""
    path = Path(name).expanduser()
    if path.is_file() or (path.is_symlink() and not path.exists()):  # reading a broken link reports its target
        return path
    if path.exists() and not path.is_dir():
        raise InputError(f"{option} {name} is not a regular file, but configs are read more than once; give a file")
    packaged = packaged_configs(studies)
    wanted = name.removesuffix(".yaml")
    if wanted in packaged:
        return packaged[wanted]
    hint = did_you_mean(wanted, packaged) or f"packaged are {', '.join(packaged)}"
    raise InputError(f"{option} {name}: there is no such file and no packaged one with that name; {hint}")


def load_config(path: Path) -> dict[str, Any]:
    """The content of a YAML file, with its sections checked.  Errors: ValueError."""
    content = read_yaml(path, f"config {path}")
    if not isinstance(content, dict) or not content:
        raise InputError(f"config {path} must have sections {', '.join(SECTIONS)}, got {type(content).__name__}")
    # jsonargparse ignores sections that it does not know.
    for key in content:
        if key not in SECTIONS:
            hint = {"seed": "the seed is model.init_args.seed", "output": "the output is trainer.default_root_dir"}.get(
                str(key), did_you_mean(str(key), SECTIONS) or f"the sections are {', '.join(SECTIONS)}"
            )
            raise InputError(f"config {path}: {key!r} is not a section; {hint}")
    return content


@contextmanager
def bounded_parser() -> Iterator[None]:
    """A context in which the parser refuses what `check_yaml` refuses, also in files given for a value, as in
    --trainer FILE, or `operator: FILE` in a config.  Errors: InputError."""
    import yaml
    from jsonargparse import get_loader, set_loader

    load = get_loader("yaml")

    def load_bounded(text: str) -> Any:
        if ":" in text or "*" in text:
            try:
                check_yaml(text)
            except RecursionError as error:
                raise InputError("a file given for a value is nested too deeply; use fewer levels") from error
            except ValueError as error:
                raise InputError(f"a value, or a file given for one, cannot be read: {one_line(error)}") from error
            except yaml.YAMLError:
                pass  # the parser reports it
        return load(text)

    set_loader("yaml", load_bounded, (yaml.YAMLError,))
    try:
        yield
    finally:
        set_loader("yaml", load, (yaml.YAMLError,))


def check_trainer(section: Any) -> None:
    """Refuses the options in WITHOUT_EFFECT.  section: the parsed trainer section.  Errors: InputError."""
    for name, instead in WITHOUT_EFFECT.items():
        if section.get(name):
            raise InputError(f"trainer.{name} is not supported; {instead}")
    # The module refuses the other precisions; for this one, Lightning would first ask for a package.
    if (precision := str(section.get("precision"))).startswith("transformer-engine"):
        raise InputError(
            f"trainer.precision {precision} is not supported; leave it at 32-true and give the prior a dtype "
            "(--model.prior.dtype bfloat16), which affects only its network"
        )
