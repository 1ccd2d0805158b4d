"""Exercises of notebooks/03_cbam."""

import torch
from torch import Tensor, nn

from adnlib.checks import check, expect


class _AskedMLP(nn.Sequential):
    """A shared MLP from 6 channels to 6 that says what is wrong with its input."""

    def forward(self, z: Tensor) -> Tensor:
        expect(isinstance(z, Tensor), f"The MLP got {type(z).__name__}, not a tensor: amax gives a tensor, max a pair.")
        shape = tuple(z.shape)
        expect(
            shape != (2, 4, 5), "The MLP got (B, H, W): this summarises the channels. Summarise space, axes 2 and 3."
        )
        expect(
            shape != (2, 6, 1, 1),
            "The MLP got (B, C, 1, 1), but it works on the last axis: leave keepdim out, add two axes at the end.",
        )
        expect(
            shape == (2, 6),
            f"The MLP got the shape {shape}, not (B, C) = (2, 6): give it one number for each channel.",
        )
        return super().forward(z)


class _AskedConv(nn.Conv2d):
    """A convolution over two maps that says what is wrong with its input."""

    def forward(self, z: Tensor) -> Tensor:
        expect(isinstance(z, Tensor), f"The convolution got {type(z).__name__}, not a tensor: concatenate two maps.")
        shape = tuple(z.shape)
        expect(
            shape not in ((2, 12, 1, 1), (2, 12)),
            "The convolution got summaries over space: this gate keeps the places. Summarise the channels, axis 1.",
        )
        expect(
            shape != (2, 1, 4, 5), "The convolution got one map of each image: it wants two, concatenated along axis 1."
        )
        expect(
            shape not in ((2, 8, 5), (4, 4, 5), (2, 4, 10)),
            f"The convolution got {shape}: an axis is gone before the concatenation. Keep it with keepdim=True.",
        )
        expect(
            shape == (2, 2, 4, 5),
            f"The convolution got {shape}, not (B, 2, H, W) = (2, 2, 4, 5): concatenate along axis 1.",
        )
        return super().forward(z)


def _mlp() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return _AskedMLP(nn.Linear(6, 3, bias=False), nn.ReLU(), nn.Linear(3, 6, bias=False))


def _conv() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _AskedConv(2, 1, 3, padding=1, bias=False)


def _maps() -> Tensor:
    return torch.randn(2, 6, 4, 5, generator=torch.Generator().manual_seed(0))  # (B, C, H, W)


def channel_gate(x: Tensor, mlp: nn.Module) -> Tensor:
    """M_c: (B, C, H, W) -> gates (B, C, 1, 1) in (0, 1). mlp: (B, C) -> (B, C)."""
    mean, maximum = x.mean(dim=(2, 3)), x.amax(dim=(2, 3))  # (B, C) each
    return torch.sigmoid(mlp(mean) + mlp(maximum))[:, :, None, None]


@check(channel_gate)
def check_channel_gate(answer):
    x, mlp = _maps(), _mlp()
    with torch.no_grad():
        gate = answer(x, mlp)
        expect(
            isinstance(gate, Tensor), f"channel_gate gives {type(gate).__name__}, not a tensor: is the return missing?"
        )
        expect(
            gate.shape != x.shape, "The shape is that of x: return the gate alone, (B, C, 1, 1), not the gated maps."
        )
        expect(gate.shape != (2, 6), "The shape is (B, C): add two axes for space, [:, :, None, None].")
        expect(gate.shape == (2, 6, 1, 1), f"The shape is {tuple(gate.shape)}, not (B, C, 1, 1) = (2, 6, 1, 1).")
        gate = gate[:, :, 0, 0]
        pooled, largest = x.mean(dim=(2, 3)), x.amax(dim=(2, 3))
        mean, maximum = mlp(pooled), mlp(largest)  # (B, C) each
        sigmoid = torch.sigmoid
        for wrong, message in (
            (mean + maximum, "The shape is right, but the gate leaves [0, 1]: is the sigmoid missing?"),
            (
                sigmoid(mean) + sigmoid(maximum),
                "The gate leaves [0, 1]: this adds two sigmoids. Add first, then one sigmoid.",
            ),
            (
                (sigmoid(mean) + sigmoid(maximum)) / 2,
                "The gate lies in [0, 1], but this averages two sigmoids: add the MLP's answers, then one sigmoid.",
            ),
            (
                sigmoid(sigmoid(mean) + sigmoid(maximum)),
                "The gate lies in [0, 1], but the sigmoid comes before the sum too: it comes once, behind the sum.",
            ),
            (
                sigmoid(sigmoid(mean + maximum)),
                "The gate lies in [0, 1], but the sigmoid is applied twice: once is enough.",
            ),
            (
                sigmoid(mean),
                "Shape and range are right, but this is the mean's half alone: add the MLP of the maximum.",
            ),
            (
                sigmoid(maximum),
                "Shape and range are right, but this is the maximum's half alone: add the MLP of the mean.",
            ),
            (
                sigmoid(mlp(pooled + largest)),
                "This adds mean and maximum before the MLP: its ReLU makes a difference, so add behind it.",
            ),
            (sigmoid((mean + maximum) / 2), "This averages the MLP's two answers: the formula adds them."),
            (sigmoid(mean * maximum), "This multiplies the MLP's two answers: the formula adds them."),
            (
                sigmoid(mlp(x.sum(dim=(2, 3))) + maximum),
                "The maximum's half is right; the other is of the sum over space: take the mean.",
            ),
        ):
            expect(not torch.allclose(gate, wrong, atol=1e-6), message)
        expect(gate.min() >= 0 and gate.max() <= 1, "The gate leaves [0, 1]: the sigmoid comes last.")
        expect(
            torch.allclose(gate, sigmoid(mean + maximum), atol=1e-6),
            "Shape and range are right, the values are not: sigmoid(mlp(mean) + mlp(maximum)).",
        )


