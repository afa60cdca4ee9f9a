"""The LightningModule: what predict_step takes and returns, in anyone's Trainer."""

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from modules import MapRps, SolverModule
from rps.estimators import MapEstimator, PseudoInverse
from rps.operators import Denoise, LinearOperator, SuperResolution
from rps.priors import EmbeddedPrior
from rps.randomness import Streams
from rps.restoration import Prediction
from rps.traversals import Traversal
from tests.trainers import quiet


@pytest.fixture(scope="module")
def prior():
    return EmbeddedPrior()


def module(prior, operator=None, **options):
    return MapRps(
        prior,
        operator or Denoise(),
        noise=0.3,
        t0=[0, 100],
        steps=20,
        estimator=MapEstimator(num_steps=2),
        **options,
    )


def loader(*batches):
    return DataLoader(list(batches), batch_size=None)


def test_predict_in_a_users_own_trainer(prior):
    batch = {"id": ["a", "b"], "image": torch.zeros(2, 1, 32, 32), "failed": [("c", "cannot be read")]}
    (prediction,) = quiet().predict(module(prior), loader(batch))
    assert isinstance(prediction, Prediction)
    assert prediction.ids == ["a", "b"] and prediction.failures == {"c": "cannot be read"}
    assert prediction.reference is batch["image"]
    assert {k: v.shape for k, v in prediction.restoration.images.items()} == {0: (2, 1, 32, 32), 100: (2, 1, 32, 32)}


class Differentiates(L.Callback):
    """The gradient of |y - A(x)| with respect to the restorations x."""

    def on_predict_batch_end(self, trainer, module, prediction, batch, batch_idx, dataloader_idx=0):
        x = prediction.restoration.images[100].clone().requires_grad_()
        with torch.enable_grad():
            self.gradient = torch.autograd.grad(prediction.measurement.residual_norm(x).sum(), x)[0]


def test_a_trainer_with_and_without_inference_mode_makes_the_same_bits(prior):
    """Its callbacks may differentiate, too."""
    made = []
    for inference_mode in (True, False):
        batch = {"id": ["a", "b"], "image": torch.linspace(-1, 1, 2048).view(2, 1, 32, 32)}
        trainer = quiet(inference_mode=inference_mode, callbacks=[callback := Differentiates()])
        (prediction,) = trainer.predict(module(prior, SuperResolution(4)), loader(batch))
        assert prediction.ids == ["a", "b"] and not prediction.failures
        made.append([*prediction.restoration.images.values(), prediction.measurement.y, callback.gradient])
    assert all(torch.equal(*pair) for pair in zip(*made, strict=True)) and float(made[0][-1].abs().min()) > 0


class Halves(LinearOperator):
    """y = w x, with a tensor that is neither a parameter nor a buffer, and the adjoint of autograd."""

    def __init__(self):
        super().__init__()
        self.w = torch.tensor(0.5)

    def forward(self, x):
        return self.w.to(x) * x


def test_predict_step_leaves_inference_mode_by_itself():
    """Also with a module and a batch that were made in it."""
    image = torch.linspace(-1, 1, 1024).view(1, 1, 32, 32)

    def restored():
        solver = module(EmbeddedPrior(), Halves())
        run = solver.traversal.run
        solver.traversal.run = lambda *given: modes.append(torch.is_grad_enabled()) or run(*given)
        prediction = solver.predict_step({"id": ["a"], "image": image.clone()}, 0)
        assert not prediction.failures and not prediction.reference.is_inference()
        return [*prediction.restoration.images.values(), prediction.measurement.pseudo_inverse()]

    modes = []
    with torch.inference_mode():
        inside = restored()
    with torch.no_grad():
        outside = restored()
    assert all(torch.equal(*pair) for pair in zip(inside, outside, strict=True))
    assert modes == [False, False]


def test_a_given_measurement_has_no_reference(prior):
    batch = {"id": ["a"], "measurement": torch.zeros(1, 1, 8, 8)}
    (prediction,) = quiet().predict(module(prior, SuperResolution(4)), loader(batch))
    assert prediction.reference is None
    assert prediction.measurement.y.shape == (1, 1, 8, 8)
    assert prediction.restoration.images[0].shape == (1, 1, 32, 32)


def test_a_batch_in_which_nothing_could_be_read(prior):
    batch = {"id": [], "image": torch.zeros(0, 1, 32, 32), "failed": [("a", "broken"), ("b", "broken")]}
    (prediction,) = quiet().predict(module(prior), loader(batch))
    assert prediction.ids == [] and len(prediction.failures) == 2
    assert prediction.restoration.images[100].shape == (0, 1, 32, 32)


