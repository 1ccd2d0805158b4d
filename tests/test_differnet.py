from dataclasses import replace

import pytest
import torch

from adnlib import PRESETS, AdnError, DifferNet
from adnlib.presets import Preset
from adnlib.views import View, quarter_turns


def images(count=2, size=256):
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("attention", [None, "se", "cbam"])
def test_shapes_and_score(attention):
    model = DifferNet(attention, preset="smoke", weights="random").eval()
    x = images()
    with torch.no_grad():
        z, log_det = model(x)
        assert z.shape == (2, 768) and log_det.shape == (2,) and model.nll(x).shape == (2,)
        views = quarter_turns(2)
        expected = (z.square().mean(dim=1) + model(x.rot90(1, (-2, -1)))[0].square().mean(dim=1)) / 2
    torch.testing.assert_close(model.anomaly_score(x, views), expected)
    assert model.anomaly_score(x, (View(),)).shape == (2,)


def test_transform_inverts_and_counts_the_scale():
    model = DifferNet(preset=replace(PRESETS["smoke"], rescale=False), weights="random")
    y = torch.randn(4, 768, generator=torch.Generator().manual_seed(0)) + 2
    with torch.no_grad():
        model.feature_mean.fill_(2.0), model.feature_std.fill_(0.5)
        z, log_det = model.transform(y)
        _, unscaled = model.flow((y - 2) / 0.5)
        torch.testing.assert_close(log_det, unscaled + 768 * torch.log(torch.tensor(2.0)))
        assert (model.invert(z) - y).abs().max() < 1e-4


def test_log_det_of_the_whole_model_is_autograds():
    model = DifferNet(preset="smoke", weights="random")
    model.feature_std.fill_(0.5)
    y = torch.randn(768, generator=torch.Generator().manual_seed(0))
    jacobian = torch.autograd.functional.jacobian(lambda v: model.transform(v[None])[0][0], y)
    expected = torch.linalg.slogdet(jacobian.double()).logabsdet
    assert model.transform(y[None])[1].item() == pytest.approx(expected.item(), rel=1e-5)


def test_one_seed_one_flow_whatever_the_attention():
    plain, se, other = (
        DifferNet(a, preset="smoke", weights="random", seed=s) for a, s in ((None, 4), ("se", 4), (None, 5))
    )
    weights = [model.flow.state_dict() for model in (plain, se, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_paper_preset_is_the_published_configuration():
    p = PRESETS["paper"]
    assert (p.image_size, p.blocks, p.hidden, p.layers, p.clamp) == (448, 8, 2048, 3, 3.0)
    assert (p.train_views, p.test_views, p.epochs, p.batch_images, p.lr) == (4, 64, 192, 24, 2e-4)
    assert not p.rescale and p.turns == "random" and p.view_pool == 64
    assert p.views("test") == p.views("test", 2) and len(p.views("test")) == 64
    assert p.own_views and len(p.training_pool(3)) == 64 and p.training_pool(3) == p.training_pool(3, epoch=2)
    fresh = replace(p, view_pool=0)
    assert fresh.training_pool(3, 1) != fresh.training_pool(3, 2) and len(fresh.training_pool(3)) == 4
    shared = replace(p, own_views=False)
    assert not set(shared.views("train")) & set(p.views("test")) and len(shared.views("train")) == 64


def test_a_pool_smaller_than_what_is_drawn_from_it_is_refused():
    with pytest.raises(AdnError, match="view_pool=2 is less than train_views=4: choose at least as many, or 0"):
        replace(PRESETS["paper"], view_pool=2)


def test_parameter_counts():
    counts = DifferNet("se", preset="smoke", weights="random", reduction=16).parameter_counts()
    assert counts["AlexNet"] == 2_469_696
    assert counts["attention"] == sum(2 * c * (c // 16) + c + c // 16 for c in (64, 192, 256))
    assert counts["flow"] == 2 * 2 * (384 * 16 + 16 + 16 * 768 + 768)


@pytest.mark.parametrize("train_attention", [False, True])
def test_only_what_should_learn_learns(train_attention):
    model = DifferNet("se", train_attention=train_attention, preset="smoke", weights="random")
    assert all(p.requires_grad == train_attention for p in model.features.attention.parameters())
    assert not any(p.requires_grad for p in model.features.alexnet.parameters())
    model.nll(images()).mean().backward()
    assert (model.features.attention["2"].w1.weight.grad is not None) == train_attention


@pytest.mark.parametrize("how, jointly", [("guarded", True), ("cutpaste", False), ("wild_parts", False)])
def test_only_joint_training_follows_the_gradient_of_the_flow(how, jointly):
    model = DifferNet("se", train_attention=how, preset="smoke", weights="random")
    assert model.trains_jointly == jointly
    assert all(p.requires_grad == jointly for p in model.features.attention.parameters())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"attention": "se", "train_attention": "sometimes"}, "train_attention='sometimes' is not known"),
        ({"attention": "sse"}, "attention='sse' is not known"),
        ({"attention": "se", "placement": "nowhere"}, "placement='nowhere' is not known"),
        ({"preset": "slow"}, "preset='slow' is not known"),
        ({"train_attention": True}, "train_attention=True has nothing to train with attention=None"),
        ({"train_attention": True, "attention": "constant"}, "nothing to train with attention='constant'"),
        ({"attention": "se", "kernel_size": 3}, "does not take the options"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(AdnError, match=message):
        DifferNet(**{"preset": "smoke", "weights": "random", **arguments})


def test_bad_presets():
    with pytest.raises(AdnError, match="image_size=200 is out of range: choose a whole number from 252 to 4096"):
        Preset("mine", image_size=200)
    with pytest.raises(AdnError, match="turns='half' is not known"):
        Preset("mine", turns="half")
    for wrong in ({"epochs": 0}, {"batch_images": -1}, {"test_views": 1.5}):
        ((name, value),) = wrong.items()
        with pytest.raises(AdnError, match=f"{name}={value} is out of range: choose a whole number from 1 to"):
            Preset("mine", **wrong)
    for lr in (-1e-3, 0, float("nan"), "1e-3", True):
        with pytest.raises(AdnError, match="lr=.* is out of range: choose a number from 1e-09 to 10"):
            Preset("mine", lr=lr)
