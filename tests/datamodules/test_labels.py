"""Classes of pictures, from parquet, tar archives and folders."""

import datasets

from tests.datamodules.hub_data import archive, data, encoded


def test_class_labels_are_numbers_in_every_form(tmp_path):
    """A column of type ClassLabel, the names of folders in their order, and .cls files."""
    kinds, tar = ["cat", "dog", "cat"], {}
    for i, kind in enumerate(kinds):
        (tmp_path / "folder" / kind).mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / kind / f"{i}.png").write_bytes(encoded(i))
        tar |= {f"{i}.png": encoded(i), f"{i}.cls": str(["cat", "dog"].index(kind)).encode()}
    (tmp_path / "a.tar").write_bytes(archive(tar))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [{"bytes": encoded(i), "path": f"{i}.png"} for i in range(3)], "label": [0, 1, 0]}
    datasets.Dataset.from_dict(rows, features).to_parquet(tmp_path / "a.parquet")
    for module in (
        data("parquet", data_files=str(tmp_path / "a.parquet"), label_column="label"),
        data("webdataset", data_files=str(tmp_path / "a.tar"), label_column="cls"),
        data("imagefolder", data_dir=str(tmp_path / "folder"), label_column="label"),
    ):
        pairs = [pair for b in module.predict_dataloader() for pair in zip(b["id"], b["label"], strict=True)]
        assert {name[-1]: label for name, label in pairs} == {"0": 0, "1": 1, "2": 0}
