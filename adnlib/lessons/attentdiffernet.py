"""Exercises for notebooks/06_attentdiffernet."""

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

from adnlib.lessons.exercise import check, expect, expect_tensor


def _image(count: int) -> Tensor:
    return torch.randn(count, 3, 9, 7, generator=torch.Generator().manual_seed(count))


def _strided() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Sequential(nn.Conv2d(3, 2, 3, stride=2, padding=1), nn.Tanh(), nn.Conv2d(2, 4, 1))


def attend(x: Tensor, layers: nn.Sequential, attention: dict[int, nn.Module]) -> Tensor:
    """Passes x (B, C, H, W) through the layers; attention[i], if present, follows layer i."""
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in attention:
            module = attention[index]
            x = module(x)
    return x


class _Affine(nn.Module):
    """2 x - 1, a module whose position matters; counts its calls."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return 2 * x - 1


@check(
    attend,
    lambda: (_image(1), _strided(), {0: nn.Tanh(), 2: nn.Sigmoid()}),
    lambda: (_image(3), _strided(), {1: nn.Tanh()}),
)
def check_attend(answer):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.Tanh())
    x = torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8)  # (B, C, H, W)
    module = _Affine()
    with torch.no_grad():
        try:
            y = answer(x, layers, {1: module})
        except KeyError:
            expect(False, "Not every layer is followed by a module: check `if index in attention` first.")
        expect_tensor("attend", y)
        expect(y.shape != (2, 4, 6, 6), "This returns right after the module: the remaining layers must still run.")
        expect(y.shape == (2, 2, 4, 4), f"The shape is {tuple(y.shape)}, not (2, 2, 4, 4): does every layer run once?")
        expect(module.calls > 0, "The module is never called: the keys of attention are integers, such as 2, not '2'.")
        expect(
            not torch.allclose(y, layers(x)),
            "The module is called, but its output is not used. Write x = module(x).",
        )
        expect(
            module.calls < len(layers),
            "The module runs after every layer: apply it only where the index of the layer is a key of attention.",
        )
        before = layers[2:](layers[1](_Affine()(layers[0](x))))
        expect(not torch.allclose(y, before), "The module runs before its layer: run the layer first, then the module.")
        instead = layers[2:](_Affine()(layers[0](x)))
        expect(not torch.allclose(y, instead), "The module replaces its layer: run the layer as well, then the module.")
        after = layers[3](layers[2](layers[1](layers[0](x))) * 2 - 1)
        expect(not torch.allclose(y, after), "The module runs one layer late: count the layers from 0, as Python does.")
        expect(
            torch.allclose(y, attend(x, layers, {1: _Affine()})),
            "The shape is right, the values are not: for each layer in order, x = layer(x), then its module, if any.",
        )
        last = answer(x, layers, {1: _Affine(), 3: _Affine()})
        expect(
            torch.allclose(last, attend(x, layers, {1: _Affine(), 3: _Affine()})),
            "This works with one module, but not with two: any layer can have one, including the last.",
        )
        expect(
            torch.allclose(answer(x, layers, {}), layers(x)),
            "Without modules the output must be that of the layers alone.",
        )


def rescale_bias(conv: nn.Conv2d, g: float) -> nn.Conv2d:
    """A copy of conv where an input gate g only rescales the output: copy(g * x) = g * conv(x)."""
    new = deepcopy(conv)  # the original keeps its bias
    with torch.no_grad():
        # >>> yours
        new.bias.copy_(g * conv.bias)  # pyright: ignore[reportOptionalMemberAccess, reportOperatorIssue]: has a bias
        # <<<
    return new


@check(rescale_bias)
def check_rescale_bias(answer):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        conv = nn.Conv2d(2, 3, 3)
        convolutions = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2), nn.Conv2d(2, 1, 2, dilation=2)
        x = torch.randn(1, 2, 5, 5)
    weight, bias = (p.detach().clone() for p in conv.parameters())
    g = 0.25
    new = answer(conv, g)
    expect(isinstance(new, nn.Conv2d), f"rescale_bias returns {type(new).__name__}, not a convolution.")
    with torch.no_grad():
        expect(
            all(map(torch.equal, conv.parameters(), (weight, bias))),
            "This changes the original convolution: write into new.bias, the bias of the copy.",
        )
        expect(
            torch.allclose(new.weight, weight),
            "The weights changed. W (g x) already equals g (W x): only the bias needs to change.",
        )
        expect(not torch.equal(new.bias, bias), "The bias is not rescaled: copy(g * x) is still W (g x) + b.")
        expect(
            not torch.allclose(new.bias, bias / g),
            "The bias is divided by g. The gated output is smaller, so the bias must be smaller too.",
        )
        expect(
            new.bias.abs().max() > 0,
            "The bias is zero: then copy(g * x) = g W x, and the term g b of g (W x + b) is missing.",
        )
        expect(
            torch.allclose(new(g * x), g * conv(x), atol=1e-6),
            "The weights are right, the bias is not: find b' with W (g x) + b' = g (W x + b).",
        )
        for strided in convolutions:
            expect(
                answer(strided, g)(g * x).shape == strided(x).shape,
                "The copy lost the stride, the padding or another setting of the convolution: copy it as a whole.",
            )
            expect(
                torch.allclose(answer(strided, g)(g * x), g * strided(x), atol=1e-6),
                "This works for one convolution, but not for one with a stride or with groups: use its own bias and g.",
            )


def feature_spread(y: Tensor) -> Tensor:
    """(B, D) -> (): the standard deviation of each feature over images, averaged over features."""
    return y.std(dim=0).mean()


@check(feature_spread)
def check_feature_spread(answer):
    y = torch.tensor([[1.0, 10.0, 100.0], [3.0, 10.0, 104.0], [5.0, 10.0, 120.0], [2.0, 10.0, 90.0]])  # (B, D)
    spread = answer(y)
    expect(
        not isinstance(spread, float), "This is a float: the value may be right, but return a tensor, without .item()."
    )
    expect_tensor("feature_spread", spread)
    expect(spread.shape != (3,), "This is one number for each feature: now average them.")
    expect(spread.shape != (4,), "This is one number for each image: reduce over the images instead, axis 0.")
    expect(
        spread.shape == (), f"The shape is {tuple(spread.shape)}, not (): return one number for all features together."
    )
    expect(
        not torch.isclose(spread, y.std()),
        "This is the spread of all values together, which also counts how features differ from each other: use axis 0.",
    )
    expect(
        not torch.isclose(spread, y.std(dim=1).mean()),
        "This is the spread between the features of one image: compute it between images, along axis 0.",
    )
    expect(
        not torch.isclose(spread, y.var(dim=0).mean()),
        "This averages variances, which have squared units: take the standard deviation.",
    )
    expect(
        not torch.isclose(spread, y.mean(dim=1).std()) and not torch.isclose(spread, y.mean(dim=0).std()),
        "This averages first, so differences cancel. Take the standard deviation first, then average.",
    )
    for example in (y, _image(5).flatten(1), _image(2)[:, 0, 0]):
        # both definitions of the standard deviation are in use
        either = [feature_spread(example), example.std(dim=0, correction=0).mean()]
        right = any(torch.isclose(answer(example), s) for s in either)
        expect(right, f"The shape is right, but the value for y {tuple(example.shape)} is not: use std, then mean.")


def explained(plain: float, constant: float, attention: float) -> float:
    """The constant gate's share of the change attention - plain; nan if that change is zero."""
    if attention == plain:
        return float("nan")
    return (constant - plain) / (attention - plain)


