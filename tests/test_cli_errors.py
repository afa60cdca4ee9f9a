"""Bad input to the command: one sentence, exit code 2, nothing written. A bug: its traceback, exit code 1."""

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest

from rps.cli import main
from tests.cli_fakes import rps

pytestmark = pytest.mark.usefixtures("folder")

BAD = {
    "misspelled option": (["--model.t00", "[0]"], "model.t00 is not an option of FAKES.FakeModel; did you mean t0?"),
    "misspelled option of a base": (
        ["--model", "modules.PosteriorSampling", "--model.stps", "3"],
        "modules.PosteriorSampling; did you mean steps?",
    ),
    "misspelled deep option": (["--model.operator.widht", "3"], "model.operator.widht is not .*; did you mean width?"),
    "misspelled in a file": (["--config", "nois.yaml"], "model.nois is not .*; did you mean noise?"),
    "misspelled section": (["--config", "modle.yaml"], "'modle' is not a section; did you mean model?"),
    "misspelled init_args": (
        ["--config", "init.yaml"],
        "data.init_arg.limit is not an option of .*; did you mean init_args?",
    ),
    "misspelled flag": (["--trainer.devise", "1"], "--trainer.devise is not .*; did you mean --trainer.devices?"),
    "misspelled in trainer": (["--config", "devise.yaml"], "trainer.devise is not .*; did you mean --trainer.devices?"),
    "misspelled output": (["--ouput", "x"], "--ouput is not an option; did you mean --output?"),
    "stray word": (["stray"], "'stray' is not an option"),
    "no value": (["--seed"], "--seed needs a value"),
    "a metric that is no YAML": (["--metric", "{"], "--metric { is not valid YAML"),
    "a metric that is no class": (["--metric", "3"], "--metric must be a class, or .*, got 3"),
    "a metric without its recorder": (["--metric", "Rmse"], "--metric needs an rps.callbacks.MetricRecorder among"),
    "no callback of this name": (
        ["--trainer.callbacks.GridWriter.max_grids", "3"],
        "--trainer.callbacks.GridWriter.max_grids: there is no callback 'GridWriter'; the callbacks are Recorder",
    ),
    "no callback of this name, but of another": (
        ["--trainer.callbacks.recoder.output", "x"],
        "there is no callback 'recoder'; did you mean Recorder?",
    ),
    "two callbacks of this name": (
        ["--trainer.callbacks+=FAKES.Recorder", "--trainer.callbacks.Recorder.output", "x"],
        "2 of the callbacks are a Recorder; set the option in a config",
    ),
    "no such option of a callback": (
        ["--trainer.callbacks.Recorder.outptu", "x"],
        "--trainer.callbacks.Recorder.outptu: FAKES.Recorder has no option outptu; did you mean output?",
    ),
    "an option of no callback": (
        ["--trainer.callbacks.output", "x"],
        "--trainer.callbacks.output: name callback and option, as in --trainer.callbacks.GridWriter.max_grids 4",
    ),
    "wrong value of a callback": (
        ["--trainer.callbacks", "GridWriter", "--trainer.callbacks.GridWriter.max_grids", "many"],
        "must be int, got 'many'",
    ),
    "callbacks that are none": (
        ["--trainer.callbacks", "[3]", "--trainer.callbacks.GridWriter.max_grids", "3"],
        "trainer.callbacks must be classes, or {class_path: ..., init_args: ...}, got [[]3[]]",
    ),
    "help on no class": (["--model.help", "Dpss"], "--model.help: there is no class 'Dpss'; did you mean Dps?"),
    "help without a class": (["--model.sampler.help"], "--model.sampler.help needs a class after it: Daps, .* Dps, "),
    "help on a class of nobody": (["--model.help", "FAKES.Nope"], "--model.help: there is no class 'FAKES.Nope'; "),
    "an option without its section": (
        ["--batch_size", "3"],
        "--batch_size is not an option; did you mean --data.batch",
    ),
    "a class of another room": (
        ["--model", "modules.MapRps", "--model.estimator", "Dps"],
        "estimator: Dps is of the kind sampler; the classes of the kind estimator are .*ProximalMap",
    ),
    "one of several types lacks a value": (
        ["--model", "modules.MapRps", "--model.noise", "rps.noise.Poisson"],
        "rps.noise.Poisson needs a value for model.noise.peak",
    ),
    "a list without brackets": (
        ["--model", "modules.MapRps", "--model.t0", "0,100"],
        r"model.t0 must be int or list, got '0,100'; a list is written '\[0,100\]'",
    ),
    "wrong type": (["--model.noise", "much"], "model.noise must be float, got 'much'"),
    "wrong list": (["--model.t0", "5"], "model.t0 must be list, got '5'"),
    "wrong item": (["--model.t0", "[a]"], "model.t0 must be int, got 'a'"),
    "wrong optional": (["--data.limit", "3.5"], "data.limit must be int or null, got '3.5'"),
    "wrong seed": (["--seed", "x"], "model.seed must be int, got 'x'"),
    "wrong choice": (["--trainer.precision", "abc"], "trainer.precision must be .*bf16-mixed.* or null, got 'abc'"),
    "wrong class": (["--data", "FAKES.Blur"], "data must be a LightningDataModule, but FAKES.Blur is not one"),
    "no such module": (["--model", "foo.Bar"], "model: cannot use 'foo.Bar': No module named 'foo'"),
    "no such class": (["--model.operator", "FAKES.Blurr"], "model.operator: cannot use .*did you mean Blur?"),
    "no such short class": (["--model.operator", "Denoize"], "there is no class 'Denoize'; did you mean Denoise?"),
    "no such callback": (["--trainer.callbacks+=FAKES.Nope"], "trainer.callbacks: cannot use 'FAKES.Nope'"),
    "syntax error in a class": (["--model.operator", "my_broken.Op"], "model: invalid syntax .my_broken.py, line 2"),
    "missing config": (["--config", "nowhere.yaml"], "--config nowhere.yaml: there is no such file"),
    "invalid YAML": (["--config", "bad.yaml"], "config bad.yaml is not valid YAML at line 2, column 2"),
    "a list": (["--config", "list.yaml"], "config list.yaml must have sections model, data, trainer, got list"),
    "an empty file": (["--config", "empty.yaml"], "config empty.yaml must have sections"),
    "a seed in a file": (["--config", "seed.yaml"], "the seed is model.init_args.seed"),
    "constructor refuses": (
        ["--model.noise", "-1"],
        r"got -1.0 \(raised in FAKES.*__init__\)",
    ),
    "data refuse": (["--data.batch_size", "0"], "batch_size must be at least 1, got 0"),
    "trainer refuses": (["--trainer.accelerator", "abacus"], "trainer: You selected an invalid accelerator name"),
    "no such device": (["--trainer.accelerator", "cuda", "--trainer.devices", "99"], "trainer: "),
    "processes that are no commands": (
        ["--trainer.strategy", "ddp_spawn", "--trainer.devices", "2", "--trainer.accelerator", "cpu"],
        "trainer.strategy forks or spawns from this process, which is not supported; use ddp",
    ),
    "no such logger": (["--trainer.logger", "TensorBordLogger"], "'TensorBordLogger'; did you mean TensorBoardLogger?"),
    "no logger": (["--trainer.logger", "FAKES.Blur"], "trainer.logger must be a Logger, but FAKES.Blur is not one"),
    "wrong option of a logger": (["--trainer.logger", "CSVLogger", "--trainer.logger.nam", "x"], "did you mean name?"),
    "a class of another kind, in another case": (
        ["--model.operator", "superresolution"],
        "model.operator must be a Op, but rps.operators.SuperResolution is not one",
    ),
    "a precision of a package that is missing": (
        ["--trainer.precision", "transformer-engine"],
        "trainer.precision transformer-engine is not supported; leave it at 32-true and give the prior a dtype",
    ),
    "a profiler": (["--trainer.profiler", "simple"], "trainer.profiler is not supported; the table has seconds"),
    "a longest time": (["--trainer.max_time", "00:01:00:00"], "trainer.max_time is not supported; .*timeout 2h rps"),
    "an accelerator of a package that is missing": (["--trainer.accelerator", "tpu"], "torch_xla"),
    "a pipe": (["--config", "pipe"], "--config pipe is not a regular file, .*; give a file"),
    "a link to nowhere": (["--config", "link"], "link is a link to nowhere, which does not exist"),
    "an output below a link to nowhere": (["--output", "link/run"], "link is a link to nowhere"),
    "a long name of the output": (["--output", "x" * 300], "cannot use x{60}...x{30}: file name too long"),
    "a long name of a config": (["--config", "x" * 300], "cannot use x{60}...x{30}: file name too long"),
    "aliases that multiply": (["--config", "laughs.yaml"], "aliases expand it to more than 1,000,000"),
    "merged aliases that multiply": (["--config", "merges.yaml"], "aliases expand it to more than 1,000,000"),
    "a config inside itself": (["--config", "self.yaml"], "self.yaml is nested too deeply or contains itself"),
    "a deep config": (["--config", "deep.yaml"], "deep.yaml is nested too deeply"),
    "a key twice": (
        ["--config", "twice.yaml"],
        "twice.yaml is not valid YAML: the key 'noise' is given in line 3 and again in",
    ),
    "a key twice in a file for a value": (
        ["--model.operator", "operator.yaml"],
        "key 'width' is given twice in line 2; keep",
    ),
    "a key twice in a value": (
        ["--model.operator", "{class_path: FAKES.Blur, init_args: {width: 3, width: 5}}"],
        "the key 'width' is given twice in line 1; keep one",
    ),
    "no UTF-8": (
        ["--config", "latin.yaml"],
        "config latin.yaml is not text in UTF-8 .byte 0xe9 at position 8.; give a YAML",
    ),
    "a number without end": (["--config", "number.yaml"], "number.yaml is not valid YAML: Exceeds the limit"),
    "nothing left": (["--data.skip", "10"], "skip must be less than the number of samples, 10, got 10"),
    "predict_step refuses": (["--model.trouble", "raise"], "the data have 3 channels but the prior has 1"),
    "memory": (["--model.trouble", "memory"], "too little memory.*--data.batch_size"),
    "model without seed": (["--model", "FAKES.NoSeed", "--seed", "1"], "model.seed is not an option of FAKES.NoSeed"),
}

