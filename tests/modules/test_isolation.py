"""A sample that fails does not take others with it; a config that is wrong ends the run at once."""

import pytest
import torch

from modules import MapRps
from modules.isolation import Isolation, attempt, split
from rps.cost import Cost
from rps.estimators import MapEstimator
from rps.operators import LinearOperator
from tests.resume_fakes import EveryOther, Twins, White
from tests.trainers import quiet

IDS = ["a", "b", "c", "d"]


def module(**options) -> MapRps:
    prior = options.pop("prior", None) or White()
    operator = options.pop("operator", None) or EveryOther(**options)
    return MapRps(prior, operator, 0.1, t0=[0, 50], steps=40, estimator=MapEstimator(num_steps=2))


def batch(*means: float) -> dict:
    pattern = 0.1 * torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
    images = torch.tensor(means).view(-1, 1, 1, 1) + pattern
    return {"id": IDS[: len(means)], "image": images, "failed": []}


def same(prediction, other, ids) -> bool:
    """The same images of these samples at every level."""
    return all(
        torch.allclose(images[[prediction.ids.index(i) for i in ids]], theirs[[other.ids.index(i) for i in ids]])
        for images, theirs in zip(
            prediction.restoration.images.values(), other.restoration.images.values(), strict=True
        )
    )


def test_a_sample_that_raises_is_a_failure_and_the_others_are_as_without_it():
    whole = module().predict_step(batch(0, 0.1, 0.9, 0.2), 0)
    found = module(refuse_above=0.5).predict_step(batch(0, 0.1, 0.9, 0.2), 0)
    assert found.failures == {"c": "RuntimeError: too bright"}
    assert found.ids == ["a", "b", "d"] and same(found, whole, found.ids)
    assert torch.equal(found.measurement.y, whole.measurement.y[[0, 1, 3]])
    assert torch.equal(found.reference, whole.reference[[0, 1, 3]])
    assert found.restoration.cost[50] == Cost(4, 2)


def test_a_sample_that_is_never_finite_keeps_its_place():
    found = module(prior=White(nan_above=0.3)).predict_step(batch(0, 0.9), 0)
    finite = [images.isfinite().flatten(1).all(1).tolist() for images in found.restoration.images.values()]
    assert found.ids == ["a", "b"] and [True, False] in finite and all(row[0] for row in finite)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("out of memory")])
def test_too_little_memory_halves_the_batch_and_the_ones_after_it(error, capsys):
    solver, sizes = module(), []
    restore = solver._restore

    def small(part, traversal):
        sizes.append(len(part["id"]))
        if len(part["id"]) > 1:
            raise error
        return restore(part, traversal)

    solver._restore = small
    found = solver.predict_step(batch(0, 0.1, 0.2), 0)
    assert sizes == [3, 2, 1, 1, 1] and found.ids == ["a", "b", "c"]
    assert same(found, module().predict_step(batch(0, 0.1, 0.2), 0), found.ids)
    solver.predict_step(batch(0, 0.1), 1)
    assert sizes[5:] == [1, 1]
    assert capsys.readouterr().err.splitlines() == [
        "out of memory with a batch of 3; continuing with 2",
        "out of memory with a batch of 2; continuing with 1",
    ]


def test_a_sample_too_large_for_the_memory_is_a_failure():
    solver = module()
    restore = solver._restore

    def small(part, traversal):
        if "b" in part["id"]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return restore(part, traversal)

    solver._restore = small
    assert solver.predict_step(batch(0, 0.1, 0.2), 0).failures == {
        "b": "out of memory, even in a batch of one: CUDA out of memory"
    }


def test_an_error_that_all_samples_share_is_the_configs():
    """Raised with its traceback; after the first good sample, or in a resumed run, it is the samples' own."""
    with pytest.raises(RuntimeError, match="too bright"):
        module(refuse_above=0.5).predict_step(batch(0.9, 0.8, 0.9), 0)
    solver = module(refuse_above=0.5)
    solver.predict_step(batch(0, 0.1), 0)
    assert set(solver.predict_step(batch(0.9, 0.8), 1).failures) == {"a", "b"}
    solver = module(refuse_above=0.5)
    solver.skip_ids = {"z"}
    assert set(solver.predict_step(batch(0.9, 0.8), 0).failures) == {"a", "b"}


def test_samples_that_come_alone_are_never_the_configs():
    """One sample tells nothing of the others: each is a failure, however many there are, and is tried once."""
    solver, tries = module(refuse_above=0.5), []
    restore = solver._restore
    solver._restore = lambda part, traversal: tries.append(part["id"]) or restore(part, traversal)
    for i in range(5):
        assert solver.predict_step(batch(0.9), i).failures == {"a": "RuntimeError: too bright"}
    assert len(tries) == 5 and solver.predict_step(batch(0.1), 5).ids == ["a"]


