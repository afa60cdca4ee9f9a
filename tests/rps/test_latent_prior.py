"""Latent priors on tiny random networks in the real on-disk format."""

from dataclasses import replace

import pytest
import torch

from rps.cost import Cost
from rps.estimators import MapEstimator
from rps.measurement import degrade
from rps.operators import SuperResolution
from rps.priors import DiffusersPrior, LatentPrior, StableDiffusionPrior
from rps.priors.counted import CountedPrior
from rps.samplers import Ddnm, Ddrm, DiffPir, Dmps, LatentDps, PiGdm
from rps.samplers.guidance import data_gradient, through_denoiser
from rps.traversals import MapRps
from tests.rps.latent_models import (
    save_ldm,
    save_stable_diffusion,
    scheduler,
    unet,
    vae,
    vqvae,
)
from tests.rps.solvers import close

CAPTIONS = ["a cat", "two dogs", "sea"]


def images(n: int = 3) -> torch.Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def latents(prior, n: int = 3) -> torch.Tensor:
    return torch.randn(n, *prior.sample_shape, generator=torch.Generator().manual_seed(1))


def captioned(n: int = 3):
    return replace(degrade(images(n), SuperResolution(2), 0.1), conditions={"caption": CAPTIONS[:n]})


def test_a_quantised_model_from_disk_decodes_as_diffusers_does(tmp_path):
    """The folder of CompVis/ldm-celebahq-256; as there, no scaling factor in vqvae/config.json, which is c = 1."""
    import json

    path = save_ldm(tmp_path)
    config = json.loads((tmp_path / "vqvae/config.json").read_text())
    del config["scaling_factor"]
    (tmp_path / "vqvae/config.json").write_text(json.dumps(config))
    prior = LatentPrior.from_pretrained(path)
    assert prior.sample_shape == (3, 8, 8) and prior.image_shape == (3, 16, 16) and prior.latent
    z = latents(prior)
    torch.testing.assert_close(prior.decode(z), vqvae().decode(z).sample)
    torch.testing.assert_close(prior.encode(images()), vqvae().encode(images()).latents)
    t = torch.tensor([3, 500, 999])
    torch.testing.assert_close(prior.denoise(z, t).eps, unet(3)(z, t).sample)
    assert LatentPrior.from_pretrained(path, scaling_factor=2.0).scaling_factor == 2.0


def test_the_gradient_goes_straight_through_the_quantisation():
    """d D(z) / d z is that of the decoder at the nearest codes."""
    model = vqvae()
    prior = LatentPrior(unet(3), model, scheduler(), scaling_factor=1.0)
    z = latents(prior, 1).requires_grad_()
    (found,) = torch.autograd.grad(prior.decode(z).square().sum(), z)
    codes = model.quantize(z)[0].detach().requires_grad_()
    (expected,) = torch.autograd.grad(model.decoder(model.post_quant_conv(codes)).square().sum(), codes)
    torch.testing.assert_close(found, expected)
    assert found.norm() > 0
    assert not torch.equal(codes, z)


def test_scaling_and_shift_of_a_gaussian_autoencoder():
    model = vae(scaling_factor=0.18215, shift_factor=0.1)
    prior = LatentPrior(unet(), model, scheduler())
    mean = model.encode(images()).latent_dist.mean
    torch.testing.assert_close(prior.encode(images()), (mean - 0.1) * 0.18215)
    torch.testing.assert_close(prior.decode(prior.encode(images())), model.decode(mean).sample)