FILES = {
    "nois.yaml": "model: {init_args: {nois: 1}}",
    "modle.yaml": "modle: {init_args: {noise_std: 1}}",
    "init.yaml": "data: {init_arg: {limit: 1}}",
    "devise.yaml": "trainer: {devise: 1}",
    "bad.yaml": "model: [1, 2\nx: : y",
    "list.yaml": "- 1",
    "empty.yaml": "",
    "seed.yaml": "seed: 1",
    "laughs.yaml": "a: &a [x, x, x, x, x, x, x, x]\n"
    + "".join(f"{c}: &{c} [{', '.join([f'*{b}'] * 9)}]\n" for b, c in pairwise("abcdefgh")),
    "merges.yaml": "a: &a {x: 1}\n"
    + "".join(f"{c}: &{c} {{<<: [{', '.join([f'*{b}'] * 9)}]}}\n" for b, c in pairwise("abcdefgh")),
    "self.yaml": "model: &a {b: *a}",
    "deep.yaml": "model: " + "[" * 3000,
    "number.yaml": "model: " + "9" * 5000,
    "twice.yaml": "model:\n  init_args:\n    noise: 0.1\n    noise: 0.3\n",
    "operator.yaml": "class_path: tests.cli_fakes.Blur\ninit_args: {width: 3, width: 5}\n",
    "latin.yaml": "# r\u00e9sum\udce9\nmodel: {}\n",
    "my_broken.py": "class Op:\n    def",
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case, folder, capsys):
    arguments, expected = BAD[case][0], BAD[case][1].replace("FAKES", "tests.cli_fakes").replace("?", "[?]")
    for name, content in FILES.items():
        (folder / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    os.mkfifo("pipe")
    Path("link").symlink_to("nowhere")
    assert rps(*[a.replace("FAKES", "tests.cli_fakes") for a in arguments]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("rps: error: ") and len(err.splitlines()) == 1
    assert re.search(expected, err), err
    assert out == "" and not Path("run").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["predict", "--output", "run"], "there is no data and no model; give a --config"),
        (
            ["predict", "--config", "task/sr4", "--output", "run"],
            "no config names a class for model, so model.operator.init_args.factor has none; put",
        ),
        (["predict", "--config", "fake.yaml"], "there is no --output; give the folder"),
        (["predict", "--config", "fake.yaml", "--output", "fake.yaml"], "output fake.yaml is a file"),
        (["predict", "--config"], "--config needs a value"),
    ],
)
def test_what_is_missing(arguments, expected, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"rps: error: {expected}")