@check(explained)
def check_explained(answer):
    share = answer(0.5, 0.625, 0.75)
    expect(
        isinstance(share, (int, float)),
        f"explained returns {type(share).__name__}, not a number: is the return missing?",
    )
    share = answer(0.75, 0.8125, 1.0)  # one quarter
    expect(
        not math.isclose(share, 4),
        "The fraction is upside down: attention's difference is the whole, so it belongs in the denominator.",
    )
    expect(
        not math.isclose(share, 0.75),
        "This is the rest of the change, from constant to attention: return the share from plain to constant.",
    )
    expect(
        not math.isclose(share, 0.8125),
        "This is the ratio of two AUROCs: first subtract the plain AUROC from both.",
    )
    expect(not math.isclose(share, 0.0625), "This is the constant gate's own difference: divide it by attention's.")
    expect(math.isclose(share, 0.25), f"explained(0.75, 0.8125, 1.0) should be 0.25, but this returns {share}.")
    expect(
        math.isclose(answer(0.75, 0.6875, 0.5), 0.25),
        "The same formula applies if attention is worse than plain: keep the signs.",
    )
    expect(
        not math.isclose(answer(0.75, 0.625, 1.0), 0.5),
        "The sign is lost: where the constant gate and attention go in opposite directions, the share is negative.",
    )
    expect(
        math.isclose(answer(0.75, 0.625, 1.0), -0.5) and math.isclose(answer(0.5, 1.0, 0.75), 2),
        "The share must not be clipped: below 0 the constant gate has the opposite effect, above 1 a larger effect.",
    )
    nothing = "Where attention equals plain there is nothing to explain: return float('nan')."
    try:
        expect(math.isnan(answer(0.75, 0.5, 0.75)), nothing)
    except ZeroDivisionError:
        expect(False, nothing)
