"""Exercises for notebooks/06_attentdiffernet: those of attentdiffernet_gates, spread, share, bounded gates."""

import math

import numpy as np
import torch
from torch import Tensor

from adnlib.lessons.attentdiffernet_gates import (
    attend,
    check_attend,
    check_rescale_bias,
    check_rescaled,
    rescale_bias,
    rescaled,
)
from adnlib.lessons.exercise import check, expect, expect_none_of, expect_tensor

__all__ = ["attend", "check_attend", "check_rescale_bias", "check_rescaled", "rescale_bias", "rescaled"]


def _image(count: int) -> Tensor:
    return torch.randn(count, 3, 9, 7, generator=torch.Generator().manual_seed(count))


def feature_spread(y: Tensor) -> Tensor:
    """(B, D) -> (): the standard deviation of each feature over images, averaged over features."""
    return y.std(dim=0).mean()


@check(feature_spread)
def check_feature_spread(answer):
    y = torch.tensor([[10.0, 1.0, 100.0], [10.0, 3.0, 104.0], [10.0, 5.0, 120.0], [10.0, 2.0, 90.0]])  # (B, D)
    spread = answer(y)
    expect(
        not isinstance(spread, (float, np.floating)),
        "This is a float: the value may be right, but return a tensor, without .item().",
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
    each = y.std(dim=0)
    expect_none_of(
        spread,
        [
            (each[0], "This is the first feature only: average over all of them."),
            (each.sum() / 4, "This divides by the number of images: average over the features, divide by D."),
            (each.mean() / 2, "This is divided by the root of the number of images: take the plain deviation."),
            (each.mean() / y.mean(), "This is divided by the mean of all features: leave this out."),
            (each[each > 0].mean(), "A feature that is the same in all images counts too: it has the deviation 0."),
            ((y - y.mean(dim=0)).square().mean(), "The root is missing: take the standard deviation."),
            ((y - y.mean()).square().mean(dim=0).sqrt().mean(), "Subtract from each feature its own mean."),
            (each.sum(), "This is the sum over features: take the mean, which does not grow with D."),
            (each.max(), "This is the largest standard deviation: average over the features."),
            (each.median(), "This is the median over features: take the mean."),
            (each.norm(), "This is the norm of the standard deviations: take their mean."),
            (each.std(), "This is the spread of the standard deviations: take their mean."),
            ((each / y.mean(dim=0)).mean(), "Each deviation is divided by its feature's mean: leave this out."),
            (y.var(dim=0).mean().sqrt(), "The variances are averaged before the root: take the root first, std."),
            ((y - y.mean(dim=0)).abs().mean(), "This is the mean absolute deviation: take the standard deviation."),
            ((y - y.mean(dim=0)).square().mean().sqrt(), "The squares of all features are averaged before the root."),
            ((y.amax(dim=0) - y.amin(dim=0)).mean(), "This is the range: take the standard deviation."),
            (y.mean(), "This is the mean of the features themselves: take their standard deviation first."),
        ],
    )
    for example in (y, _image(5).flatten(1), _image(2)[:, 0, 0], _image(3).flatten(1)[:, :1]):
        # both definitions of the standard deviation are in use
        either = [feature_spread(example), example.std(dim=0, correction=0).mean()]
        right = any(torch.isclose(answer(example), s) for s in either)
        expect(right, f"The shape is right, but the value for y {tuple(example.shape)} is not: use std, then mean.")
    given = y.clone().requires_grad_()
    spread = answer(given)
    lost = (
        "The value is right, but it has no gradient, so it could not be a part of a loss: leave out detach(), NumPy "
        "and torch.tensor()."
    )
    expect(spread.requires_grad, lost)
    slope = torch.autograd.grad(spread, given, materialize_grads=True)[0][:, 1:]  # feature 0 is the same everywhere
    deviations = y - y.mean(dim=0)
    slopes = [(deviations / (y.std(dim=0, correction=c) * (4 - c) * 3))[:, 1:] for c in (0, 1)]
    expect(any(torch.allclose(slope, right, rtol=1e-3, atol=1e-5) for right in slopes), lost)


def explained(plain: float, constant: float, attention: float) -> float:
    """The constant gate's share of the change attention - plain; nan if that change is zero."""
    if attention == plain:
        return float("nan")
    return (constant - plain) / (attention - plain)


@check(explained)
def check_explained(answer):
    share = answer(0.5, 0.625, 0.75)
    expect(share is not None, "explained returns None: is the return missing?")
    expect(isinstance(share, (int, float)), f"explained returns {type(share).__name__}: return one number, a float.")
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
    for value, message in (
        (25, "This is in percent: return a share between 0 and 1 where part and whole have the same sign."),
        (-0.25, "The sign is wrong: subtract plain from constant, not the other way round."),
        (1 / 3, "The whole is the change from plain to attention, not from constant to attention."),
        (1 / 12, "This divides by the plain AUROC: divide by attention - plain."),
        (0.625, "This subtracts 0.5, the AUROC of chance: subtract the plain AUROC."),
        (-0.6875, "Python divides before it subtracts: put brackets around both differences."),
        (3.25, "Subtract plain from constant too: the part is a difference, like the whole."),
        (0, "This is rounded to a whole number: return the fraction itself."),
        (-1 / 3, "The arguments are taken in another order: plain comes first, then constant, then attention."),
        (1 / 64, "The two differences are multiplied: divide the first by the second."),
        (-2.1875, "Python divides before it subtracts: put brackets around the first difference."),
    ):
        expect(not math.isclose(share, value), message)
    expect(not math.isnan(share), "nan is for attention == plain only: a small difference is a difference.")
    expect(math.isclose(share, 0.25), f"explained(0.75, 0.8125, 1.0) should be 0.25, but this returns {share}.")
    expect(
        math.isclose(answer(0.75, 0.6875, 0.5), 0.25),
        "The same formula applies if attention is worse than plain: keep the signs.",
    )
    expect(
        not math.isclose(answer(0.75, 0.625, 1.0), 0.5),
        "The sign is lost: where the constant gate and attention go in opposite directions, the share is negative.",
    )
    for given, right in ((answer(0.75, 0.625, 1.0), -0.5), (answer(0.5, 1.0, 0.75), 2), (answer(0.75, 0.0, 1.0), -3)):
        expect(
            math.isclose(given, right),
            "The share must not be clipped: below 0 the constant gate has the opposite effect, above 1 a larger one.",
        )
    expect(
        math.isclose(answer(0.75, 0.7505, 0.752), 0.25, rel_tol=1e-6),
        "nan is for attention == plain only: a small difference, as from 0.75 to 0.752, is a difference.",
    )
    expect(math.isclose(answer(0.5, 0.625, 0.875), 1 / 3), "The share is rounded: return the fraction itself.")
    expect(
        math.isclose(answer(0.5, 0.75, 0.75), 1),
        "Where the constant gate changes as much as attention, its share is 1: nan is for attention == plain only.",
    )
    nothing = "Where attention equals plain there is nothing to explain: return float('nan')."
    try:
        share = answer(0.75, 0.5, float("0.75"))  # equal numbers, but not the same object
    except ZeroDivisionError:
        expect(False, nothing)
    expect(isinstance(share, (int, float)) and math.isnan(share), f"{nothing} This returns {share!r}.")
    expect(
        answer(0.75, 0.75, 0.5) == 0,
        "Where the constant gate changes nothing, its share is 0: nan is for attention == plain only.",
    )


def bounded_gate(a: Tensor) -> Tensor:
    """Gates (B, C) for the logits a (B, C) of an SE module. Their mean over channels is 1."""
    return a.shape[1] * a.softmax(dim=1)  # one of many


@check(bounded_gate)
def check_bounded_gate(answer):
    for count, channels in ((4, 6), (1, 5), (3, 64)):
        a = 2 * torch.randn(count, channels, generator=torch.Generator().manual_seed(channels))
        shape = f"logits ({count}, {channels})"
        try:
            gates = answer(a)
        except RuntimeError as error:
            expect("must match" not in str(error), "The mean lost its axis: keep it with mean(dim=1, keepdim=True).")
            raise
        expect_tensor("bounded_gate", gates)
        expect(gates.shape == a.shape, f"For {shape} the shape is {tuple(gates.shape)}: one gate per channel, (B, C).")
        expect(gates.isfinite().all(), f"For {shape} a gate is not finite.")
        expect((gates >= 0).all(), "A gate is negative: it would turn an activation into its opposite.")
        means = gates.mean(dim=1)
        expect(
            torch.allclose(means, torch.ones(count), atol=1e-3),
            f"The mean over the channels of an image should be 1, but it is {means[0]:.3f}: then all gates together "
            "can still close.",
        )
        expect(gates.std() > 1e-3, "All gates are equal, whatever the logits: this attends to nothing.")
        expect(torch.equal(answer(a), gates), "Two calls give different gates: use neither dropout nor random numbers.")
        changed = [torch.cat([a[:1] + far, a[1:]]) for far in (-200, 200)]  # another first image
        expect(
            torch.allclose(answer(a[:1]), gates[:1], atol=1e-5)
            and all(torch.allclose(answer(other)[1:], gates[1:], atol=1e-5) for other in changed),
            "The gates of an image depend on the other images of the batch: take the mean over channels, axis 1.",
        )
        expect(
            (gates.gather(1, a.argsort(dim=1)).diff(dim=1) >= -1e-6).all(),
            "The order is lost: where the logit of a channel is larger, its gate must not be smaller.",
        )
        for extreme in (a - 20, a + 20, 30 * a):
            given = answer(extreme)
            expect(
                given.isfinite().all() and torch.allclose(given.mean(dim=1), torch.ones(count), atol=1e-2),
                "With large logits (-20, 20, or 30 times as large) the gates are not finite, or their mean is not 1: "
                "training may push the logits there.",
            )
        a.requires_grad_()
        given = answer(a)
        expect(
            given.requires_grad and torch.autograd.grad(given.square().sum(), a)[0].abs().max() > 1e-6,
            "The gates have no gradient with respect to the logits, so they could not be trained.",
        )
        expect(
            torch.autograd.grad(answer(a).sum(), a)[0].abs().max() < 1e-3,
            "The values are right, but the gradient does not know that their mean stays 1: is the mean detached?",
        )
        expect(
            torch.allclose(answer(torch.zeros_like(a)), torch.ones_like(a), atol=1e-2),
            "Where all logits of an image are equal, all gates must be 1: is this divided by a spread of 0?",
        )
    far = torch.tensor([[-100.0, 100.0, 0.0, 1.0]], requires_grad=True)
    expect(
        torch.autograd.grad(answer(far).square().sum(), far)[0].isfinite().all(),
        "With a logit of -100 the gradient is not a number: use torch.sigmoid or torch.softmax instead of exp.",
    )