def test_latents_that_are_normalised_per_channel(tmp_path):
    """z = (E(x) - m) c / s, x = D(z s / c + m), with m and s of each channel."""
    m, s, c = [0.5, -1.0, 0.25, 2.0], [0.5, 2.0, 1.5, 3.0], 0.13025
    model = vae(scaling_factor=c, latents_mean=m, latents_std=s, force_upcast=False)
    path = save_stable_diffusion(tmp_path)
    model.save_pretrained(tmp_path / "vae")
    mean = model.encode(images()).latent_dist.mean
    z = (mean - torch.tensor(m).view(4, 1, 1)) * c / torch.tensor(s).view(4, 1, 1)
    for prior in (
        LatentPrior(unet(), model, scheduler()),
        StableDiffusionPrior.from_pretrained(path, posterior="mean"),
    ):
        torch.testing.assert_close(prior.encode(images()), z)
        torch.testing.assert_close(prior.decode(z), model.decode(mean).sample, atol=1e-5, rtol=1e-5)
        assert not close(prior.decode(z), model.decode(z / c).sample, 1e-2)
    with pytest.raises(ValueError, match=r"latents_mean in the autoencoder's config must be 4 finite numbers, one per"):
        LatentPrior(unet(), vae(latents_mean=[0.5]), scheduler())
    with pytest.raises(ValueError, match=r"latents_std of the autoencoder's config must be > 0, got \[1.0, 0.0"):
        LatentPrior(unet(), vae(latents_std=[1.0, 0.0, 1.0, 1.0]), scheduler())


