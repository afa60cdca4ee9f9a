"""The recipes of CONTRIBUTING.md and README.md do what they say, word for word."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch

import rps
from rps.cli import main
from rps.operators import Shared
from rps.priors import EmbeddedPrior
from rps.priors.analytic.images import read_images

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(page: str) -> dict[str, str]:
    """Heading -> its Python."""
    _, *parts = re.split(r"^## (.*)$", (ROOT / page).read_text(), flags=re.MULTILINE)
    found = {
        head: re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        for head, text in zip(parts[::2], parts[1::2], strict=True)
    }
    return {head: "\n\n".join(code) for head, code in found.items() if code}


RECIPES = {
    re.sub(r"^An? | \(.*", "", head): code for head, code in blocks("CONTRIBUTING.md").items()
}  # "A sampler (one step of stage 2)" -> "sampler"
NAMES = {kind: re.search(r"^class (\w+)", code, re.MULTILINE)[1] for kind, code in RECIPES.items()}
ALL = ["--config", "demo", "--data.limit", "2", "--model.t0", "[0,50]"]
SMALL = [*ALL, "--model.estimator.num_steps", "2"]
RUNS = {
    "operator": [*SMALL, "--model.operator", "recipes.RowMean"],
    "prior": [*SMALL, "--model.prior", "recipes.WhiteImages"],
    "estimator": [*ALL, "--model.estimator", "recipes.Adjoint"],
    "sampler": [*SMALL, "--model.sampler", "recipes.Unguided"],
    "traversal": [
        *ALL[:4], "--model", "modules.SolverModule", "--model.traversal", "recipes.Renoised",
        "--model.traversal.steps", "4",
    ],
    "metric": [*SMALL, "--metric", "recipes.Sharpness"],
    "datamodule": [*SMALL[:2], *SMALL[4:], "--data", "recipes.Checkerboards"],
}  # fmt: skip


@pytest.fixture(scope="module")
def recipes(tmp_path_factory):
    """A module of the user's that holds all recipes."""
    folder = tmp_path_factory.mktemp("recipes")
    (folder / "recipes.py").write_text("\n\n".join(RECIPES.values()))
    sys.path.insert(0, str(folder))
    try:
        import recipes

        yield recipes
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("recipes", None)


def test_every_recipe_is_tried():
    assert set(RECIPES) == set(RUNS)


@pytest.mark.parametrize("kind", ["operator", "prior", "sampler"])
def test_a_recipe_passes_its_check(recipes, kind):
    made, check = getattr(recipes, NAMES[kind])(), getattr(rps, f"check_{kind}")
    assert (check(made, shape=(3, 32, 32)) if kind == "operator" else check(made)) == []
    if kind == "operator":
        for operator in (recipes.RandomRows(), Shared(recipes.RandomRows())):
            assert check(operator, shape=(3, 32, 32)) == []


@pytest.mark.parametrize("kind", RUNS)
def test_a_recipe_runs(recipes, kind, tmp_path, capsys):
    assert main(["predict", *RUNS[kind], "--output", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    levels = json.loads((tmp_path / "run" / "metrics.json").read_text())["levels"]
    assert kind != "metric" or levels[0]["metrics"]["sharpness"]["se"] > 0
    assert all(level["failed"] == 0 and level["n"] == (3 if kind == "datamodule" else 2) for level in levels)


OWN = ["operator", "metric", "callback"]


@pytest.mark.parametrize("kind", OWN)
def test_the_readme_s_own_classes_run(kind, tmp_path, monkeypatch, capsys):
    """README's file, and its command with fewer images and steps."""
    (text,) = re.findall(rf"^## Your own {kind}$(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    (tmp_path / f"my_{kind}s.py").write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    command = re.search(r"^    rps (predict .*)$", text, re.MULTILINE)[1]
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(command), *SMALL[2:]]) == 0, capsys.readouterr().err
    message = {"operator": "", "metric": "sharpness", "callback": "{0: 0."}[kind]
    assert message in capsys.readouterr().out


def test_the_trainer_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(blocks("README.md")["In your own Trainer"], {})
    levels = json.loads(Path("runs/mine/metrics.json").read_text())["levels"]
    assert [(level["level"], level["n"], level["failed"]) for level in levels] == [(0, 8, 0), (100, 8, 0)]


def test_the_notebook_beats_the_pseudo_inverse_with_the_prior_that_ships():
    """README's lines, with EmbeddedPrior() as its comment suggests: RMSE below that of A^+ y at every level, by more
    than 2 standard errors of the paired difference."""
    code = blocks("README.md")["In a notebook"].replace(
        'DiffusersPrior.from_pretrained("google/ddpm-celebahq-256")', "EmbeddedPrior()"
    )
    images = read_images("embedded", limit=16)
    space = {"images": images, "names": [f"picture {k}" for k in range(16)], "EmbeddedPrior": EmbeddedPrior}
    exec(code, space)

    def error(restored: torch.Tensor) -> torch.Tensor:
        return ((restored.clamp(-1, 1) - images) / 2).square().flatten(1).mean(1).sqrt()

    start = error(space["y"].pseudo_inverse())
    for level, restored in space["result"].images.items():
        gain = start - error(restored)
        assert gain.mean() > 2 * gain.std() / len(gain) ** 0.5, level
