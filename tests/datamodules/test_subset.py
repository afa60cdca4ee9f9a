"""A subset of any datamodule: random and growing, or by id; limit and skip count it."""

import pytest
from PIL import Image

from datamodules import Embedded, ImageFolder
from datamodules.subset import choice


@pytest.fixture
def folder(tmp_path):
    for k in range(12):
        Image.new("L", (4, 4), 20 * k).save(tmp_path / f"{k:02d}.png")
    return lambda **options: ImageFolder(str(tmp_path), size=4, channels=1, batch_size=5, **options)


def ids(data):
    data.setup("predict")
    return [id_ for batch in data.predict_dataloader() for id_ in batch["id"]]


def test_a_larger_random_subset_has_the_smaller_one(folder):
    found = {n: ids(folder(subset=n)) for n in (3, 6, 12)}
    assert set(found[3]) < set(found[6]) < set(found[12]) and list(map(len, found.values())) == [3, 6, 12]
    assert found[6] == [f"{k:02d}" for k in choice(6, [12], 0)[0]]
    assert set(ids(folder(subset=6, subset_seed=1))) != set(found[6])
    assert ids(folder(subset=6, skip=1, limit=2)) == found[6][1:3]
    assert folder(subset=6).num_samples == 6 and folder(subset=6, skip=5).num_samples == 1


def test_ids_are_chosen_by_name_and_missing_ones_are_known(folder):
    data = folder(subset=["07", "01", "nobody"])
    assert ids(data) == ["01", "07"]
    assert data.wanted_ids == {"07", "01", "nobody"} == folder(subset=["07", "01", "nobody"], limit=3).wanted_ids
    assert folder(subset=["07", "nobody"], limit=1).wanted_ids == folder(subset=["07"], skip=1).wanted_ids == set()
    assert Embedded(subset=["fashion-typo"]).wanted_ids == {"fashion-typo"}, "the default limit is larger"


def test_a_run_chooses_by_id_whatever_the_subset(folder):
    data = folder(subset=2)
    data.only_ids = {"03", "04"}
    assert ids(data) == ["03", "04"]


def test_the_embedded_images_have_subsets():
    assert len(set(ids(Embedded(limit=None, subset=5)))) == 5
    assert ids(Embedded(limit=None, subset=["fashion-00007"])) == ["fashion-00007"]


def test_impossible_subsets(folder):
    with pytest.raises(ValueError, match="subset must be at most the number of samples, 12, got 13"):
        ids(folder(subset=13))
    with pytest.raises(ValueError, match="a number of samples >= 1, got 0"):
        folder(subset=0)
