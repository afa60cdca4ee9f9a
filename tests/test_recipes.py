"""The recipes of CONTRIBUTING.md and README.md do what they say, word for word."""

import io
import json
import re
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
from PIL import Image

import rps
from rps.cli import main
from rps.metrics import standard
from rps.operators import Shared
from rps.priors.analytic.images import read_images
from rps.records import Origin, RecordWriter, Row
from rps.records.rows import RowCost

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


def test_an_operator_finds_its_files_by_id(recipes, tmp_path, capsys):
    """Of two samples, one has a file: the other fails by itself."""
    walls = tmp_path / "walls"
    walls.mkdir()
    for k, id_ in enumerate([*"abcd", "fashion-00000"]):
        Image.linear_gradient("L").rotate(90 * k).save(walls / f"{id_}.png")
    assert rps.check_operator(recipes.Vignette(str(walls)), ids=list("abcd")) == []
    given = [*SMALL, "--model.operator", "recipes.Vignette", "--model.operator.walls", str(walls)]
    assert main(["predict", *given, "--output", str(tmp_path / "run")]) == 3, capsys.readouterr().err
    result = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert [level["n"] for level in result["levels"]] == [1, 1]
    assert "has no picture for the id 'fashion-00001'" in result["failures"].pop("fashion-00001")
    assert not result["failures"]


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


IMAGES = read_images("embedded", limit=4)


def error(restored: torch.Tensor) -> torch.Tensor:
    """RMSE of each image, in [0, 1]."""
    return ((restored.clamp(-1, 1) - IMAGES) / 2).square().flatten(1).mean(1).sqrt()


def check_gain(y: rps.Measurement, result: rps.Restoration) -> None:
    """RMSE is below that of A^+ y at every level, by more than 2 standard errors of the paired difference."""
    for level, restored in result.images.items():
        gain = error(y.pseudo_inverse()) - error(restored)
        assert gain.mean() > 2 * gain.std() / len(gain) ** 0.5, (level, gain)


@pytest.fixture(scope="module")
def notebook():
    """What README's lines, word for word, define and print."""
    space, out = {"images": IMAGES, "names": [f"picture {k}" for k in range(len(IMAGES))]}, io.StringIO()
    with redirect_stdout(out):
        exec(blocks("README.md")["In a notebook"], space)
    return space | {"printed": out.getvalue()}


def test_the_notebook_prints_its_result(notebook):
    assert notebook["printed"] == f"{notebook['result']!r}\n"


TASKS = {
    "denoise": (rps.Denoise(), 0.5),
    "sr4": None,  # of the notebook
    "inpaint": (rps.Inpaint(0.3), 0.2),
    "blur": (rps.AnisotropicBlur(), 0.1),
}


@pytest.mark.parametrize("task", TASKS)
def test_defaults_beat_the_pseudo_inverse(notebook, task):
    """MapRps() at each of its levels, and a sampler from pure noise. At the last level, a step tuned for this prior is
    not better by more than 3 % and 2 standard errors."""
    prior = notebook["prior"]
    if TASKS[task]:
        y = rps.degrade(IMAGES, *TASKS[task])
        result = rps.MapRps().run(y, prior)
    else:
        y, result = notebook["y"], notebook["result"]
    assert result.levels == [0, 100, 300]
    check_gain(y, result)
    check_gain(y, rps.PosteriorSampling(steps=25).run(y, prior))

    class Same(rps.Estimator):
        def estimate(self, measurement, prior):
            return result.images[0]

    tuned = rps.MapRps(300, Same(), rps.Dps(0.15, per_timestep=True)).run(y, prior)
    excess = error(result.images[300]) - 1.03 * error(tuned.images[300])
    assert excess.mean() < 2 * excess.std() / len(excess) ** 0.5


def test_latent_defaults_beat_the_pseudo_inverse():
    y = rps.degrade(IMAGES, *TASKS["inpaint"])
    check_gain(y, rps.LmapRps(t0=[0, 100]).run(y, rps.EmbeddedLatentPrior()))


def test_records_are_a_table_for_pandas(tmp_path, monkeypatch, capsys):
    """README's lines, on the records of a run whose first file has no metric and which tried a sample twice."""
    pytest.importorskip("pandas")
    writer, origin = RecordWriter(tmp_path / "runs" / "demo"), Origin(metrics={m.name: m.info for m in standard()})
    rows = [Row(name, level, metrics={"rmse": 0.1 + 0.1 * k}) for k, name in enumerate("abc") for level in (0, 100)]
    failed = [Row("d", level, status="failed", reason="unreadable") for level in (0, 100)]
    first_try, baseline = Row("c", 100, metrics={"rmse": 9.0}), Row("a", None, "pseudo_inverse")
    for part in (failed, [*rows[:5], first_try, baseline], rows[5:]):
        writer.write(part, "t0", origin=origin)
    monkeypatch.chdir(tmp_path)
    space = {}
    exec(blocks("README.md")["What a run writes"], space)
    rows = space["rows"]
    assert set(rows.columns) == {"id", "kind", "status", "reason", "level", *origin.metrics, *RowCost._fields}
    assert len(rows) == 10 and rows.reason.notna().sum() == 2 and rows.psnr.isna().all()
    found = space["restored"].groupby("level").rmse.agg(["mean", "sem", "count"])
    assert found.loc[[0, 100]].values.tolist() == [pytest.approx([0.2, 0.1 / 3**0.5, 3])] * 2
    assert "0.057735" in capsys.readouterr().out
