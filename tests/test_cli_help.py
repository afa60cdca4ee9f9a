"""The arguments of a class by its name, and classes named in any case."""

import pytest
import yaml

from rps.cli import main

ARGUMENTS = {
    ("--model.help", "DPS"): "--model.sampler.step_size",
    ("--model.sampler.help", "dps"): "--model.sampler.step_size",
    ("--model.help", "superresolution"): "--model.operator.factor",
    ("--model.help", "proximalmap"): "--model.estimator.num_steps",
    ("--model.help", "embeddedprior"): "--model.prior.dtype",
    ("--model.help", "settingsweep"): "--model.operator",  # a module first, where a module is asked for
    ("--model.traversal.help", "settingsweep"): "--model.traversal.setting",
    ("--model.help", "tests.cli_fakes.FakeModel"): "--model.trouble",
    ("--data.help", "imagefolder"): "--data.folder",
    ("--trainer.callbacks.help", "gridwriter"): "--trainer.callbacks.GridWriter.max_grids",
    ("--trainer.logger.help", "csvlogger"): "--trainer.logger.save_dir",
}


@pytest.mark.parametrize(("option", "name"), ARGUMENTS)
@pytest.mark.parametrize("between", [" ", "="])
def test_help_finds_a_class_in_any_case(option, name, between, capsys):
    """And shows the flags that set its arguments."""
    assert main(["predict", *f"{option}{between}{name}".split(" ")]) == 0
    out, err = capsys.readouterr()
    assert f"  {ARGUMENTS[option, name]} " in out and err == ""


def test_classes_in_any_case(tmp_path, capsys):
    """In configs and flags, of sections and of what they hold; and the new class starts with its own defaults."""
    config = "model: {class_path: maprps, init_args: {estimator: {class_path: mapestimator}}}\ndata: embedded\n"
    (tmp_path / "any.yaml").write_text(config)
    flags = ["--config", str(tmp_path / "any.yaml"), "--model.sampler", "DAPS", "--model.operator=denoise"]
    flags += ["--model.prior", "embeddedprior", "--model.noise", "0.1"]
    assert main(["predict", *flags, "--print_config"]) == 0, capsys.readouterr().err
    printed = yaml.safe_load(capsys.readouterr().out)
    parts = printed["model"]["init_args"]
    names = [printed["model"], printed["data"], *(parts[key] for key in ("prior", "operator", "estimator", "sampler"))]
    short = [part["class_path"].rpartition(".")[2] for part in names]
    assert short == ["MapRps", "Embedded", "EmbeddedPrior", "Denoise", "MapEstimator", "Daps"]
    assert "langevin_steps" in parts["sampler"]["init_args"]


def test_a_section_in_another_case_after_its_values(tmp_path, capsys):
    """A task that comes before the method that names the class."""
    (tmp_path / "task.yaml").write_text("model: {init_args: {noise: 0.3}}")
    (tmp_path / "method.yaml").write_text("model: {class_path: ccdf}")
    (tmp_path / "base.yaml").write_text(
        "model: {init_args: {prior: {class_path: EmbeddedPrior}, operator: {class_path: Denoise}}}\n"
        "data: {class_path: Embedded}\n"
    )
    files = [part for name in ("task", "method", "base") for part in ("--config", str(tmp_path / f"{name}.yaml"))]
    assert main(["predict", *files, "--print_config"]) == 0, capsys.readouterr().err
    printed = yaml.safe_load(capsys.readouterr().out)["model"]
    assert printed["class_path"] == "modules.Ccdf" and printed["init_args"]["noise"] == 0.3


def test_other_texts_are_left_alone(tmp_path, monkeypatch):
    """An option of the data that holds a text, though a sampler has this name."""
    from rps.cli.replaced import write_defaults

    (tmp_path / "own_data.py").write_text("class Data:\n    def __init__(self, sampler: str = 'ddrm'): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    contents = [{"data": {"class_path": "own_data.Data", "init_args": {"sampler": "dps"}}}]
    assert write_defaults(contents, ["--data.sampler", "dps"]) == (contents, ["--data.sampler", "dps"])
