"""The packaged configs merge, in any order, into runs that can be built."""

from pathlib import Path

import pytest
import yaml

from rps.bounded_yaml import check_yaml
from rps.cli import main
from rps.cli.arguments import packaged_configs

NAMES = list(packaged_configs())
FFHQ = [name for name in NAMES if name.startswith("method/ffhq/")]
SOLVERS = [name for name in NAMES if name.startswith("method/solver/")]
LATENT = [name for name in NAMES if name.startswith(("method/ldm/", "method/coco/"))]
CONDITIONAL = [name for name in NAMES if name.startswith("embedded/conditional/")]
TRAINED = [name for name in NAMES if name.startswith("embedded/trained/")]
BASELINES = [name for name in NAMES if name.startswith("method/latent/")]
MERGED = {f"task/{name.split('/')[2]}" for name in FFHQ} | {"task/box", "task/box_imagenet"}
TASKS = [n for n in NAMES if n.startswith("task/") and not n.startswith(("task/solvers/", "task/coco/"))]
TASKS = [name for name in TASKS if name not in MERGED]  # the others are checked with the methods that they are for
PIXELS = [name for name in NAMES if name.startswith("prior/") and not name.endswith(("ldm", "sd15", "sd21", "sdxl"))]
KNOBS = [name for name in NAMES if name.startswith(("embedded/sweeps/", "embedded/transport/"))]


def merged(capsys, *names: str) -> dict:
    """What `rps predict` with these configs would run."""
    options = [part for name in names for part in ("--config", name)]
    assert main(["predict", *options, "--print_config"]) == 0, capsys.readouterr().err
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("name", FFHQ)
def test_published_settings_merge_with_their_task(name, capsys):
    task = name.split("/")[2]
    given = yaml.safe_load(packaged_configs()[name].read_text())["model"]
    model = merged(capsys, "data/ffhq", "prior/ffhq", f"task/{task}", name)["model"]
    assert model["class_path"].split(".")[-1] == given["class_path"].split(".")[-1]
    for key, value in given["init_args"].items():
        assert contains(model["init_args"][key], value)
    wanted = yaml.safe_load(packaged_configs()[f"task/{task}"].read_text())["model"]["init_args"]
    assert contains(model["init_args"]["operator"], wanted["operator"])
    assert model["init_args"]["noise"] == wanted["noise"]


@pytest.mark.parametrize("name", SOLVERS)
def test_solvers_merge_with_a_task(name, capsys):
    task = next((t for t in ("inpaint", "sr4", "deblur_aniso") if name.endswith(t)), "sr4")
    whole = merged(capsys, name, f"task/solvers/{task}", "prior/ffhq", "data/ffhq")
    assert contains(whole["model"], yaml.safe_load(packaged_configs()[name].read_text())["model"])
    wanted = yaml.safe_load(packaged_configs()[f"task/solvers/{task}"].read_text())["model"]["init_args"]
    assert contains(whole["model"]["init_args"], wanted)


@pytest.mark.parametrize("name", TASKS)
def test_tasks_merge_with_the_general_method(name, capsys):
    wanted = yaml.safe_load(packaged_configs()[name].read_text())["model"]
    model = merged(capsys, name, "prior/ffhq", "data/ffhq", "method/map_rps")["model"]
    assert contains(model["init_args"], wanted["init_args"])


@pytest.mark.parametrize(("k", "name"), list(enumerate(LATENT)))
def test_published_latent_settings_merge_in_any_order(k, name, capsys):
    """method/ldm/TASK with data and priors of faces; method/coco/TASK with MS-COCO and Stable Diffusion. Priors and
    orders take turns."""
    _, family, task, _ = name.split("/")
    ldm = family == "ldm"
    texts = [name, f"task/{task}" if ldm else f"task/coco/{task}", "data/ffhq" if ldm else "data/coco"]
    priors = ["ffhq_ldm", "celebahq_ldm"] if ldm else ["sd15", "sd21", "sdxl"]
    k %= len(priors)
    whole = merged(capsys, *texts[k:], f"prior/{priors[k]}", *texts[:k])
    for part in (f"prior/{priors[k]}", *texts):
        assert contains(whole, yaml.safe_load(packaged_configs()[part].read_text())), part


