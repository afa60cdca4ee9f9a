"""What of a config may differ between two starts of a run, as the classes say."""

import pytest

from datamodules import Embedded, HuggingFace, ImageFolder
from modules import MapRps, PosteriorSampling, SolverModule, VarianceScaling
from rps.cli.choices import choices
from rps.estimators import RedDiff
from rps.records.changes import changes
from rps.records.choices import Choices
from rps.records.comparable import SELECTION
from rps.traversals import SampleAverage


def node(kind: type, **init_args) -> dict:
    return {"class_path": f"{kind.__module__}.{kind.__name__}", "init_args": init_args}


def compare(old: dict, new: dict) -> tuple[list[str], dict]:
    """The differences that refuse a start, and the config of the extended run."""
    found = choices(new)
    return changes(*found.common(old, new)), found.united(old, new)


def model(*args, **kwargs) -> dict:
    return {"model": node(*args, **kwargs)}


def test_levels_are_united_and_the_rest_is_compared():
    old, new = model(MapRps, t0=[0, 100], steps=25), model(MapRps, t0=[300, 0], steps=25)
    assert compare(old, new) == ([], model(MapRps, t0=[0, 100, 300], steps=25))
    assert compare(old, model(MapRps, t0=[0], steps=20))[0] == ["model.steps was 25 and is now 20"]
    assert compare(old, model(VarianceScaling, t0=[0, 100], steps=25))[0], "another class"


def test_the_traversal_of_a_module_names_its_own():
    def averages(levels, t0):
        return model(SolverModule, traversal=node(SampleAverage, levels=levels, t0=t0), seed=0)

    assert compare(averages([1, 2], 50), averages([4], 50)) == ([], averages([1, 2, 4], 50))
    assert compare(averages([1, 2], 50), averages([1, 2], 40))[0] == ["model.traversal.t0 was 50 and is now 40"]


def test_settings_of_each_level_go_with_the_levels():
    def scaling(levels, step_size):
        return model(VarianceScaling, levels=levels, step_size=step_size)

    old = scaling([1.0, 0.5], [1.0, 8.0])
    assert compare(old, scaling([0.0, 1.0], [9.0, 1.0])) == ([], scaling([1.0, 0.5, 0.0], [1.0, 8.0, 9.0]))
    assert compare(old, scaling([0.5, 0.0], [7.0, 9.0]))[0] == ["model.step_size.0.5 was 8.0 and is now 7.0"]
    assert compare(scaling([1.0], 3.0), scaling([1.0, 0.0], [3.0, 9.0])) == ([], scaling([1.0, 0.0], [3.0, 9.0]))
    assert compare(scaling([1.0], 3.0), scaling([0.0], 4.0))[0] == ["model.step_size was 3.0 and is now 4.0"]
    assert compare(scaling([1.0], None), scaling([0.0], [4.0]))[0], "no list holds the default of a sampler"


def test_a_sampler_alone_has_no_other_level():
    old, new = (model(PosteriorSampling, steps=steps) for steps in (100, 50))
    assert compare(old, new)[0] == ["model.steps was 100 and is now 50"]


@pytest.mark.parametrize(
    ("old", "new", "united"),
    [
        ({"limit": 16, "skip": 0}, {"limit": 20, "skip": 0}, {"limit": 20, "skip": 0}),
        ({"limit": 16, "skip": 0}, {"limit": 8, "skip": 0}, {"limit": 16, "skip": 0}),
        ({"limit": None, "skip": 2}, {"limit": 8, "skip": 2}, {"limit": None, "skip": 2}),
        ({"limit": 16, "skip": 0}, {"limit": 8, "skip": 16}, {"limit": 8, "skip": 16}),
        ({"subset": ["a"]}, {"subset": ["b", "c"]}, {"subset": ["b", "c"]}),
    ],
)
def test_samples_are_chosen_anew(old, new, united):
    first, second = ({"data": node(HuggingFace, path="p", batch_size=2, **chosen)} for chosen in (old, new))
    assert compare(first, second) == ([], {"data": node(HuggingFace, path="p", batch_size=2, **united)})
    second["data"]["init_args"]["path"] = "q"
    assert compare(first, second)[0] == ['data.path was "p" and is now "q"']


def test_only_what_a_class_names_is_a_choice():
    found = choices({"model": node(SolverModule), "data": node(ImageFolder, folder="f", batch_size=3), "trainer": {}})
    named = ("limit", "skip", "subset", "subset_seed")
    assert found == Choices((), tuple(("data", "init_args", name) for name in named))
    assert choices({"model": "nothing.Here", "data": {"class_path": "nothing.Here"}}) == Choices()


def test_runs_may_differ_in_what_our_data_select():
    assert set(SELECTION) == {*HuggingFace.selection, *ImageFolder.selection}


def test_an_option_of_a_later_version_is_no_change_at_its_default():
    """Arguments that a module hands to its traversal included; a class that nobody imported is not."""
    old = model(MapRps, t0=[0], estimator=node(RedDiff, lr=0.5)) | {"data": node(Embedded, limit=3)}
    new = model(MapRps, t0=[0], samples=1, estimator=node(RedDiff, lr=0.5, num_steps=100))
    new["data"] = node(Embedded, limit=3, subset_seed=0)
    assert changes(old, new) == []
    new["data"]["init_args"]["subset_seed"] = 1
    new["model"]["init_args"]["samples"] = 2
    assert sorted(changes(old, new)) == [
        "data.subset_seed was nothing and is now 1", "model.samples was nothing and is now 2",
    ]  # fmt: skip
    assert len(changes(new, old)) == 3, "an option that was dropped is a change"
    strange = {"data": {"class_path": "nowhere.Data", "init_args": {"skip": 0}}}
    assert changes({"data": {"class_path": "nowhere.Data"}}, strange) == ["data.skip was nothing and is now 0"]
