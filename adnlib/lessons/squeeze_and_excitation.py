"""Exercises for notebooks/02_squeeze_and_excitation."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adnlib.lessons import designs, repairs
from adnlib.lessons.exercise import Mistake, check, expect, expect_none_of, expect_tensor


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _layers(channels: int, hidden: int) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Linear(channels, hidden), nn.Linear(hidden, channels)


def squeeze(x: Tensor) -> Tensor:
    """Squeeze (eq. 2): (B, C, H, W) -> (B, C), the mean of each channel over space."""
    return x.mean(dim=(2, 3))


@check(squeeze, lambda: (_random(1, 3, 4, 5),), lambda: (_random(3, 1, 2, 7),), lambda: (_random(2, 2, 12, 11),))
def check_squeeze(answer):
    x = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5).square()  # (B, C, H, W); squared: mean and median differ
    z = answer(x)
    expect_tensor("squeeze", z)
    expect(z.shape != (2, 3, 1, 1), "The values may be right, but the shape is (B, C, 1, 1): drop the last two axes.")
    expect(z.shape != (2, 4, 5), "The shape is (B, H, W): this averages over channels. Average over H and W instead.")
    expect(z.shape != (3, 2), "The shape is (C, B): do not transpose.")
    expect(z.shape != (6,), "The shape is (B * C,): keep the images and the channels apart.")
    expect(z.shape == (2, 3), f"The shape is {tuple(z.shape)}, not (B, C) = (2, 3): average over axes 2 and 3.")
    expect(
        z.is_floating_point(), f"The values are {z.dtype}, so they are rounded: keep them as floating-point numbers."
    )
    wrong = [
        (x.amax(dim=(2, 3)), "The shape is right, but this is the maximum: take the mean."),
        (x.sum(dim=(2, 3)), "The shape is right, but this is the sum: divide by H * W."),
        (x.sum(dim=(2, 3)) / 19, "This divides by H * W - 1: a mean divides by the number of values, H * W."),
        (x.sum(dim=(2, 3)) / 16, "This divides by H * H: the maps need not be square, so divide by H * W."),
        (x.flatten(2).median(dim=2).values, "The shape is right, but this is the median: take the mean."),
        (-x.mean(dim=(2, 3)), "The sign is wrong: take the mean as it is."),
        (x.sum(dim=(2, 3)) / 4, "This divides by 4: the number of values is H * W, here 20."),
        (x[:, :, 0, 0], "This is the first value of each map: take the mean of all."),
        (x[:, :, 2, 2], "This is the value in the middle of each map: take the mean of all."),
        (x[:1].mean(dim=(2, 3)).expand(2, 3), "This is image 0 for every image: z[b] is the mean of x[b]."),
        (F.normalize(x.mean(dim=(2, 3))), "The means are divided by their norm: leave them as they are."),
        (x.square().mean(dim=(2, 3)).sqrt(), "This is the root of the mean square: take the plain mean."),
        (
            x.mean(dim=(2, 3)).mean(dim=0).expand(2, 3),
            "This averages over the images too: z[b] must depend on image b only.",
        ),
    ]
    expect_none_of(z, wrong)
    expect(torch.allclose(z, squeeze(x)), "The shape is right, but the values are not: z[b, c] is the mean of x[b, c].")
    expect(
        torch.allclose(answer(x - 500), squeeze(x - 500)),
        "Right for positive maps, but not for maps with negative values: take the mean of the values as they are, "
        "without ReLU or absolute value.",
    )


def excite(z: Tensor, w1: nn.Module, w2: nn.Module) -> Tensor:
    """Excitation (eq. 3): (B, C) -> gates (B, C) in (0, 1). w1: C -> C / r, w2: C / r -> C."""
    return torch.sigmoid(w2(torch.relu(w1(z))))


@check(excite, lambda: (_random(1, 6), *_layers(6, 3)), lambda: (30 * _random(5, 4), *_layers(4, 1)))
def check_excite(answer):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        w1, w2 = nn.Linear(8, 2), nn.Linear(2, 8)
        z = 5 * torch.randn(4, 8)
    with torch.no_grad():
        hidden = w1(z)
        s = answer(z, w1, w2)
        expect_tensor("excite", s)
        expect(s.is_floating_point(), f"The gates are {s.dtype}: a gate is a number between 0 and 1.")
        expect(s.shape != (4, 8, 1, 1), "The values may be right, but the axes for space come later: return (B, C).")
        expect(s.shape != (8, 4), "The shape is (C, B): do not transpose.")
        expect(s.shape != (8,), "These are the gates of one image: return those of all images, (B, C).")
        expect(s.shape == (4, 8), f"The shape is {tuple(s.shape)}, not (B, C) = (4, 8): apply w1, then w2.")
        sigmoid, logits = torch.sigmoid, w2(torch.relu(hidden))
        wrong = [
            (logits, "The gates are outside [0, 1]: is the sigmoid missing?"),
            (
                torch.softmax(logits, dim=1),
                "The gates sum to one: this is a softmax. Channels do not compete here: apply a sigmoid to each.",
            ),
            (
                torch.softmax(logits, dim=0),
                "The gates of a channel sum to one over the batch: this is a softmax over axis 0. Use a sigmoid.",
            ),
            (
                sigmoid(w2(hidden)),
                "The gates are in [0, 1], but the ReLU between the layers is missing: without it they act as one.",
            ),
            (
                sigmoid(w2(sigmoid(hidden))),
                "Use a ReLU between the layers: the sigmoid is applied only once, at the end.",
            ),
            (sigmoid(w2(torch.tanh(hidden))), "Use a ReLU between the layers: this is a tanh."),
            (sigmoid(w2(F.gelu(hidden))), "Use a ReLU between the layers: this is a GELU."),
            (sigmoid(w2(F.leaky_relu(hidden))), "Use a ReLU between the layers: this is a leaky ReLU."),
            (sigmoid(torch.relu(w2(hidden))), "The ReLU comes after w2: it belongs between w1 and w2."),
            (
                sigmoid(torch.relu(logits)),
                "A second ReLU before the sigmoid makes every gate at least one half: omit it.",
            ),
            (
                sigmoid(w2(torch.relu(w1(torch.relu(z))))),
                "z passes a ReLU before w1: the formula has one after w1 only.",
            ),
            (sigmoid(sigmoid(logits)), "The sigmoid is applied twice: apply it only once."),
            (logits.clamp(0, 1), "This cuts the gates off at 0 and 1: use a sigmoid, which never has slope zero."),
            (F.hardsigmoid(logits), "This is a hard sigmoid, made of straight lines: the formula has torch.sigmoid."),
            (torch.tanh(logits), "This is a tanh, from -1 to 1: use a sigmoid."),
            (1 - sigmoid(logits), "This is 1 - s, open where the gate should be closed."),
            (2 * sigmoid(logits), "The gates are doubled: a sigmoid, from 0 to 1, is the gate."),
            (sigmoid(logits).round(), "The gates are rounded to 0 or 1: return the sigmoid itself."),
            (sigmoid(w2(hidden.abs())), "Use a ReLU between the layers: this is the absolute value."),
            (sigmoid(logits).flip(0), "The gates belong to other images: s[b] is computed from z[b]."),
            (sigmoid(w2(torch.relu(w1(F.normalize(z))))), "z is divided by its norm: use it as it is."),
            (
                sigmoid(F.linear(torch.relu(F.linear(z, w1.weight)), w2.weight)),
                "The biases are missing: call the layers, w1(z).",
            ),
            (z * sigmoid(logits), "The gates are multiplied by z: return the gates alone."),
        ]
        expect_none_of(s, wrong)
        expect(s.min() >= 0 and s.max() <= 1, "The gates are outside [0, 1]: apply the sigmoid last.")
        right = torch.allclose(s, excite(z, w1, w2), atol=1e-6)
        expect(
            right or torch.allclose(answer(z[:1], w1, w2), s[:1], atol=1e-5),
            "The gates of an image depend on the other images: avoid statistics of the batch.",
        )
        expect(
            right,
            "Shape and range are right, but the values are not: use the layers w1 and w2 as they are, with biases.",
        )


def scale(x: Tensor, s: Tensor) -> Tensor:
    """Scale (eq. 4): (B, C, H, W), gates (B, C) -> (B, C, H, W), each channel times its gate."""
    return x * s[:, :, None, None]


@check(scale, lambda: (_random(1, 2, 5, 3), _random(1, 2)), lambda: (_random(3, 1, 2, 2), _random(3, 1)))
def check_scale(answer):
    x = torch.arange(2 * 3 * 3 * 3.0).view(2, 3, 3, 3) + 1  # (B, C, H, W): three channels, 3 x 3 positions
    s = torch.tensor([[0.1, 0.5, 0.9], [0.2, 0.4, 0.6]])
    try:
        y = answer(x, s)
    except NotImplementedError:
        raise
    except RuntimeError as error:
        raise Mistake(
            f"scale raises an error: {error}. Broadcasting aligns shapes from the right: give s two axes of size 1 at "
            "the end."
        ) from error
    expect_tensor("scale", y)
    advice = "an axis is lost. Return all images, channels and positions, (B, C, H, W)."
    expect(y.ndim == 4, f"The shape is {tuple(y.shape)}: {advice}")
    expect(
        y.shape == x.shape,
        f"The shape is {tuple(y.shape)}, not the shape of x: add two axes to s, s[:, :, None, None].",
    )
    gate = s[:, :, None, None]
    wrong = [
        (x, "This is x, unchanged: multiply by the gates."),
        (gate.expand_as(x), "This is the gate itself: multiply x by it."),
        (x + gate, "This adds the gate instead of multiplying by it."),
        (x / gate, "This divides by the gate: multiply by it."),
        (x * (1 - gate), "This multiplies by 1 - s, which closes the channels that should be open: multiply by s."),
        (x * torch.sigmoid(gate), "The sigmoid is applied again: s already holds the gates."),
        (x * gate.square(), "The gate is applied twice."),
        (x * s.mean(), "Every channel has the same gate, the mean of all: channel c of image b has its own, s[b, c]."),
        (x * gate.mean(dim=0), "The gate is averaged over the images: each image has its own."),
        (x * gate[:1], "The gates of image 0 are used for every image: image b has its own, s[b]."),
        (x * s.T.reshape(2, 3, 1, 1), "The gates are in the wrong order: s is transposed. Only add two axes."),
        (x * gate.mean(dim=1, keepdim=True), "One gate for all channels of an image: each channel has its own."),
        (x * gate.flip(0), "The gates of another image are used: image b has its own, s[b]."),
        (x * s.softmax(dim=1)[:, :, None, None], "A softmax is applied: s already holds the gates."),
        (x * gate.sqrt(), "The root of the gates is taken: multiply by the gates as they are."),
        (x * gate.round(), "The gates are rounded to 0 or 1: multiply by them as they are."),
        (x * s[0, 0], "The first gate is used for every channel: channel c of image b has its own, s[b, c]."),
        (x * gate / gate.amax(dim=1, keepdim=True), "The gates are divided by the largest: use them as they are."),
        (x**gate, "This raises to the power of the gate: multiply by it."),
        ((x * gate).mT, "Height and width are swapped."),
        (torch.cat([(x * gate)[:, :2], x[:, 2:]], dim=1), "The last channel is not gated: is the loop one too short?"),
        (x * gate + x, "This adds the input to the output: the block itself has no residual connection."),
        ((x - x.mean(dim=(2, 3), keepdim=True)) * gate, "The mean of each map is subtracted: only multiply."),
        (
            x * s[:, None, None, :],
            "The shape is right, but the gate varies along space instead of channels: its axes must be axes 0 and 1.",
        ),
        (
            x * s[:, None, :, None],
            "The shape is right, but the gate varies along space instead of channels: its axes must be axes 0 and 1.",
        ),
    ]
    expect_none_of(y, wrong)
    expect(torch.allclose(y, scale(x, s)), "The shape is right, but the values are not: y[b, c] is x[b, c] * s[b, c].")
    expect(
        torch.allclose(answer(-x, s), -y),
        "Right for positive maps, but not for negative ones: only multiply, without ReLU or absolute value.",
    )


def se_parameters(channels: int, reduction: int) -> int:
    """The number of parameters of a block: two layers, each with weights and biases."""
    hidden = channels // reduction
    return channels * hidden + hidden + hidden * channels + channels


@check(se_parameters, lambda: (48, 3), lambda: (33, 8))
def check_se_parameters(answer):
    for channels, reduction in ((64, 16), (192, 16), (256, 2), (100, 16), (100, 15)):  # 100 / 15 is rounded down too
        count, expected = answer(channels, reduction), se_parameters(channels, reduction)
        hidden = channels // reduction
        weights, up = 2 * channels * hidden, -(-channels // reduction)
        what = f"For {channels} channels and reduction {reduction},"
        expect(count is not None, "se_parameters returns None: is the return missing?")
        expect(not isinstance(count, str), "se_parameters returns text: return a number.")
        kind = type(count).__name__
        expect(
            isinstance(count, (int, float, np.integer)), f"se_parameters returns a {kind}: return one number, the sum."
        )
        for value, message in (
            (weights, "this counts only the weights: each layer also has one bias per output."),
            (channels * hidden + hidden, "this counts only one layer: there are two, down to C / r and back up to C."),
            (
                2 * channels * channels + 2 * channels,
                "this ignores the reduction: the hidden layer has C / r channels.",
            ),
            (weights + hidden, "the biases of the second layer are missing: one for each of its C outputs."),
            (weights + channels, "the biases of the first layer are missing: one for each of its C / r outputs."),
            (weights + 2 * channels, "both layers have C biases here, but the first one has C / r outputs."),
            (weights + 2 * hidden, "both layers have C / r biases here, but the second one has C outputs."),
            (
                2 * reduction * (reduction // channels) + reduction // channels + reduction,
                "channels and reduction are swapped.",
            ),
            (
                2 * channels * (channels // 16) + channels // 16 + channels,
                "this always reduces by 16: use the argument.",
            ),
            (
                9 * weights + hidden + channels,
                "these are kernels of 3 x 3: a linear layer from a to b has a * b weights.",
            ),
            (weights + hidden + 2 * channels, "there is one bias too many per channel: each layer has one per output."),
            (weights + 1, "this counts one bias: each layer has one for each of its outputs."),
            (2 * (channels * hidden + hidden + channels), "this counts both biases twice."),
            (channels * hidden + hidden * hidden + hidden + channels, "the second layer leads from C / r to C."),
            (channels * hidden * hidden * channels, "add the numbers of both layers instead of multiplying them."),
            (channels * hidden + hidden + channels, "this counts the weights of one layer only."),
            (2 * channels * reduction + reduction + channels, "the hidden layer has C / r channels, not r."),
            (2 * channels * up + up + channels, "C / r is rounded up: round down, with //."),
            (
                2 * channels**2 / reduction + channels / reduction + channels,
                "C / r is not a whole number: round down, with //.",
            ),
        ):
            expect(count != value or value == expected, f"{what} {message}")
        expect(count == expected, f"{what} the count should be {expected}, but this gives {count}.")


check_whole_block = repairs.check_whole_block
check_open_block = designs.check_open_block
