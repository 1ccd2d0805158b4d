"""Exercises for notebooks/02_squeeze_and_excitation."""

import torch
from torch import Tensor, nn

from adnlib.lessons.exercise import check, expect, expect_tensor


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _layers(channels: int, hidden: int) -> tuple[nn.Module, nn.Module]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return nn.Linear(channels, hidden), nn.Linear(hidden, channels)


def squeeze(x: Tensor) -> Tensor:
    """Squeeze (eq. 2): (B, C, H, W) -> (B, C), the mean of each channel over space."""
    return x.mean(dim=(2, 3))


@check(squeeze, lambda: (_random(1, 3, 4, 5),), lambda: (_random(3, 1, 2, 7),))
def check_squeeze(answer):
    x = torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5).square()  # (B, C, H, W); squared: mean and median differ
    z = answer(x)
    expect_tensor("squeeze", z)
    expect(z.shape != (2, 3, 1, 1), "The values may be right, but the shape is (B, C, 1, 1): drop the last two axes.")
    expect(z.shape != (2, 4, 5), "The shape is (B, H, W): this averages over channels. Average over H and W instead.")
    expect(z.shape == (2, 3), f"The shape is {tuple(z.shape)}, not (B, C) = (2, 3): average over axes 2 and 3.")
    expect(not torch.equal(z, x.amax(dim=(2, 3))), "The shape is right, but this is the maximum: take the mean.")
    expect(not torch.equal(z, x.sum(dim=(2, 3))), "The shape is right, but this is the sum: divide by H * W.")
    expect(torch.allclose(z, squeeze(x)), "The shape is right, but the values are not: z[b, c] is the mean of x[b, c].")


def excite(z: Tensor, w1: nn.Module, w2: nn.Module) -> Tensor:
    """Excitation (eq. 3): (B, C) -> gates (B, C) in (0, 1). w1: C -> C / r, w2: C / r -> C."""
    return torch.sigmoid(w2(torch.relu(w1(z))))


@check(excite, lambda: (_random(1, 6), *_layers(6, 3)), lambda: (_random(5, 4), *_layers(4, 1)))
def check_excite(answer):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        w1, w2 = nn.Linear(8, 2), nn.Linear(2, 8)
        z = 5 * torch.randn(4, 8)
    with torch.no_grad():
        hidden = w1(z)
        s = answer(z, w1, w2)
        expect_tensor("excite", s)
        expect(s.shape == (4, 8), f"The shape is {tuple(s.shape)}, not (B, C) = (4, 8): apply w1, then w2.")
        outside = "The gates are outside [0, 1]: is the sigmoid missing?"
        expect(s.min() >= 0 and s.max() <= 1, outside)
        expect(
            not torch.allclose(s, torch.softmax(w2(torch.relu(hidden)), dim=1)),
            "The gates sum to one: this is a softmax. Channels do not compete here: apply a sigmoid to each of them.",
        )
        expect(
            not torch.allclose(s, torch.sigmoid(w2(hidden))),
            "The gates are in [0, 1], but the ReLU between the layers is missing: without it they act as one layer.",
        )
        expect(
            not torch.allclose(s, torch.sigmoid(w2(torch.sigmoid(hidden)))),
            "Use a ReLU between the layers: the sigmoid is applied only once, at the end.",
        )
        expect(torch.allclose(s, excite(z, w1, w2)), "Shape and range are right, but the values are not: see eq. 3.")


def scale(x: Tensor, s: Tensor) -> Tensor:
    """Scale (eq. 4): (B, C, H, W), gates (B, C) -> (B, C, H, W), each channel times its gate."""
    return x * s[:, :, None, None]


@check(scale, lambda: (_random(1, 2, 5, 3), _random(1, 2)), lambda: (_random(3, 1, 2, 2), _random(3, 1)))
def check_scale(answer):
    x = torch.arange(2 * 3 * 3 * 3.0).view(2, 3, 3, 3) + 1  # (B, C, H, W): three channels, 3 x 3 positions
    s = torch.tensor([[0.1, 0.5, 0.9], [0.2, 0.4, 0.6]])
    y = answer(x, s)
    expect_tensor("scale", y)
    expect(
        y.shape == x.shape,
        f"The shape is {tuple(y.shape)}, not the shape of x: add two axes to s, s[:, :, None, None].",
    )
    expect(not torch.allclose(y, x + s[:, :, None, None]), "This adds the gate instead of multiplying by it.")
    expect(
        not torch.allclose(y, x * s[:, None, None, :]) and not torch.allclose(y, x * s[:, None, :, None]),
        "The shape is right, but the gate varies along space instead of channels: its axes must be axes 0 and 1.",
    )
    expect(
        not torch.allclose(y, x * s[:, :, None, None] + x),
        "This adds the input to the output: the block itself has no residual connection.",
    )
    expect(torch.allclose(y, scale(x, s)), "The shape is right, but the values are not: y[b, c] is x[b, c] * s[b, c].")


def se_parameters(channels: int, reduction: int) -> int:
    """The number of parameters of a block: two layers, each with weights and biases."""
    hidden = channels // reduction
    return channels * hidden + hidden + hidden * channels + channels


@check(se_parameters, lambda: (48, 3), lambda: (33, 8))
def check_se_parameters(answer):
    for channels, reduction in ((64, 16), (192, 16), (256, 2), (100, 16)):  # 100 / 16 is rounded down
        count, expected = answer(channels, reduction), se_parameters(channels, reduction)
        hidden = channels // reduction
        what = f"For {channels} channels and reduction {reduction},"
        expect(
            count != 2 * channels * hidden,
            f"{what} this counts only the weights: each layer also has one bias per output.",
        )
        expect(
            count != channels * hidden + hidden,
            f"{what} this counts only one layer: there are two, down to C / r and back up to C.",
        )
        expect(
            count != 2 * channels * channels + 2 * channels,
            f"{what} this ignores the reduction: the hidden layer has C / r channels.",
        )
        expect(count == expected, f"{what} the count should be {expected}, but this gives {count}.")
