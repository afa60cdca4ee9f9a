"""Search spaces as text: what is read, what is refused, and that Optuna keeps every value."""

import pytest

from rps.tuning.space import Choices, Range, decoded, distributions, encoded, grid, read_space, read_values


@pytest.mark.parametrize(("text", "values"), [
    ("0.1:30:log", Range(0.1, 30, log=True)),
    ("1:20:int", Range(1, 20, integer=True)),
    ("1:64:int:log", Range(1, 64, log=True, integer=True)),
    ("-1:1", Range(-1, 1)),
    ("1e-3:1", Range(0.001, 1)),
    ("a,b,c", Choices(("a", "b", "c"))),
    ("1,2,3.5", Choices((1, 2, 3.5))),
    ("1e-3,1e-2", Choices((0.001, 0.01))),
    ("true,false,null", Choices((True, False, None))),
    ("[0, 50],[0, 100]", Choices(([0, 50], [0, 100]))),
    ("my_module.A", Choices(("my_module.A",))),
])  # fmt: skip
def test_values_are_read(text, values):
    assert read_values("model.x", text) == values
    assert read_values("model.x", str(values)) == values


@pytest.mark.parametrize(("text", "why"), [
    ("3:1", "from a number to a larger one"),
    ("1:1", "from a number to a larger one"),
    ("0:1:log", "must begin above 0"),
    ("0.5:2:int", "must begin and end with one"),
    ("1:2:lin", "only log and int may follow, got 'lin'"),
    ("a,a", "each of them once"),
    ("", "needs values"),
    ("[1", "must be a range or a list"),
])  # fmt: skip
def test_other_values_are_refused(text, why):
    with pytest.raises(ValueError, match=r"--over model\.x") as error:
        read_values("model.x", text)
    assert why in str(error.value) and "\n" not in str(error.value)


def test_spaces_come_from_options_and_files(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("model.sampler: [Dps, Daps]\nmodel.steps: 10:50:int\n")
    space = read_space(["--model.init_args.sampler.init_args.step_size=0.1:1", str(file)])
    assert space == {
        "model.sampler.step_size": Range(0.1, 1),
        "model.sampler": Choices(("Dps", "Daps")),
        "model.steps": Range(10, 50, integer=True),
    }
    with pytest.raises(ValueError, match=r"model\.steps has two sets of values"):
        read_space([str(file), "model.steps=1,2"])
    with pytest.raises(ValueError, match=r"must be OPTION=VALUES or a YAML file, got 'model.steps'"):
        read_space(["model.steps"])
    with pytest.raises(ValueError, match="nothing to search over"):
        read_space([])
    file.write_text("[1]")
    with pytest.raises(ValueError, match="must map options to values"):
        read_space([str(file)])


def test_ranges_know_what_is_in_them():
    assert 1 in Range(0.5, 2) and 2.0 in Range(0.5, 2) and 2.1 not in Range(0.5, 2)
    assert 1 in Range(1, 2, integer=True) and 1.5 not in Range(1, 2, integer=True)
    assert None not in Range(0.5, 2) and True not in Range(0.5, 2)


def test_optuna_keeps_every_value():
    space = read_space(["model.a=0.1:1:log", "model.b=1:4:int", "model.c=[0, 50],null,x,1.5"])
    for c in space["model.c"].values:
        settings = {"model.a": 0.5, "model.b": 2, "model.c": c}
        kept = encoded(settings, space)
        assert all(distributions(space)[name]._contains(of) for name, of in internal(kept, space).items())
        assert decoded(kept, space) == settings


def internal(kept, space):
    return {name: distributions(space)[name].to_internal_repr(value) for name, value in kept.items()}


def test_lists_alone_are_a_grid():
    assert grid(read_space(["model.a=1,2", "model.b=x,y"])) == [
        {"model.a": a, "model.b": b} for a in (1, 2) for b in ("x", "y")
    ]
    assert grid(read_space(["model.a=1,2", "model.b=1:2"])) is None
