"""HDR, phase retrieval, JPEG, nonlinear blur and deepinv's operators, against independent definitions of each."""

import io
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from rps.measurement import degrade, measured
from rps.operators import (
    BlurGenerator,
    Compose,
    DeepInverse,
    GaussianBlur,
    HighDynamicRange,
    Jpeg,
    LinearOperator,
    NonlinearBlur,
    PhaseRetrieval,
    check_operator,
)
from tests.rps.operator_cases import LinearPhysics, bind, images, small_generator


def test_high_dynamic_range_clips_twice_the_image():
    x = torch.tensor([-0.8, -0.5, 0.25, 0.6]).view(1, 1, 2, 2)
    y = HighDynamicRange()(x)
    assert y.flatten().tolist() == [-1.0, -1.0, 0.5, 1.0]
    assert torch.equal(HighDynamicRange().pinv(y), y)


def test_phase_retrieval_pads_a_quarter_on_each_side_and_keeps_the_energy():
    x = images(1, (1, 256, 256))
    y = bind(PhaseRetrieval(), (1, 256, 256), 1)(x)
    assert y.shape == (1, 1, 384, 384)
    torch.testing.assert_close(y.norm(), x.norm())
    ones = bind(PhaseRetrieval(), (1, 256, 256), 1)(torch.ones_like(x))
    assert ones.flatten().argmax() == 192 * 384 + 192  # the zero frequency stands in the middle
    assert ones[0, 0, 192, 192] == pytest.approx(256 * 256 / 384)


def test_phase_retrieval_does_not_see_a_turn_or_a_sign():
    x, signed, unsigned = images(2), bind(PhaseRetrieval(), n=2), bind(PhaseRetrieval(unit_range=True), n=2)
    torch.testing.assert_close(signed(x.flip(2, 3)), signed(x))
    torch.testing.assert_close(signed(-x), signed(x))
    torch.testing.assert_close(unsigned(x), signed((x + 1) / 2))
    assert (unsigned(-x) - unsigned(x)).norm() > 0.1 * unsigned(x).norm()


@pytest.mark.parametrize("unit_range", [False, True])
def test_phase_retrieval_starts_from_an_image_that_explains_most_of_the_measurement(unit_range):
    operator, x = bind(PhaseRetrieval(unit_range=unit_range), (1, 32, 32), 2), F.avg_pool2d(images(2, (1, 96, 96)), 3)
    start = operator.pinv(operator(x))
    assert start.abs().max() <= 1 and torch.equal(start, operator.pinv(operator(x)))
    assert ((operator(start) - operator(x)).flatten(1).norm(dim=1) < 0.5 * operator(x).flatten(1).norm(dim=1)).all()


def photo(colour, height, width):
    data = pytest.importorskip("skimage.data")
    return (data.astronaut() if colour else data.camera())[:height, :width].copy()


def psnr(a, b):
    return 10 * math.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


@pytest.mark.parametrize("quality", [5, 10, 50, 75])
@pytest.mark.parametrize("shape", [(True, 256, 256), (False, 256, 256), (True, 203, 251), (False, 203, 251)])
def test_jpeg_is_that_of_libjpeg(shape, quality):
    """Through Pillow: the loss of quality agrees within 0.1 dB, and the pictures differ far less than both lose. In
    colour libjpeg also smooths chroma when it doubles it, so there both are compared in grey levels.

    They do not agree in every bit: libjpeg rounds colours and pixels to 8 bits, and computes in integers.
    """
    picture = photo(*shape)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling="4:2:0" if shape[0] else -1)
    x = torch.from_numpy(np.atleast_3d(picture)).permute(2, 0, 1).unsqueeze(0) / 127.5 - 1
    measurement = degrade(x, Jpeg(quality), 0.0)
    y = ((measurement.pseudo_inverse().clamp(-1, 1)[0] + 1) * 127.5).round().to(torch.uint8)
    found = Image.fromarray(y.permute(1, 2, 0).numpy().reshape(picture.shape))
    grey, expected, found = (
        np.asarray(image.convert("L")) for image in (Image.fromarray(picture), Image.open(file), found)
    )
    assert abs(psnr(found, grey) - psnr(expected, grey)) < 0.1
    assert psnr(found, expected) > (40 if shape[0] else 50)