@pytest.mark.parametrize(("k", "name"), list(enumerate(BASELINES)))
def test_latent_baselines_merge_before_and_after_their_prior(k, name, capsys):
    """In turns."""
    given = yaml.safe_load(packaged_configs()[name].read_text())
    names = ["data/coco", "prior/sd15", "task/coco/sr4", name]
    assert contains(merged(capsys, *(names if k % 2 else reversed(names))), given)


@pytest.mark.parametrize("name", PIXELS)
def test_every_pixel_prior_has_arguments_that_its_class_takes(name, capsys):
    """Over the general config of pixel models; all that the file says is kept. Latent ones are merged with latent
    methods."""
    given = yaml.safe_load(packaged_configs()[name].read_text())
    assert contains(merged(capsys, "photos", name), given) and given["model"]["init_args"]["prior"]["init_args"]["path"]


@pytest.mark.parametrize("name", TRAINED)
def test_networks_trained_for_a_task_merge_with_that_task(name, capsys):
    task = name.split("/")[2]
    model = merged(capsys, "demo", f"embedded/{task}", name)["model"]
    assert contains(model, yaml.safe_load(packaged_configs()[name].read_text())["model"])
    assert contains(model, yaml.safe_load(packaged_configs()[f"embedded/{task}"].read_text())["model"])
    assert model["init_args"]["prior"]["init_args"]["task"] == task


@pytest.mark.parametrize("name", KNOBS)
def test_free_knobs_merge_over_the_demo_and_their_task(name, capsys):
    task = name.split("/")[2]
    given = yaml.safe_load(packaged_configs()[name].read_text())["model"]
    model = merged(capsys, "demo", f"embedded/{task}", name)["model"]
    assert contains(model, given) and model["init_args"]["noise"] in (0.1, 0.2, 0.5)


def test_the_class_conditional_latent_model_merges_with_box_inpainting(capsys):
    names = ["data/imagenet", "prior/imagenet_ldm", "task/box_imagenet", "method/ldm/inpaint/lmap_rps"]
    whole = merged(capsys, *names)
    for part in names:
        assert contains(whole, yaml.safe_load(packaged_configs()[part].read_text())), part
    model = whole["model"]["init_args"]
    assert model["prior"]["init_args"]["guidance_scale"] == 4.0 and model["operator"]["init_args"]["size"] == 128


@pytest.mark.parametrize("name", CONDITIONAL[::5])  # one template makes them all, see tools/settings.py
def test_methods_merge_with_class_conditional_box_inpainting(name, capsys):
    whole = merged(capsys, "demo", "demo_conditional", "task/box", name)
    for part in ("demo_conditional", "task/box", name):
        assert contains(whole, yaml.safe_load(packaged_configs()[part].read_text())), part
    assert whole["model"]["init_args"]["prior"]["init_args"]["guidance_scale"] == 4.0


def test_no_key_is_given_twice():
    """Nor in the files of tools/, which other readers would pass."""
    ours = [
        *packaged_configs().values(),
        *packaged_configs(studies=True).values(),
        *(Path(__file__).parents[1] / "tools").rglob("*.yaml"),
    ]
    assert len(ours) > 300
    for path in ours:
        check_yaml(path.read_text())


def contains(whole: object, part: object) -> bool:
    """Is every value of part in whole?  Classes by their last name, which the parser may spell out."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and contains(whole[key], value) for key, value in part.items()
        )
    if isinstance(part, str) and isinstance(whole, str):
        return whole.split(".")[-1] == part.split(".")[-1]
    return whole == part
