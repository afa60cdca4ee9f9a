"""The settings of how a network is computed change the result by rounding only, and reach every network."""

import inspect

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from rps import priors
from rps.priors import DiffusersPrior, EmbeddedLatentPrior, EmbeddedPrior, GuidedDiffusionPrior, Speed
from rps.priors import StableDiffusionPrior as Sd
from rps.records.changes import changes
from tests.rps.guided_unet import TINY, network
from tests.rps.latent_models import save_stable_diffusion
from tests.rps.test_pixel_checkpoints import unet


def outputs(prior, rows: int = 3):
    """(eps, the gradient of |x0|^2, a decoded image) at random points."""
    x = torch.randn(rows, *prior.sample_shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    denoised = prior.denoise(x, torch.full((rows,), 300))
    (gradient,) = torch.autograd.grad(denoised.x0.square().sum(), x)
    return denoised.eps.detach(), gradient, prior.decode(x.detach())


@pytest.mark.parametrize("kind", [EmbeddedPrior, EmbeddedLatentPrior])
def test_memory_layout_changes_rounding_only(kind):
    prior = kind(speed=Speed(channels_last=True))
    assert prior.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    for fast, plain in zip(outputs(prior), outputs(kind()), strict=True):
        assert fast.is_contiguous()
        torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [EmbeddedPrior, EmbeddedLatentPrior])
def test_half_precision_weights_of_the_embedded_priors(kind):
    prior = kind(dtype="bfloat16")
    assert prior.unet.dtype == torch.bfloat16
    for half, plain in zip(outputs(prior)[:2], outputs(kind())[:2], strict=True):
        assert half.dtype == torch.float32
        assert 0 < (half - plain).norm() < 0.1 * plain.norm()


@pytest.fixture
def graphs():
    """Traces without generating code.  -> a list that grows by one item for every graph."""
    compiled = []

    def backend(graph, inputs):
        compiled.append(graph)
        return graph.forward

    torch._dynamo.reset()
    original = torch.nn.Module.compile
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Module, "compile", lambda self, **kw: original(self, backend=backend, **kw))
        yield compiled
    torch._dynamo.reset()


@pytest.mark.slow
def test_another_number_of_images_is_not_compiled_again(graphs):
    prior, plain = (DiffusersPrior(unet(), DDPMScheduler(), speed=speed) for speed in (Speed(compile=True), Speed()))
    assert prior.unet.state_dict().keys() == plain.unet.state_dict().keys()
    for rows in (4, 8, 3):
        for fast, expected in zip(outputs(prior, rows), outputs(plain, rows), strict=True):
            torch.testing.assert_close(fast, expected, atol=1e-4, rtol=1e-4)
    assert len(graphs) == 1


@pytest.mark.slow
def test_only_repeated_blocks_are_compiled_where_there_are_any(tmp_path, graphs):
    prior = Sd.from_pretrained(save_stable_diffusion(tmp_path), prompt="", speed=Speed(compile=True))
    outputs(prior)
    compiled = [module for module in prior.unet.modules() if module._compiled_call_impl is not None]
    assert {type(module).__name__ for module in compiled} == {"BasicTransformerBlock"}
    assert graphs


def test_attention_is_that_of_torch(tmp_path, monkeypatch):
    """scaled_dot_product_attention computes every attention layer, also in converted checkpoints and autoencoders."""
    calls, own = [], torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda *a, **k: calls.append(1) or own(*a, **k)
    )
    torch.save(network(TINY).state_dict(), tmp_path / "guided.pt")
    guided = GuidedDiffusionPrior(str(tmp_path / "guided.pt"), head_channels=32)
    text = Sd.from_pretrained(save_stable_diffusion(tmp_path / "sd"), prompt="", guidance_scale=1)
    for prior in (EmbeddedPrior(), EmbeddedLatentPrior(), guided, text):
        calls.clear()
        x = torch.zeros(1, *prior.sample_shape)
        prior.encode(prior.decode(x))
        prior.denoise(x, torch.tensor([10]))
        layers = [layer for layer in prior.modules() if isinstance(layer, Attention)]
        assert layers and len(calls) == len(layers) and all(type(a.processor) is AttnProcessor2_0 for a in layers)


def test_values_that_are_not_booleans_are_refused():
    with pytest.raises(ValueError, match="compile must be true or false, got 'reduce-overhead'"):
        Speed(compile="reduce-overhead")


def test_every_prior_with_a_network_takes_the_speed_of_it():
    """A prior that loads a network also takes the precision of its weights."""
    kinds = [kind for kind in vars(priors).values() if isinstance(kind, type) and issubclass(kind, DiffusersPrior)]
    assert len(kinds) >= 6
    for kind in kinds:
        loader = kind.__init__ if kind.__name__.startswith(("Embedded", "Guided")) else kind.from_pretrained
        assert {"speed", "dtype"} <= inspect.signature(loader).parameters.keys(), kind
        assert "speed" in inspect.signature(kind.__init__).parameters, kind


def test_a_run_resumes_with_another_speed():
    old, new = ({"model": {"prior": {"speed": {"compile": flag}}}} for flag in (False, True))
    assert changes(old, new) == []