def test_what_does_not_fit_is_told_before_the_data_and_data_that_do_not_fit_at_once():
    with pytest.raises(RuntimeError, match="too bright"):
        module(refuse_above=-1.0).on_predict_start()
    wrong = {"id": ["a", "b"], "image": torch.zeros(2, 3, 8, 8)}
    with pytest.raises(ValueError, match="the data have 3 channels but the prior has 1"):
        module().predict_step(wrong, 0)
    proven = module()
    proven.predict_step(batch(0), 0)
    assert "3 channels" in proven.predict_step(wrong, 1).failures["a"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_is_no_failure(stop):
    solver = module()

    def interrupted(part, traversal):
        raise stop

    solver._restore = interrupted
    with pytest.raises(stop):
        solver.predict_step(batch(0, 0.1), 0)


def test_a_lost_device_is_no_failure_of_a_sample():
    def lost(part):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        Isolation(proven=True).run(batch(0, 0.1), lost)


def test_samples_that_are_done_are_passed_over():
    solver = module()
    solver.skip_ids = {"b", "r"}
    found = solver.predict_step({**batch(0, 0.1, 0.2), "failed": [("r", "rotten"), ("s", "rotten")]}, 0)
    assert found.ids == ["a", "c"] and found.failures == {"s": "rotten"}
    solver.skip_ids = {"a", "b"}
    assert solver.predict_step(batch(0, 0.1), 1).ids == []


def test_an_error_lets_go_of_its_tensors():
    import weakref

    held = []

    def failing(part):
        big = torch.zeros(1000)
        held.append(weakref.ref(big))
        raise RuntimeError("no")

    error = attempt(failing, {})
    assert isinstance(error, RuntimeError) and held[0]() is None


def test_parts_keep_what_belongs_to_each_sample():
    whole = {**batch(0, 0.1, 0.2), "caption": ["x", "y", "z"]}
    parts = split(whole, 2)
    assert [part["caption"] for part in parts] == [["x", "y"], ["z"]] and torch.equal(
        parts[1]["image"], whole["image"][2:]
    )


def predictions(data) -> list:
    """Of a whole predict loop in one process."""
    found = quiet().predict(module(), data)
    assert found is not None
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_a_second_sample_of_an_id_is_a_failure_of_its_own(workers):
    """Whether one reader met both, or two workers one each."""
    found = predictions(Twins(batch_size=2, num_workers=workers))
    assert sorted(id_ for f in found for id_ in f.ids) == ["a", "b", "twin"]
    failures = {id_: why for f in found for id_, why in f.failures.items()}
    assert list(failures) == ["twin (repeat 1)"] and "another sample has the id 'twin'" in failures["twin (repeat 1)"]


def test_a_second_sample_of_an_id_in_the_users_own_batch():
    """Also where the first of them is done already."""
    twins = {**batch(0, 0.1, 0.2), "id": ["a", "b", "a"]}
    found = module().predict_step(twins, 0)
    assert found.ids == ["a", "b"] and same(found, module().predict_step(batch(0, 0.1), 0), ["a", "b"])
    assert set(found.failures) == {"a (repeat 1)"}
    solver = module()
    solver.skip_ids = {"a"}
    found = solver.predict_step(twins, 0)
    assert found.ids == ["b"] and set(found.failures) == {"a (repeat 1)"}


@pytest.mark.parametrize("size", [1, 3])
def test_pictures_in_other_units_are_refused(size):
    """[0, 255], before anything is computed; black pictures among them are within [-1, 1]."""
    wrong = batch(0, 0.1, 0.2)
    wrong["image"] = 127.5 * (wrong["image"] + 1)
    with pytest.raises(ValueError, match=r"pictures must be in \[-1, 1\], got values from .* to .*; scale them"):
        module().predict_step({name: value[:size] for name, value in wrong.items()}, 0)
    wrong["image"][1] = 0
    found = module().predict_step(wrong, 0)
    assert found.ids == ["b"] and set(found.failures) == {"a", "c"}
    overshoot = batch(0, 0.1)
    overshoot["image"][0, 0, 0, 0] = -1.4
    assert module().predict_step(overshoot, 0).ids == ["a", "b"]


def test_measurements_in_other_units_are_refused_and_no_others():
    """Of an operator with a gain of 2, and of a signed one, which gives 0 for white and black alike."""
    solver = module(operator=Doubled())
    pictures = torch.full((2, 1, 8, 8), 2.4)
    assert solver.predict_step({"id": ["a", "b"], "measurement": pictures}, 0).ids == ["a", "b"]
    with pytest.raises(ValueError, match="got values from 254 to 254"):
        module(operator=Doubled()).predict_step({"id": ["a", "b"], "measurement": pictures + 251.6}, 0)
    checks = (1 - 2 * (torch.arange(8) % 2)).float().expand(1, 1, 8, 8)
    y = Differences()(checks)
    assert y.abs().max() == 100
    assert module(operator=Differences()).predict_step({"id": ["a"], "measurement": y}, 0).ids == ["a"]


class Doubled(LinearOperator):
    def forward(self, x):
        return 2 * x


class Differences(LinearOperator):
    """Of columns, 50 times."""

    def forward(self, x):
        return 50 * (x - x.roll(1, -1))


def test_a_picture_with_nan_is_a_failure_and_no_other():
    images = batch(0, 0.1, 0.2)
    images["image"][1, 0, 0, 0] = torch.nan
    found = module().predict_step(images, 0)
    assert found.ids == ["a", "c"] and found.failures == {"b": "the picture has values that are not finite"}
    assert same(found, module().predict_step(batch(0, 0.1, 0.2), 0), ["a", "c"])
    images["image"][:] = torch.inf
    assert set(module().predict_step(images, 0).failures) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (torch.tensor([1, 2]), r"must be a list of texts, got a tensor of torch.int64; give \[str\(i\) for i in ids\]"),
        ([1, 2], r"must be a list of texts, got list with \[.*2\]"),
        (["a", "b\ud800"], "the id 'b.ud800' holds a lone surrogate"),
    ],
)
def test_ids_that_are_no_texts_are_refused(ids, words):
    with pytest.raises(ValueError, match=words):
        module().predict_step({**batch(0, 0.1), "id": ids}, 0)
    with pytest.raises(ValueError, match=words):
        module().predict_step(
            {**batch(0), "failed": [(ids[1], "rotten")]} if isinstance(ids, list) else {**batch(0), "id": ids}, 0
        )
