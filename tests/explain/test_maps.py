"""Maps of where a model looks: on the evidence, within bounds, repeatable, and without a trace in the model."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import adnlib
from adnlib import AdnError
from adnlib.explain.maps import (
    LAYERS,
    STRIDES,
    all_cams,
    deviation_map,
    gates,
    grad_cam,
    gradient_map,
    interpolation,
    randomised,
    stretched,
)
from adnlib.features import SCALES
from adnlib.views import View, quarter_turns

pytestmark = pytest.mark.slow

SIZE = 252  # px, the smallest that three scales allow
PATCH = (slice(40, 100), slice(130, 200))
ONE_VIEW = quarter_turns(1)
MAPS = {"conv5": grad_cam, "pool2": lambda m, x, **o: grad_cam(m, x, "pool2", **o), "gradient": gradient_map}


def tiny_model(attention=None, placement="figure", **options):
    return adnlib.DifferNet(attention, placement, preset="smoke", **options).eval()


@pytest.fixture(scope="module", params=[None, "se", "cbam"])
def model(request):
    return tiny_model(request.param)


@pytest.fixture(scope="module")
def images():
    return torch.randint(0, 256, (2, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def planted_model():
    """Sees brightness at each place and nothing else, and finds all brightness unlikely: NLL = mean y^2 / 2."""
    model = tiny_model()
    with torch.no_grad():
        for layer in model.features.alexnet:
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.zero_()
                layer.bias.zero_()
                middle = layer.kernel_size[0] // 2
                layer.weight[0, 0, middle, middle] = 1.0
        for name, p in model.flow.named_parameters():
            if p.is_floating_point() and "subnet" in name:
                p.zero_()  # z is y in another order
    return model


def patch_image():
    image = torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8)
    image[(0, slice(None), *PATCH)] = 255
    return image


def hook_count(model):
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


@pytest.mark.parametrize("name", MAPS)
def test_maps_are_of_the_images_size_in_0_to_1_and_repeatable(model, images, name):
    first, second = MAPS[name](model, images), MAPS[name](model, images)
    assert first.shape == (2, SIZE, SIZE) and first.dtype == torch.float32
    assert first.min() >= 0 and first.max() <= 1
    assert torch.equal(first, second)
    assert torch.allclose(MAPS[name](model, images[1:])[0], first[1], atol=1e-3)  # whatever else is in the batch


@pytest.mark.parametrize("name", MAPS)
def test_images_need_not_be_square(name, images):
    wide = torch.cat([images, images], dim=-1)[..., :300]
    assert MAPS[name](tiny_model(), wide).shape == (2, SIZE, 300)


def planted_map(name, view=ONE_VIEW[0]):
    """The map of the planted model, (SIZE, SIZE), and where its patch is."""
    draw = gradient_map if name == "gradient" else lambda *a, **o: grad_cam(*a, name, **o)
    inside = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    inside[PATCH] = True
    return draw(planted_model(), patch_image(), views=(view,))[0], inside


@pytest.mark.parametrize("name", [*LAYERS, "gradient"])
def test_the_only_evidence_gets_the_map(name):
    seen, inside = planted_map(name)
    more = 1.3 if name == "pool5" else 2  # pool5's places are 32 px apart, at a quarter of the scale there is one
    assert seen[inside].mean() > more * seen[~inside].mean()


@pytest.mark.parametrize("view", [View(90), View(180, True), View(270, True), View(33)], ids=str)
@pytest.mark.parametrize("name", ["conv1", "gradient"])
def test_a_turned_view_is_turned_back(name, view):
    seen, inside = planted_map(name, view)
    assert inside[divmod(int(seen.argmax()), SIZE)] and seen[inside].mean() > 10 * seen[~inside].mean()


@pytest.mark.parametrize("name", LAYERS)
def test_a_place_is_drawn_at_the_centre_of_what_it_sees(name):
    layers = copy.deepcopy(tiny_model().features.alexnet[: LAYERS[name] + 1])
    for index, layer in enumerate(layers):
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.ones_(layer.weight)
        elif isinstance(layer, torch.nn.MaxPool2d):
            layers[index] = torch.nn.AvgPool2d(3, 2)  # sees the same pixels, and passes a gradient to all
    x = torch.ones(1, 3, 2 * SIZE, 2 * SIZE, requires_grad=True)
    y = layers(x)  # (1, C, h, w)
    place = y.shape[-1] // 2
    y[0, 0, place, place].backward()
    sees = x.grad[0, 0].sum(dim=0).nonzero()
    drawn = interpolation(y.shape[-1], 2 * SIZE, STRIDES[LAYERS[name]])  # (2 SIZE, w)
    assert drawn[:, place].argmax() == sees.double().mean() and torch.allclose(drawn.sum(dim=1), torch.tensor(1.0))


@pytest.mark.parametrize("name", MAPS)
def test_without_a_gradient_the_map_is_zero(name, images):
    model = planted_model()
    with torch.no_grad():
        model.features.alexnet[0].bias.fill_(-1e3)  # no unit is ever active
    assert torch.equal(MAPS[name](model, images), torch.zeros(2, SIZE, SIZE))


def test_stretched_maps():
    maps = torch.stack([torch.full((2, 2), 7.0), torch.tensor([[1.0, 3.0], [2.0, float("nan")]])])
    assert torch.equal(stretched(maps)[0], torch.zeros(2, 2))
    assert torch.allclose(stretched(maps)[1], torch.tensor([[1 / 3, 1], [2 / 3, 0]]))


@pytest.mark.parametrize("step", [2.0, 2**0.5])  # between two scales
@pytest.mark.parametrize("attention", [None, "cbam"])
def test_grad_cam_equals_its_formula(attention, step, images):
    model = tiny_model(attention, placement="after-pool5")
    model.features.scale_step = step
    x = model.features.normalize(images)
    sizes = [int(SIZE / step**s + 1e-6) for s in range(SCALES)]
    scales = [F.interpolate(x, size=(size, size)) for size in sizes]
    maps = [model.features.convolve(scaled).detach().requires_grad_() for scaled in scales]  # A, (B, 256, h, w)
    z, log_det = model.transform(torch.cat([a.mean(dim=(2, 3)) for a in maps], dim=1))
    ((0.5 * z.square().sum(dim=1) - log_det) / 768).sum().backward()
    total = 0
    for scale, a in enumerate(maps):
        weights = a.grad.mean(dim=(2, 3), keepdim=True) * a[0, 0].numel()
        cam = (weights * a).sum(dim=1).detach().numpy()  # (B, h, w)
        for axis in (1, 2):
            centres = 32 * step**scale * (np.arange(cam.shape[axis]) + 1) - 1  # px
            cam = np.apply_along_axis(lambda v, at=centres: np.interp(np.arange(SIZE), at, v), axis, cam)
        total = total + torch.from_numpy(cam).float()
    expected = total.clamp(min=0)
    ours = grad_cam(model, images, "pool5", ONE_VIEW, stretch=False)
    assert torch.allclose(ours, expected, rtol=1e-3, atol=1e-5 * expected.max())
    same = grad_cam(model, images, "pool5", ONE_VIEW, per_place=True, stretch=False)
    assert torch.allclose(ours, same, rtol=1e-3, atol=1e-5 * expected.max())  # a mean weighs all places alike


def test_views_are_averaged(images):
    model, views = tiny_model(), (View(90), View(0, True))
    both = grad_cam(model, images, "conv1", views, stretch=False)
    assert both.shape == (2, SIZE, SIZE)
    seen = gradient_map(model, images, views, stretch=False).sqrt()
    one, other = (gradient_map(model, images, (view,), stretch=False).sqrt() for view in views)
    assert torch.allclose(seen, (one + other) / 2, rtol=1e-3, atol=1e-6 * seen.max())


@pytest.mark.parametrize("draw", [grad_cam, gradient_map, gates])
def test_a_model_is_left_as_it_was(draw, images):
    model = tiny_model("se", train_attention=True).train()
    model.nll(images).sum().backward()
    before = [(p.requires_grad, p.grad if p.grad is None else p.grad.clone()) for p in model.parameters()]
    hooks = hook_count(model)
    with torch.inference_mode():
        draw(model, images)
    assert hook_count(model) == hooks and all(module.training for module in model.modules())
    for p, (needed, gradient) in zip(model.parameters(), before, strict=True):
        assert p.requires_grad == needed
        assert p.grad is gradient is None or torch.equal(p.grad, gradient)


def broken(*arguments):
    raise IndexError("broken")


@pytest.mark.parametrize("draw", [grad_cam, gradient_map, gates, lambda m, x: deviation_map(m, x, x)])
def test_no_trace_after_an_error(draw, images):
    model = tiny_model("cbam")
    hooks, flags = hook_count(model), [p.requires_grad for p in model.parameters()]
    model.features.alexnet[12].register_forward_pre_hook(broken)  # pool5: behind the hook on conv5
    with pytest.raises(IndexError, match="broken"):
        draw(model, images)
    assert hook_count(model) == hooks + 1 and [p.requires_grad for p in model.parameters()] == flags


def test_gates_are_what_the_modules_multiply_by(images):
    assert gates(tiny_model(), images) == {}
    constant = gates(tiny_model("constant", value=0.25), images)
    assert {name: g["channel"].unique().tolist() for name, g in constant.items()} == dict.fromkeys(constant, [0.25])
    for attention, placement, first in (("se", "figure", "pool1"), ("cbam", "before-pool", "conv1")):
        model = tiny_model(attention, placement)
        found = gates(model, images)
        assert list(found) == [first, {"figure": "pool2", "before-pool": "conv2"}[placement], "conv5"]
        for g in found.values():
            assert g["channel"].min() > 0 and g["channel"].max() < 1 and (g["spatial"] is None) == (attention == "se")
        x = model.features.alexnet[: LAYERS[first] + 1](model.features.normalize(images))
        g = found[first]
        y = x * g["channel"][:, :, None, None] * (1 if g["spatial"] is None else g["spatial"][:, None])
        assert torch.allclose(y, model.features.attention[str(LAYERS[first])](x), atol=1e-6)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"layer": "conv6"}, "layer='conv6' is not known: choose one of 'conv1'"),
        ({"views": ()}, r"views=\(\) is empty"),
    ],
)
def test_bad_arguments(images, arguments, message):
    with pytest.raises(AdnError, match=message):
        grad_cam(tiny_model(), images, **arguments)


def test_small_images():
    with pytest.raises(AdnError, match="too small for 3 scales"):
        gradient_map(tiny_model(), torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


def test_several_layers_at_once_are_the_single_ones(images):
    model = tiny_model("cbam")
    together = all_cams(model, images, ("conv5", "pool1"), ONE_VIEW)
    assert list(together) == [("pool1", False), ("pool1", True), ("conv5", False), ("conv5", True)]
    for (layer, per_place), maps in together.items():
        single = grad_cam(model, images, layer, ONE_VIEW, per_place=per_place, stretch=False)
        assert torch.allclose(maps, single, rtol=1e-3, atol=1e-5 * single.max())


def test_deviation_is_where_an_image_differs_from_normal_ones(images):
    model, hooks = planted_model(), hook_count(planted_model())
    normal = torch.randint(0, 40, (6, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    odd = normal[:1].clone()
    odd[(0, slice(None), *PATCH)] += 200
    for layer in ("pool1", "conv3"):
        seen = deviation_map(model, odd, normal[1:], layer)[0]
        assert seen.shape == (SIZE, SIZE) and seen.min() >= 0 and seen.max() <= 1
        y, x = divmod(int(seen.argmax()), SIZE)
        assert 35 < y < 105 and 125 < x < 205 and seen[PATCH].mean() > 5 * seen.mean()
        assert torch.equal(seen, deviation_map(model, odd, normal[1:], layer)[0])
    assert hook_count(model) == hooks
    with pytest.raises(AdnError, match="1 normal images are too few"):
        deviation_map(model, odd, normal[:1])


def test_a_randomised_copy_forgets_only_what_it_is_told(images):
    model = tiny_model("se")
    before = model.nll(images)
    for part, named in (("flow", "flow"), ("attention", "features.attention"), ("alexnet", "features.alexnet")):
        copy = randomised(model, part, seed=1)
        changed = [n for (n, a), b in zip(model.named_parameters(), copy.parameters(), strict=True) if not a.equal(b)]
        assert changed and all(name.startswith(named) for name in changed)
        assert torch.equal(randomised(model, part, seed=1).nll(images), copy.nll(images))
    assert torch.equal(model.nll(images), before)
    for attention in ("cbam", "eca", "global_context", "coordinate", "bam"):
        own = tiny_model(attention).features.attention
        for parameter in own.parameters():
            torch.nn.init.constant_(parameter, 0.123)  # what it has learned
        model.features.attention = own
        forgotten = randomised(model, "attention").features.attention
        assert not any((p == 0.123).any() for p in forgotten.parameters()), attention
    with pytest.raises(AdnError, match="part='flo' is not known"):
        randomised(model, "flo")