def test_jpeg_of_a_jpeg_changes_nothing_more():
    """Its coefficients lie on the grid already, and `measured` finds them in a decoded picture."""
    x, operator = images(2, (1, 24, 16)), Jpeg(30)
    once = degrade(x, operator, 0.0)
    decoded = once.pseudo_inverse()
    assert (decoded - x).norm() > 0.1 * x.norm()
    torch.testing.assert_close(degrade(decoded, operator, 0.0).y, once.y)
    torch.testing.assert_close(measured(decoded, operator, 0.0, (1, 24, 16)).y, once.y)


@pytest.mark.parametrize("shape", [(1, 24, 16), (1, 20, 13), (3, 32, 16)])
def test_jpeg_rounds_to_within_half_a_step(shape):
    """The error of y has the deviation that solvers assume where coefficients are many steps large, as luma is here."""
    x = images(16, shape)
    measurement = degrade(x, Jpeg(95), 0.0)
    error = measurement.residual(x)[:, : measurement.y.shape[1] // 2]
    step = math.sqrt(12) * measurement.noise_std
    assert 0.49 * step < float(error.abs().max()) < 0.5 * step * (1 + 1e-3)
    assert abs(float(error.std()) / measurement.noise_std - 1) < 0.05


def test_the_spectrum_of_a_grey_jpeg_is_that_of_its_matrix():
    operator = bind(Jpeg(30), (2, 8, 16), 2)
    one, y = operator.rows(slice(0, 1)), operator(images(1, (2, 8, 16)))
    u, s, vt = torch.linalg.svd(one.matrix(), full_matrices=False)
    expected = vt.T @ (s / (s**2 + 0.1) * (u.T @ y.flatten()))
    torch.testing.assert_close(one.spectral(y, lambda s: s / (s**2 + 0.1)).flatten(), expected)


def test_noise_comes_before_the_rounding():
    x = images(64, (1, 16, 16))
    measurement = degrade(x, Jpeg(50), 0.1)
    assert measurement.noise_std == math.hypot(0.1, 10 / 127.5 / math.sqrt(12))
    torch.testing.assert_close(measurement.operator.stored(measurement.y), measurement.y)
    assert float(measurement.residual(x).std()) > 0.09


def test_jpeg_is_the_last_operator_of_a_composition():
    composed = degrade(images(1, (1, 16, 16)), Compose([GaussianBlur(5, 1.0), Jpeg(10)]), 0.0)
    alone = degrade(bind(GaussianBlur(5, 1.0), (1, 16, 16), 1)(images(1, (1, 16, 16))), Jpeg(10), 0.0)
    assert composed.noise_std == alone.noise_std > 0
    torch.testing.assert_close(composed.y, alone.y)
    with pytest.raises(ValueError, match="Jpeg gives measurements of shape"):
        bind(Compose([Jpeg(10), GaussianBlur(5, 1.0)]), (1, 16, 16), 1)


def test_published_weights_have_these_names_and_shapes():
    """The layout of GOPRO_wVAE.pth: 64 features, 10 blocks in front, 20 behind; an adapter that doubles by transposed
    convolutions, [in, out, 4, 4]."""
    with torch.device("meta"):
        state = {name: tuple(weight.shape) for name, weight in BlurGenerator().state_dict().items()}
    levels = ["adapter.model" + ".submodule" * depth for depth in range(5)]
    adapter = {
        f"{levels[0]}.down.0.weight": (64, 64, 4, 4),
        f"{levels[0]}.up.1.weight": (128, 64, 4, 4),
        f"{levels[0]}.up.1.bias": (64,),
        f"{levels[1]}.down.1.weight": (128, 64, 4, 4),
        f"{levels[1]}.up.1.weight": (256, 64, 4, 4),
        f"{levels[2]}.down.1.weight": (256, 128, 4, 4),
        f"{levels[2]}.up.1.weight": (512, 128, 4, 4),
        f"{levels[3]}.down.1.weight": (512, 256, 4, 4),
        f"{levels[3]}.up.1.weight": (1024, 256, 4, 4),
        f"{levels[4]}.down.1.weight": (512, 512, 4, 4),
        f"{levels[4]}.up.1.weight": (1024, 512, 4, 4),
    }
    assert {name: shape for name, shape in state.items() if name.startswith("adapter")} == adapter
    assert (
        state.items()
        >= {
            "feature_extractor.0.weight": (64, 3, 3, 3),
            "feature_extractor.2.weight": (64, 64, 3, 3),
            "feature_extractor.4.bias": (64,),
            "feature_extractor.6.conv1.weight": (64, 64, 3, 3),
            "feature_extractor.15.conv2.bias": (64,),
            "recon_trunk.0.conv1.weight": (64, 64, 3, 3),
            "recon_trunk.19.conv2.weight": (64, 64, 3, 3),
            "recon_trunk.20.weight": (256, 64, 3, 3),
            "recon_trunk.23.weight": (256, 64, 3, 3),
            "recon_trunk.26.weight": (64, 64, 3, 3),
            "recon_trunk.28.weight": (3, 64, 3, 3),
        }.items()
    )
    # Outside the adapter convolutions with biases: 3 in front, 2 per block, 4 at the end.
    assert len(state) == 2 * (3 + 2 * 10 + 2 * 20 + 4) + len(adapter)


def test_the_adapter_is_a_u_net_of_strided_convolutions(generator):
    """Level by level in functions of torch: what is joined is the input after its activation."""
    weights = {k.removeprefix("adapter.model."): v for k, v in generator.state_dict().items() if "adapter" in k}
    x, code = images(1, (2, 32, 32), torch.float32), images(1, (16, 1, 1), torch.float32)

    def doubled(x, depth):
        place = "submodule." * depth
        return F.conv_transpose2d(x, weights[f"{place}up.1.weight"], weights.get(f"{place}up.1.bias"), 2, 1)

    joined, below = [], F.conv2d(x, weights["down.0.weight"], stride=2, padding=1)
    for depth in range(1, 5):
        joined.append(F.leaky_relu(below, 0.2))
        below = F.conv2d(joined[-1], weights["submodule." * depth + "down.1.weight"], stride=2, padding=1)
    above = torch.cat([below, code], 1)
    for depth in range(4, 0, -1):
        above = torch.cat([doubled(above.relu(), depth), joined.pop()], 1)
    expected = doubled(above.relu(), 0).tanh()
    torch.testing.assert_close(generator.adapter["model"](x, code), expected)


@pytest.fixture
def generator():
    return small_generator(front=2)


def test_weights_are_read_from_a_file(generator, tmp_path):
    """Its other part is left out, and the sizes follow from the file."""
    path = tmp_path / "weights.pth"
    torch.save({**generator.state_dict(), "kernel_extractor.model.1.weight": torch.zeros(1)}, path)
    x = images(1, (3, 128, 128), torch.float32)
    expected = bind(NonlinearBlur(generator, size=128), (3, 128, 128), 1)(x)
    assert torch.equal(bind(NonlinearBlur(str(path), size=128), (3, 128, 128), 1)(x), expected)


def test_wrong_weights_are_refused(generator, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*nowhere.pth; download .*GOPRO_wVAE.pth"):
        NonlinearBlur(str(tmp_path / "nowhere.pth"))
    state = generator.state_dict()
    for spoiled in ({"weight": torch.zeros(1)}, {k: v for k, v in state.items() if k != "recon_trunk.1.bias"}):
        torch.save(spoiled, tmp_path / "weights.pth")
        with pytest.raises(ValueError, match="does not contain the weights of the bkse generator"):
            NonlinearBlur(str(tmp_path / "weights.pth"))


def test_nonlinear_blur_is_the_generator_in_units_of_images(generator):
    x = images(2, (3, 128, 128), torch.float32)
    operator = bind(NonlinearBlur(generator, size=128), (3, 128, 128), 2)
    expected = 2 * generator((x + 1) / 2, operator.code.expand(2, -1, -1, -1)) - 1
    assert expected.abs().max() > 1
    torch.testing.assert_close(operator(x), expected.clamp(-1, 1))
    grey = bind(NonlinearBlur(generator, size=128), (1, 128, 128), 2)(x[:, :1])
    torch.testing.assert_close(grey, operator(x[:, :1].expand(-1, 3, -1, -1)).mean(1, keepdim=True))
    assert bind(NonlinearBlur(generator, size=128), (3, 40, 64), 2)(x[..., :40, :64]).shape == (2, 3, 40, 64)


@pytest.mark.parametrize("antialias", [True, False])
def test_a_larger_image_is_reduced_with_or_without_antialiasing(generator, antialias):
    """512 -> 256 in the published run takes the mean of 2 x 2 pixels; with antialiasing the triangle is twice as wide:
    1/8 3/8 3/8 1/8 in each direction."""
    x = images(1, (3, 256, 256), torch.float32)
    operator = bind(NonlinearBlur(generator, size=128, antialias=antialias), (3, 256, 256), 1)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = torch.outer(taps, taps).expand(3, 1, 4, 4)
    small = F.conv2d(x, kernel, stride=2, padding=1, groups=3) if antialias else F.avg_pool2d(x, 2)
    found = operator._resized(x, (128, 128))
    torch.testing.assert_close(found[..., 1:-1, 1:-1], small[..., 1:-1, 1:-1])
    blurred = generator((found + 1) / 2, operator.code)
    expected = 2 * F.interpolate(blurred, size=(256, 256), mode="bilinear") - 1
    torch.testing.assert_close(operator(x), expected.clamp(-1, 1), atol=1e-5, rtol=1e-5)


def test_the_code_matters_and_is_normal():
    """Shape 1 x 8 features x 2 x 2 at 256, standard deviation 1.2 within 4 standard errors."""
    generator = small_generator(features=8)
    codes = torch.cat([NonlinearBlur(generator, code_seed=seed).code for seed in range(50)])
    assert codes.shape == (50, 64, 2, 2)
    assert abs(codes.std() - 1.2) < 4 * 1.2 / math.sqrt(2 * codes.numel())
    x = images(1, (3, 128, 128), torch.float32)
    one, other = (bind(NonlinearBlur(generator, seed, size=128), (3, 128, 128), 1)(x) for seed in (0, 1))
    assert not torch.equal(one, other)


def test_linear_physics_is_a_linear_operator_and_holds_its_precision():
    physics = LinearPhysics()
    operator, x = bind(DeepInverse(physics)), images(dtype=torch.float32)
    assert isinstance(operator, LinearOperator) and operator(x).dtype == torch.float32
    torch.testing.assert_close(operator(x), physics.A(x.double()).float())


def test_what_is_no_physics_is_refused():
    with pytest.raises(TypeError, match="physics must be a deepinv"):
        DeepInverse(torch.nn.Identity())
    physics = LinearPhysics()
    physics.A = lambda x: [x, x]
    with pytest.raises(TypeError, match="LinearPhysics measures list; an operator must measure one real tensor"):
        DeepInverse(physics)(images())


def test_operators_of_deepinv_itself():
    physics = pytest.importorskip("deepinv").physics
    made = {
        "Inpainting": physics.Inpainting((3, 16, 16), mask=0.5),
        "Downsampling": physics.Downsampling(img_size=(3, 16, 16), factor=2),
        "Tomography": physics.Tomography(angles=10, img_width=16),
        "CompressedSensing": physics.CompressedSensing(m=50, img_size=(3, 16, 16)),
    }
    for name, each in made.items():
        assert isinstance(DeepInverse(each), LinearOperator)
        assert check_operator(DeepInverse(each), (3, 16, 16)) == [], name


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: HighDynamicRange(0.0), "scale must be > 0, got 0.0"),
        (lambda: PhaseRetrieval(oversample=-1.0), "oversample must be >= 0, got -1.0"),
        (lambda: PhaseRetrieval(num_steps=-1), "num_steps must be >= 0, got -1"),
        (lambda: Jpeg(0), "quality must be in 1 .. 100, got 0"),
        (lambda: NonlinearBlur(BlurGenerator(1, 0, 0), size=200), "size must be a multiple of 128, got 200"),
        (lambda: bind(NonlinearBlur(BlurGenerator(1, 0, 0)), (4, 8, 8)), "1 or 3 channels, got 4"),
    ],
)
def test_bad_settings_are_one_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