def spatial_gate(x: Tensor, conv: nn.Module) -> Tensor:
    """M_s: (B, C, H, W) -> gates (B, 1, H, W) in (0, 1). conv: (B, 2, H, W) -> (B, 1, H, W)."""
    mean, maximum = x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)  # (B, 1, H, W) each
    return torch.sigmoid(conv(torch.cat([mean, maximum], dim=1)))


@check(spatial_gate)
def check_spatial_gate(answer):
    x, conv = _maps(), _conv()
    with torch.no_grad():
        gate = answer(x, conv)
        expect(
            isinstance(gate, Tensor), f"spatial_gate gives {type(gate).__name__}, not a tensor: is the return missing?"
        )
        expect(
            gate.shape != x.shape, "The shape is that of x: return the gate alone, (B, 1, H, W), not the gated maps."
        )
        expect(
            gate.shape != (2, 4, 5), "The shape is (B, H, W): keep the channel axis, so that the gate fits the maps."
        )
        expect(gate.shape == (2, 1, 4, 5), f"The shape is {tuple(gate.shape)}, not (B, 1, H, W) = (2, 1, 4, 5).")
        mean, maximum = x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)

        def read(first: Tensor, second: Tensor) -> Tensor:
            return conv(torch.cat([first, second], dim=1))

        right = read(mean, maximum)
        sigmoid = torch.sigmoid
        for wrong, message in (
            (right, "The shape is right, but the gate leaves [0, 1]: is the sigmoid missing?"),
            (sigmoid(sigmoid(right)), "Shape and range are right, but the sigmoid is applied twice: once is enough."),
            (read(sigmoid(mean), sigmoid(maximum)), "The sigmoid stands before the convolution: it comes last."),
            (
                sigmoid(read(sigmoid(mean), sigmoid(maximum))),
                "One sigmoid too many: none before the convolution, one behind it.",
            ),
            (
                sigmoid(read(maximum, mean)),
                "Shape and range are right, but maximum and mean are swapped: the mean comes first.",
            ),
            (sigmoid(read(mean, mean)), "Both maps are the mean: the second is the maximum over channels."),
            (sigmoid(read(maximum, maximum)), "Both maps are the maximum: the first is the mean over channels."),
            (
                sigmoid(read(x.sum(dim=1, keepdim=True), maximum)),
                "The second map is right; the first is the sum over channels: take the mean.",
            ),
            (
                sigmoid(read(mean, x.amin(dim=1, keepdim=True))),
                "The first map is right; the second is the minimum: take the maximum.",
            ),
        ):
            expect(not torch.allclose(gate, wrong, atol=1e-6), message)
        expect(gate.min() >= 0 and gate.max() <= 1, "The gate leaves [0, 1]: the sigmoid comes last.")
        expect(
            torch.allclose(gate, sigmoid(right), atol=1e-6),
            "Shape and range are right, the values are not: sigmoid(conv([mean; maximum])).",
        )


def cbam(x: Tensor, channel: nn.Module, spatial: nn.Module) -> Tensor:
    """F'': (B, C, H, W) -> (B, C, H, W). channel and spatial take maps and give their gates."""
    y = x * channel(x)
    return y * spatial(y)