def test_a_degraded_picture_of_the_wrong_size_is_a_failure_of_that_picture(prior):
    wrong, right = ({"id": [str(n)], "measurement": torch.zeros(1, 1, n, n)} for n in (5, 8))
    first, second = quiet().predict(module(prior, SuperResolution(4)), loader(wrong, right))
    assert first.ids == [] and "expected the shape of the measurement (1, 8, 8)" in first.failures["5"]
    assert second.ids == ["8"] and not second.failures


def test_noise_that_is_null_is_estimated_for_degraded_pictures_only(prior, capsys):
    pytest.importorskip("pywt")
    y = 0.1 * Streams(0, ["a"]).normal((1, 32, 32))
    blind = MapRps(prior, Denoise(), t0=[0], estimator=PseudoInverse())
    (prediction,) = quiet().predict(blind, loader({"id": ["a"], "measurement": y}))
    assert prediction.measurement.noise_std == pytest.approx(0.1, rel=0.2)
    assert f"noise of {prediction.measurement.noise_std:.3g} estimated for a" in capsys.readouterr().err
    with pytest.raises(ValueError, match="noise is null, but it is estimated of degraded pictures only"):
        quiet().predict(blind, loader({"id": ["a"], "image": y}))


class Nameless(SuperResolution):
    """Has a file for the id "a" alone."""

    def bind(self, shape, streams):
        if set(streams.ids) - {"a"}:
            raise FileNotFoundError(f"no file for {streams.ids}")
        return super().bind(shape, streams)


def test_an_operator_with_files_is_bound_to_samples_only(prior):
    batches = [{"id": [id_], "image": torch.zeros(1, 1, 32, 32)} for id_ in "ab"]
    first, second = quiet().predict(module(prior, Nameless(4)), loader(*batches))
    assert first.ids == ["a"] and second.failures == {"b": "no file for ['b']"}


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "bf16-mixed", "bf16"])
def test_a_precision_that_would_round_the_measurements_is_refused(prior, precision):
    with pytest.raises(ValueError, match=f"precision {precision}.* would also round .* give the prior a dtype"):
        quiet(precision=precision).predict(module(prior), loader({"id": []}))


def test_double_precision_is_that_of_the_whole_run():
    batch = {"id": ["a"], "image": torch.zeros(1, 1, 32, 32)}
    single, double = (
        quiet(precision=precision).predict(module(EmbeddedPrior()), loader(batch))[0].restoration.images[100]
        for precision in ("32-true", "64-true")
    )
    assert double.dtype == torch.float64 and not torch.equal(double.float().double(), double)
    torch.testing.assert_close(double.float(), single, atol=1e-3, rtol=0)


def test_seed_changes_the_measurement_and_nothing_else_does(prior):
    batch = {"id": ["a"], "image": torch.zeros(1, 1, 32, 32)}
    same = [module(prior, seed=0).measure(batch).y for _ in range(2)]
    assert torch.equal(*same)
    assert not torch.equal(same[0], module(prior, seed=1).measure(batch).y)


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        ({"id": ["a"], "image": torch.zeros(1, 3, 32, 32)}, "the data have 3 channels but the prior has 1"),
        ({"id": ["a"], "image": torch.zeros(1, 1, 64, 64)}, "the data are 64 x 64 but the prior.s images are 32 x 32"),
    ],
)
def test_data_that_do_not_fit_the_prior(prior, batch, sentence):
    with pytest.raises(ValueError, match=sentence):
        module(prior).measure(batch)


def test_bad_arguments_are_told_before_any_data_are_read(prior):
    with pytest.raises(ValueError, match=r"noise must have a std >= 0 in \[-1, 1\] image units, got -0.1"):
        MapRps(prior, Denoise(), noise=-0.1)
    with pytest.raises(ValueError, match="t0 must be between 0 and the number of timesteps 1000, got 2000"):
        MapRps(prior, Denoise(), noise=0.1, t0=[2000])


class Squares(LinearOperator):
    def forward(self, x):
        return x**2


def test_a_users_operator_that_is_not_linear_is_refused_before_the_first_batch(prior):
    with pytest.raises(ValueError, match="Squares: forward is not linear"):
        quiet().predict(module(prior, Squares()), loader({"id": ["a"], "image": torch.zeros(1, 1, 32, 32)}))


@pytest.mark.parametrize(
    ("batch", "got"), [(torch.zeros(1, 1, 8, 8), "Tensor"), ({"ids": ["a"], "image": 0}, "a dict with ids, image")]
)
def test_a_batch_of_another_form_is_one_sentence(prior, batch, got):
    with pytest.raises(ValueError, match=f'a batch must be a dict with "id" .*, got {got}; let the predict dataloader'):
        module(prior, SuperResolution(4)).predict_step(batch, 0)


def test_a_traversal_without_levels_is_one_sentence(prior):
    class Blend(Traversal):
        knob = "weight"

    with pytest.raises(ValueError, match="Blend has no levels; a traversal sets knob and levels"):
        SolverModule(prior, SuperResolution(4), 0.1, Blend())