@pytest.mark.parametrize("trouble", ["bug", "library", "bug in constructor"])
def test_a_bug_keeps_its_traceback(trouble, capsys):
    assert rps("--model.trouble", trouble) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and "cli_fakes.py" in err and "looks like a bug" in err
    assert "rps.check_operator(tests.cli_fakes.Blur(...)) lists the faults of that class" in err
    assert not Path("run").exists()


def test_debug_shows_where(monkeypatch, capsys):
    monkeypatch.setenv("RPS_DEBUG", "1")
    assert rps("--model.trouble", "raise") == 2
    err = capsys.readouterr().err
    assert "Traceback" in err and "predict_step" in err and "rps: error: the data have 3 channels" in err


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "option", ["--trainer", "--model", "--data", "--model.operator", "--trainer.callbacks", "within"]
)
@pytest.mark.parametrize("text", [BOMB, "class_path: tests.cli_fakes.Blur\ninit_args:\n" + re.sub("(?m)^", "  ", BOMB)])
def test_a_file_for_a_value_may_not_multiply_itself(option, text, folder, capsys):
    """The parser reads such files itself."""
    Path("bomb.yaml").write_text(text)
    Path("within.yaml").write_text("model: {init_args: {operator: bomb.yaml}}")
    assert rps(*([option, "bomb.yaml"] if option != "within" else ["--config", "within.yaml"])) == 2
    err = capsys.readouterr().err
    assert err.startswith("rps: error: ") and "aliases expand it to" in err and len(err.splitlines()) == 1, err


def test_a_run_that_restores_nothing_does_not_end_well(capsys):
    assert rps("--trainer.limit_predict_batches", "0") == 3
    assert "no sample was restored: the data have none" in capsys.readouterr().err


def test_a_file_for_a_value_may_have_aliases(folder, capsys):
    Path("trainer.yaml").write_text("max_epochs: &n 3\nmax_steps: *n\naccelerator: cpu\n")
    assert rps("--trainer", "trainer.yaml", "--print_config") == 0
    assert "max_steps: 3" in capsys.readouterr().out