def test_the_size_of_latents_is_that_of_the_config_or_of_the_given_image():
    for sample_size, image_size, side in ([8, 8], None, 16), (None, 24, 24), ([8, 4], 16, 16), (7, 16, 16):
        prior = LatentPrior(unet(sample_size=sample_size), vae(), scheduler(), image_size=image_size)
        assert prior.image_shape == (3, side, side) and prior.sample_shape == (4, side // 2, side // 2)
    for sample_size, sentence in (
        (None, "sample_size None, expected one number; give image_size"),
        (7, "sample_size 7, expected a multiple of 2 for its levels; give image_size, a multiple of 4"),
    ):
        with pytest.raises(ValueError, match=sentence):
            LatentPrior(unet(sample_size=sample_size), vae(), scheduler())


@pytest.mark.parametrize("kind", ["timestep", "identity", "projection", "simple_projection"])
def test_conditions_that_are_neither_texts_nor_a_table_of_classes_are_refused(kind):
    from diffusers import UNet2DConditionModel

    settings = {"sample_size": 8, "block_out_channels": (8, 8), "norm_num_groups": 4, "cross_attention_dim": 8}
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    network = UNet2DConditionModel(
        **settings, **blocks, class_embed_type=kind, projection_class_embeddings_input_dim=4, attention_head_dim=2
    )
    with pytest.raises(ValueError, match=f"the UNet's config has class_embed_type '{kind}', which is not supported"):
        LatentPrior(network, vae(), scheduler())


def test_a_text_model_with_a_projection_is_not_taken_for_classes():
    """encoder_hid_dim of DeepFloyd IF is the width of its texts, and addition_embed_type tells it apart."""
    network = unet()
    network.register_to_config(encoder_hid_dim=4096, encoder_hid_dim_type="text_proj", addition_embed_type="text")
    with pytest.raises(ValueError, match="the UNet's config has addition_embed_type 'text', which is not supported"):
        LatentPrior(network, vae(), scheduler(), class_label=1)


def test_both_evaluations_of_guidance_are_counted():
    """What is counted, images through the network, and what progress bars expect are the same number."""
    through = []
    for label, g, evaluations in ((2, 4.0, 2), (2, 1.0, 1), (None, 4.0, 2), (2, 0.0, 2)):
        prior = LatentPrior(unet(num_class_embeds=5), vae(), scheduler(), label, g)
        prior.unet.register_forward_hook(lambda network, inputs, output: through.append(len(inputs[0])))
        assert prior.evaluations == evaluations
        measurement, traversal = captioned(), MapRps([0, 100], MapEstimator(num_steps=2, t1=50), LatentDps(), steps=5)
        measurement = replace(measurement, conditions={"label": [0, 1, 2]})
        assert prior.given(measurement).evaluations == CountedPrior(prior).given(measurement).evaluations == evaluations
        through.clear()
        found = traversal.run(measurement, prior)
        assert sum(through) == 3 * evaluations * (2 + 1)
        assert found.total_cost.network_calls == traversal.network_calls_per_image(prior)
        assert found.cost[0] == Cost(2 * evaluations, 0, 2 + 1 + 1, 2)  # encodes its start, decodes its end
        assert found.cost[100].network_calls == sum(through) / 3
    assert LatentPrior(unet(), vae(), scheduler(), guidance_scale=4.0).evaluations == 1  # nothing to guide by


def test_a_posterior_sample_is_a_function_of_the_id():
    """mean + std e, e ~ N(0, I), the same in any batch; without knowing the rows it is the mean."""
    model = vae(scaling_factor=0.5)
    prior, measurement = LatentPrior(unet(), model, scheduler(), posterior="sample"), captioned()
    z = prior.given(measurement).encode(images())
    law = model.encode(images()).latent_dist
    e = (z / 0.5 - law.mean) / law.std
    assert abs(e.mean()) < 4 / e.numel() ** 0.5 and abs(e.std() - 1) < 4 / (2 * e.numel()) ** 0.5
    rows = torch.tensor([2, 0])
    assert close(prior.given(measurement.rows(rows)).encode(images()[rows]), z[rows], 1e-5)
    assert close(prior.encode(images()), law.mean * 0.5, 1e-6)


def test_class_guidance_is_the_published_formula():
    """c + 3 (c - u) of the ImageNet model is g = 4, u with the last class."""
    network = unet(num_class_embeds=5)
    plain, guided = (LatentPrior(network, vae(), scheduler(), 2, g) for g in (1.0, 4.0))
    z, t = latents(plain), torch.tensor([10, 500, 900])
    c, u = (network(z, t, class_labels=torch.full((3,), k)).sample for k in (2, 4))
    torch.testing.assert_close(plain.denoise(z, t).eps, c)
    torch.testing.assert_close(guided.denoise(z, t).eps, c + 3 * (c - u), atol=1e-5, rtol=1e-4)


def test_class_guidance_of_a_pixel_model_is_the_same():
    """u + g (c - u); the last class is u itself, at any g; two calls are counted, none of them without classes."""
    network, z, t = unet(3, num_class_embeds=5), torch.randn(3, 3, 8, 8), torch.tensor([10, 500, 900])
    c, u = (network(z, t, class_labels=torch.full((3,), k)).sample for k in (2, 4))
    assert not close(c, u, 1e-3)
    for g in (0.0, 1.0, 4.0):
        prior, none = (DiffusersPrior(network, scheduler(), k, guidance_scale=g) for k in (2, 4))
        torch.testing.assert_close(prior.denoise(z, t).eps, u + g * (c - u), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(none.denoise(z, t).eps, u, atol=1e-5, rtol=1e-4)
        counted = CountedPrior(prior)
        counted.denoise(z, t)
        assert counted.cost == Cost(network_calls=3 * (1 if g == 1 else 2))
    assert DiffusersPrior(unet(3), scheduler(), guidance_scale=4.0).evaluations == 1
    with pytest.raises(ValueError, match="guidance_scale must be a finite number, got nan"):
        DiffusersPrior(network, scheduler(), 2, guidance_scale=float("nan"))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_stable_diffusion_from_disk(tmp_path, prediction_type):
    """Captions in, u + g (c - u) out, with the embeddings that transformers makes of each text."""
    from transformers import CLIPTextModel, CLIPTokenizer

    path = save_stable_diffusion(tmp_path, prediction_type=prediction_type)
    prior, plain = (StableDiffusionPrior.from_pretrained(path, guidance_scale=g) for g in (7.5, 1.0))
    assert prior.needs.name == "caption" and prior.sample_shape == (4, 8, 8) and prior.image_shape == (3, 16, 16)
    measurement, z, t = captioned(), latents(prior), torch.tensor([10, 500, 900])
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(tmp_path / "text_encoder")

    def output(texts):
        ids = tokenizer(texts, padding="max_length", max_length=12, return_tensors="pt").input_ids
        return prior.unet(z, t, encoder_hidden_states=encoder(ids).last_hidden_state).sample

    with torch.no_grad():
        c, u = output(CAPTIONS), output([""] * 3)
    for found, expected in ((prior, u + 7.5 * (c - u)), (plain, c)):
        denoised = found.given(measurement).denoise(z, t)
        alpha, sigma = found.schedule.at(t, z)
        said = denoised.eps if prediction_type == "epsilon" else alpha * denoised.eps - sigma * denoised.x0
        torch.testing.assert_close(said, expected, atol=1e-4, rtol=1e-3)
    assert (c - u).abs().max() > 1e-4  # the text says something


def test_own_prompts_and_none(tmp_path):
    path = save_stable_diffusion(tmp_path)
    own, none = (StableDiffusionPrior.from_pretrained(path, prompt=p, guidance_scale=1.0) for p in ("sea", ""))
    captions = StableDiffusionPrior.from_pretrained(path, guidance_scale=1.0)
    assert own.needs is None and none.needs is None
    z, t = latents(own), torch.tensor([10, 500, 900])
    same = captions.given(replace(captioned(), conditions={"caption": ["sea"] * 3})).denoise(z, t).eps
    torch.testing.assert_close(own.denoise(z, t).eps, same)
    assert not close(none.denoise(z, t).eps, same, 1e-6)
    template = StableDiffusionPrior.from_pretrained(path, prompt="s{caption}", guidance_scale=1.0)
    seas = template.given(replace(captioned(), conditions={"caption": ["ea"] * 3}))
    torch.testing.assert_close(seas.denoise(z, t).eps, same)


def test_sdxl_is_told_both_texts_the_pooled_one_and_the_sizes(tmp_path):
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    prior = StableDiffusionPrior.from_pretrained(save_stable_diffusion(tmp_path, xl=True), guidance_scale=1.0)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "tokenizer")
    first = CLIPTextModel.from_pretrained(tmp_path / "text_encoder")
    second = CLIPTextModelWithProjection.from_pretrained(tmp_path / "text_encoder_2")
    ids = tokenizer(CAPTIONS, padding="max_length", max_length=12, return_tensors="pt").input_ids
    z, t = latents(prior), torch.tensor([10, 500, 900])
    with torch.no_grad():
        a, b = (encoder(ids, output_hidden_states=True) for encoder in (first, second))
        added = {"text_embeds": b.text_embeds, "time_ids": torch.tensor([[16.0, 16, 0, 0, 16, 16]]).expand(3, 6)}
        hidden = torch.cat([a.hidden_states[-2], b.hidden_states[-2]], -1)
        expected = prior.unet(z, t, encoder_hidden_states=hidden, added_cond_kwargs=added).sample
    torch.testing.assert_close(prior.given(captioned()).denoise(z, t).eps, expected, atol=1e-5, rtol=1e-4)


def test_lmap_rps_on_stable_diffusion_treats_each_row_by_itself(tmp_path):
    """Captions travel with their rows through both stages, chunks of 2 and levels that join later; and calls count."""
    prior = StableDiffusionPrior.from_pretrained(save_stable_diffusion(tmp_path), guidance_scale=2.0)
    estimator = MapEstimator(num_steps=2, t1=50)
    traversal = MapRps([0, 100, 600], estimator, LatentDps(0.01, clip_image=True), steps=5)
    whole = traversal.run(captioned(), prior)
    assert whole.total_cost.network_calls == traversal.network_calls_per_image(prior)
    assert {x.shape for x in whole.images.values()} == {(3, 3, 16, 16)}
    rows = torch.tensor([2, 0])
    traversal.micro_batch = 2
    part = traversal.run(captioned().rows(rows), prior)
    other = traversal.run(replace(captioned(), conditions={"caption": ["sea"] * 3}), prior)
    for level in (0, 100, 600):
        assert close(part.images[level], whole.images[level][rows], 1e-4)
        assert close(other.images[level][2], whole.images[level][2], 1e-4)
        assert not close(other.images[level][0], whole.images[level][0], 1e-4)


@pytest.mark.parametrize("sampler", [Ddnm(), Ddrm(), DiffPir(), Dmps(), PiGdm()], ids=lambda s: type(s).__name__)
def test_samplers_of_pixel_models_are_refused_before_stage_1(sampler):
    """Where they would run; t0 = 0 has no stage 2."""
    calls = []
    prior = LatentPrior(unet(3), vqvae(), scheduler(), scaling_factor=1.0)
    prior.predict = lambda x, time, condition: calls.append(1) or torch.zeros_like(x)
    with pytest.raises(ValueError, match=f"{type(sampler).__name__} needs a linear operator in the space"):
        MapRps([0, 100], MapEstimator(num_steps=2, t1=50), sampler, steps=5).run(captioned(), prior)
    assert not calls
    assert set(MapRps([0], MapEstimator(num_steps=2, t1=50), sampler).run(captioned(), prior).images) == {0} and calls


def test_counting_goes_on_in_what_is_given(tmp_path):
    prior = StableDiffusionPrior.from_pretrained(save_stable_diffusion(tmp_path))
    heard = []
    counted = CountedPrior(prior, lambda phase, n: heard.append((phase, n)))
    counted.meter.phase = "now"
    given = counted.given(captioned())
    given.denoise(latents(prior), torch.tensor([1, 2, 3]))
    assert prior.evaluations == given.evaluations == 2  # guidance of 1.5
    assert counted.cost.network_calls == given.cost.network_calls == 6 and heard == [("now", 6)]
    assert StableDiffusionPrior.from_pretrained(str(tmp_path), guidance_scale=1.0).evaluations == 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_networks_give_single_precision_results(tmp_path, dtype):
    prior = StableDiffusionPrior.from_pretrained(save_stable_diffusion(tmp_path), dtype=dtype)
    exact = StableDiffusionPrior.from_pretrained(str(tmp_path))
    measurement, z, t = captioned(), latents(prior), torch.tensor([10, 500, 900])
    found, expected = (p.given(measurement).denoise(z, t).eps for p in (prior, exact))
    assert prior.unet.dtype != torch.float32 and found.dtype == torch.float32
    assert (found - expected).abs().max() < 0.05 * expected.abs().max()
    gradient = data_gradient(z, measurement, prior.given(measurement))
    assert gradient.dtype == torch.float32 and torch.isfinite(gradient).all() and gradient.norm() > 0


def test_checkpointing_changes_memory_and_not_gradients(tmp_path):
    """Activations that are kept for the backward pass, in bytes, and the gradients of both stages."""
    path = save_stable_diffusion(tmp_path)
    measurement, found = captioned(), []
    for checkpointing in (False, True):
        prior = StableDiffusionPrior.from_pretrained(path, checkpointing=checkpointing, posterior="mean")
        given, kept = prior.given(measurement), [0]
        z = latents(prior)

        def pack(tensor, kept=kept):
            kept[0] += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            data = data_gradient(z, measurement, given)
            _, guidance, _ = through_denoiser(
                z, torch.tensor([10, 500, 900]), given, lambda z0, p=given: measurement.residual_norm(p.decode(z0))
            )
        found.append((data, guidance, kept[0]))
    (data, guidance, kept), (data_again, guidance_again, kept_again) = found
    torch.testing.assert_close(data, data_again)
    torch.testing.assert_close(guidance, guidance_again)
    print(f"{kept} bytes, {kept_again} with checkpointing")
    assert kept_again < kept


def test_slicing_changes_nothing_and_tiling_little_but_the_seams():
    z = latents(LatentPrior(unet(), vae(), scheduler()))
    whole, sliced = (LatentPrior(unet(), vae(), scheduler(), slicing=s).decode(z) for s in (False, True))
    torch.testing.assert_close(whole, sliced)
    tiled = LatentPrior(unet(), vae(sample_size=8), scheduler(), image_size=32, tiling=True)
    assert tiled.sample_shape == (4, 16, 16)
    assert tiled.decode(latents(tiled, 1)).shape == (1, 3, 32, 32)


def test_what_does_not_fit_is_told_in_a_sentence(tmp_path):
    path = save_stable_diffusion(tmp_path / "sd")
    prior = StableDiffusionPrior.from_pretrained(path)
    with pytest.raises(ValueError, match=r"is conditioned on the caption of each sample .* or give a prompt for all"):
        prior.denoise(latents(prior), torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match=r"is conditioned on the caption of each sample .* or give a prompt for all"):
        prior.given(degrade(images(), SuperResolution(2), 0.1))
    long = "a b c d e f g h i j k l m n"
    with pytest.raises(ValueError, match="has 16 tokens, but the text encoder takes 12; shorten it"):
        prior.given(replace(captioned(1), conditions={"caption": [long]}))
    with pytest.raises(ValueError, match="has 16 tokens"):
        StableDiffusionPrior.from_pretrained(path, prompt=long)
    with pytest.raises(ValueError, match="x has 3 rows, but the prior is bound to 1"):
        prior.given(captioned(1)).denoise(latents(prior), torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match=r"a prompt contains \{captoin\}, but may only contain \{caption\}"):
        StableDiffusionPrior.from_pretrained(path, prompt="a {captoin}")
    with pytest.raises(ValueError, match=r"negative_prompt contains \{caption\}, but it is one text"):
        StableDiffusionPrior.from_pretrained(path, negative_prompt="no {caption}")
    unet(3).save_pretrained(tmp_path / "none/unet")
    with pytest.raises(FileNotFoundError, match=r"has neither vae/config\.json nor vqvae/config\.json"):
        LatentPrior.from_pretrained(str(tmp_path / "none"))
    with pytest.raises(ValueError, match="the UNet has 4 channels, but the autoencoder has 3"):
        LatentPrior(unet(4), vqvae(), scheduler())
    with pytest.raises(ValueError, match="image_size must be a multiple of 4 for this network, got 18"):
        LatentPrior(unet(), vae(), scheduler(), image_size=18)
    with pytest.raises(ValueError, match="posterior must be mean or sample, got 'mode'"):
        LatentPrior(unet(), vae(), scheduler(), posterior="mode")
    with pytest.raises(ValueError, match="scaling_factor must be a finite number > 0, got 0"):
        LatentPrior(unet(), vae(), scheduler(), scaling_factor=0.0)
    with pytest.raises(ValueError, match="guidance_scale must be a finite number, got nan"):
        LatentPrior(unet(), vae(), scheduler(), guidance_scale=float("nan"))
    with pytest.raises(ValueError, match="VQModel does not support tiling; leave it out"):
        LatentPrior(unet(3), vqvae(), scheduler(), tiling=True)


def test_data_without_captions_are_told_before_anything_is_computed(tmp_path):
    from modules import LmapRps

    module = LmapRps(StableDiffusionPrior.from_pretrained(save_stable_diffusion(tmp_path)), SuperResolution(2), 0.1)
    with pytest.raises(ValueError, match=r"have no captions; name their column .--data\.caption_column"):
        module.measure({"id": ["a"], "image": images(1)})
    assert module.measure({"id": ["a"], "image": images(1), "caption": ["sea"]}).conditions == {"caption": ["sea"]}