@check(cbam)
def check_cbam(answer):
    x, mlp, conv = _maps(), _mlp(), _conv()

    def channel(maps: Tensor) -> Tensor:
        expect(
            maps.shape == x.shape,
            f"The channel gate got the shape {tuple(maps.shape)}, not {tuple(x.shape)}: give it maps, not a gate.",
        )
        return channel_gate(maps, mlp)

    def spatial(maps: Tensor) -> Tensor:
        expect(
            maps.shape != (2, 6, 1, 1),
            "The spatial gate got the channel gate itself: multiply it with x first, F' = M_c(F) * F.",
        )
        expect(
            maps.shape == x.shape,
            f"The spatial gate got the shape {tuple(maps.shape)}, not {tuple(x.shape)}: give it the gated maps.",
        )
        return spatial_gate(maps, conv)

    with torch.no_grad():
        y = answer(x, channel, spatial)
        expect(isinstance(y, Tensor), f"cbam gives {type(y).__name__}, not a tensor: is the return missing?")
        gated = x * channel(x)
        right = gated * spatial(gated)
        places = x * spatial(x)
        expect(
            y.shape != (2, 6, 1, 1) and y.shape != (2, 1, 4, 5),
            f"The shape is {tuple(y.shape)}: this returns a gate. Return the maps, multiplied by both gates.",
        )
        expect(y.shape == x.shape, f"The shape is {tuple(y.shape)}, not that of x, {tuple(x.shape)}.")
        for wrong, message in (
            (x, "These are the maps as they came: multiply by both gates."),
            (gated, "The channel gate is right; the spatial one is missing."),
            (places, "This is the spatial gate alone: the channel gate comes first."),
            (
                gated * spatial(x),
                "Both gates are there, but the spatial gate was computed on the ungated maps: it reads F', not F.",
            ),
            (
                places * channel(places),
                "Both gates are there, but the spatial gate comes first: the channel gate does.",
            ),
            (x * spatial(gated), "The spatial gate is right, but it multiplies x: the channel gate is lost."),
            (channel(x) * spatial(gated), "This is the product of both gates: the maps themselves are missing."),
            (
                right + x,
                "This adds the input again: that is a residual connection, which the formula does not have.",
            ),
            (gated + spatial(gated), "The channel gate is right, but this adds the spatial gate. A gate multiplies."),
        ):
            expect(not torch.allclose(y, wrong, atol=1e-6), message)
        expect(
            torch.allclose(y, right, atol=1e-6),
            "The shape is right, the values are not: F' = M_c(F) * F, then F'' = M_s(F') * F'.",
        )


def cbam_parameters(channels: int, reduction: int, kernel_size: int) -> int:
    """The number of parameters of a CBAM: an MLP of two layers and a convolution, no biases."""
    hidden = channels // reduction
    return 2 * channels * hidden + 2 * kernel_size**2


@check(cbam_parameters)
def check_cbam_parameters(answer):
    for channels, reduction, kernel_size in ((64, 16, 7), (192, 16, 3), (100, 16, 11)):
        count, expected = (f(channels, reduction, kernel_size) for f in (answer, cbam_parameters))
        hidden = channels // reduction
        mlp, kernel = 2 * channels * hidden, 2 * kernel_size**2
        what = f"For {channels} channels, reduction {reduction} and kernel size {kernel_size}"
        for wrong, message in (
            (mlp, "this counts the MLP, but not the convolution."),
            (kernel, "this counts the convolution, but not the MLP."),
            (2 * mlp + kernel, "this counts two MLPs: mean and maximum share one."),
            (mlp // 2 + kernel, "this counts one layer of the MLP: there are two, down to C / r and back up to C."),
            (mlp + kernel // 2, "the MLP is right, but the convolution reads two maps, mean and maximum."),
            (mlp + channels * kernel // 2, "the MLP is right, but the convolution reads two maps, not all channels."),
            (mlp + kernel + hidden + channels, "this counts biases in the MLP: it has none here."),
            (mlp + kernel + 1, "this counts a bias of the convolution: it has none."),
            (mlp + kernel + hidden + channels + 1, "this counts biases: neither MLP nor convolution has any here."),
            (mlp + 2 * kernel_size, "the MLP is right, but a kernel has k * k places, not k."),
            (2 * channels**2 + kernel, "this is without the reduction: the hidden layer has C / r channels."),
        ):
            expect(count != wrong, f"{what} {message}")
        expect(
            count == expected or count != 2 * channels**2 / reduction + kernel,
            f"{what} the hidden layer has C / r channels rounded down: divide with //.",
        )
        expect(count == expected, f"{what} it should be {expected}, this gives {count}.")
