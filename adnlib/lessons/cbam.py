"""Exercises for notebooks/03_cbam."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from adnlib.lessons import designs, repairs
from adnlib.lessons.asked import AskedConv, AskedMLP
from adnlib.lessons.exercise import check, expect, expect_none_of, expect_tensor


def _mlp(channels: int = 6, kind: type = AskedMLP) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return kind(nn.Linear(channels, 3, bias=False), nn.ReLU(), nn.Linear(3, channels, bias=False))


def _conv(kernel_size: int = 3, kind: type = AskedConv) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind(2, 1, kernel_size, padding=kernel_size // 2, bias=False)


def _maps(*shape: int) -> Tensor:
    return torch.randn(*(shape or (2, 6, 4, 5)), generator=torch.Generator().manual_seed(0))  # (B, C, H, W)


def _gates(channels: int) -> tuple[Callable, Callable]:
    """The gates of a CBAM as functions of the maps."""
    mlp, conv = _mlp(channels, nn.Sequential), _conv(3, nn.Conv2d)
    return lambda maps: channel_gate(maps, mlp), lambda maps: spatial_gate(maps, conv)


def channel_gate(x: Tensor, mlp: nn.Module) -> Tensor:
    """M_c: (B, C, H, W) -> gates (B, C, 1, 1) in (0, 1). mlp: (B, C) -> (B, C)."""
    mean, maximum = x.mean(dim=(2, 3)), x.amax(dim=(2, 3))  # (B, C) each
    return torch.sigmoid(mlp(mean) + mlp(maximum))[:, :, None, None]


@check(
    channel_gate,
    lambda: (_maps(1, 4, 3, 7), _mlp(4, nn.Sequential)),
    lambda: (_maps(3, 2, 1, 1), _mlp(2, nn.Sequential)),
)
def check_channel_gate(answer):
    x, mlp = _maps(), _mlp()
    with torch.no_grad():
        gate = answer(x, mlp)
        expect_tensor("channel_gate", gate)
        expect(
            gate.shape != x.shape,
            "The output has the shape of x: return only the gate, (B, C, 1, 1), neither expanded nor multiplied by x.",
        )
        expect(gate.shape != (2, 6), "The shape is (B, C): add two axes for space, [:, :, None, None].")
        expect(gate.shape == (2, 6, 1, 1), f"The shape is {tuple(gate.shape)}, not (B, C, 1, 1) = (2, 6, 1, 1).")
        gate = gate[:, :, 0, 0]
        pooled, largest = x.mean(dim=(2, 3)), x.amax(dim=(2, 3))
        mean, maximum = mlp(pooled), mlp(largest)  # (B, C) each
        sigmoid = torch.sigmoid
        wrong = [
            (mean + maximum, "The shape is right, but the gate is outside [0, 1]: is the sigmoid missing?"),
            (sigmoid(mean) + sigmoid(maximum), "This adds two sigmoids: add first, then apply one sigmoid."),
            ((sigmoid(mean) + sigmoid(maximum)) / 2, "This averages two sigmoids: add first, then apply one sigmoid."),
            (
                sigmoid(sigmoid(mean) + sigmoid(maximum)),
                "There is also a sigmoid before the sum: apply it once, after it.",
            ),
            (sigmoid(sigmoid(mean + maximum)), "The sigmoid is applied twice: apply it only once."),
            (sigmoid(mean), "This uses only the mean: add the MLP's output for the maximum."),
            (sigmoid(maximum), "This uses only the maximum: add the MLP's output for the mean."),
            (sigmoid(mlp(pooled + largest)), "This adds before the MLP, but its ReLU is not linear: add its outputs."),
            (sigmoid((mean + maximum) / 2), "This averages the MLP's two outputs: the formula adds them."),
            (sigmoid(mean * maximum), "This multiplies the MLP's two outputs: the formula adds them."),
            (sigmoid(mean - maximum), "This subtracts the MLP's two outputs: the formula adds them."),
            (sigmoid(2 * mean), "This counts the mean twice: the second summary is the maximum."),
            (torch.softmax(mean + maximum, dim=1), "The gates sum to one: this is a softmax. Use a sigmoid for each."),
            (
                sigmoid(mean + mlp(x.abs().amax(dim=(2, 3)))),
                "The maximum is that of absolute values: take that of the values.",
            ),
            (sigmoid(mean + mlp(x.amin(dim=(2, 3)))), "The second summary is the minimum: take the maximum."),
            (sigmoid(mean + mlp(x.std(dim=(2, 3)))), "The second summary is the standard deviation: take the maximum."),
            (sigmoid(mlp(x.flatten(2).median(2).values) + maximum), "The first summary is the median: take the mean."),
            (
                sigmoid(mlp(pooled.relu()) + mlp(largest.relu())),
                "The summaries pass a ReLU before the MLP: use them as they are.",
            ),
            (
                sigmoid(mean + mlp(x.amax(dim=3).mean(dim=2))),
                "The maximum is taken over the width only: take it over both axes.",
            ),
            (sigmoid(mean + mlp(x.amax(dim=(0, 2, 3)))), "The maximum is taken over the images too: keep axis 0."),
            (sigmoid(mean + mlp(x.flatten(2).argmax(2).float())), "The second summary is a position: take its value."),
            (sigmoid(mean + mlp(x.logsumexp(dim=(2, 3)))), "The second summary is a smooth maximum: take the maximum."),
            (
                sigmoid(mean + mlp(x.flatten(2).topk(2).values.mean(2))),
                "The second summary is the mean of two values: take the maximum.",
            ),
            (sigmoid(mean + largest), "The maximum does not pass the MLP: call mlp on both summaries."),
            (sigmoid(pooled + maximum), "The mean does not pass the MLP: call mlp on both summaries."),
            (sigmoid(mlp(pooled + maximum)), "The MLP is nested: call it on each summary, and add the outputs."),
            (sigmoid(torch.maximum(mean, maximum)), "This takes the larger of the MLP's two outputs: add them."),
            (torch.relu(mean + maximum), "This is a ReLU: use a sigmoid for each gate."),
            (torch.tanh(mean + maximum), "This is a tanh, from -1 to 1: use a sigmoid."),
            (1 - sigmoid(mean + maximum), "This is 1 - M_c, open where the gate should be closed."),
            (sigmoid(mean + maximum).flip(0), "The gates belong to other images: those of image b come from x[b]."),
            (sigmoid(mlp(x.sum(dim=(2, 3))) + maximum), "One summary is the sum over space: take the mean."),
        ]
        expect_none_of(gate, wrong)
        expect(gate.min() >= 0 and gate.max() <= 1, "The gate is outside [0, 1]: apply the sigmoid last.")
        expect(
            torch.allclose(gate, sigmoid(mean + maximum), atol=1e-6),
            "Shape and range are right, but the values are not: compute sigmoid(mlp(mean) + mlp(maximum)).",
        )


def spatial_gate(x: Tensor, conv: nn.Module) -> Tensor:
    """M_s: (B, C, H, W) -> gates (B, 1, H, W) in (0, 1). conv: (B, 2, H, W) -> (B, 1, H, W)."""
    mean, maximum = x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)  # (B, 1, H, W) each
    return torch.sigmoid(conv(torch.cat([mean, maximum], dim=1)))


@check(spatial_gate, lambda: (_maps(1, 3, 8, 6), _conv(7, nn.Conv2d)), lambda: (_maps(3, 1, 4, 4), _conv(1, nn.Conv2d)))
def check_spatial_gate(answer):
    x, conv = _maps(), _conv()
    with torch.no_grad():
        gate = answer(x, conv)
        expect_tensor("spatial_gate", gate)
        expect(
            gate.shape != x.shape,
            "The output has the shape of x: return only the gate, (B, 1, H, W), neither expanded nor multiplied by x.",
        )
        expect(gate.shape != (2, 4, 5), "The shape is (B, H, W): keep the channel axis, with size 1.")
        expect(gate.shape == (2, 1, 4, 5), f"The shape is {tuple(gate.shape)}, not (B, 1, H, W) = (2, 1, 4, 5).")
        mean, maximum = x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)

        def read(first: Tensor, second: Tensor) -> Tensor:
            return conv(torch.cat([first, second], dim=1))

        right = read(mean, maximum)
        sigmoid = torch.sigmoid
        wrong = [
            (right, "The shape is right, but the gate is outside [0, 1]: is the sigmoid missing?"),
            (sigmoid(sigmoid(right)), "The sigmoid is applied twice: apply it only once."),
            (read(sigmoid(mean), sigmoid(maximum)), "The sigmoid is applied before the convolution: apply it last."),
            (
                sigmoid(read(sigmoid(mean), sigmoid(maximum))),
                "There are two sigmoids: omit the one before the convolution.",
            ),
            (sigmoid(read(maximum, mean)), "The maximum and mean are swapped: the mean comes first."),
            (sigmoid(read(mean, mean)), "Both maps are the mean: the second must be the maximum over channels."),
            (sigmoid(read(maximum, maximum)), "Both maps are the maximum: the first is the mean."),
            (
                sigmoid(read(x.sum(dim=1, keepdim=True), maximum)),
                "The first map is the sum over channels: take the mean.",
            ),
            (sigmoid(read(mean, x.amin(dim=1, keepdim=True))), "The second map is the minimum: take the maximum."),
            (
                sigmoid(read(mean, x.abs().amax(dim=1, keepdim=True))),
                "The maximum is that of absolute values: take that of the values.",
            ),
            (sigmoid(read(mean, x.std(dim=1, keepdim=True))), "The second map is the deviation: take the maximum."),
            (
                sigmoid(read(mean, x.argmax(dim=1, keepdim=True).float())),
                "The second map is argmax, a channel's number: take its value.",
            ),
            (sigmoid(read(mean.relu(), maximum.relu())), "The maps pass a ReLU first: use them as they are."),
            (
                torch.softmax(right.flatten(1), dim=1).view_as(right),
                "The gates sum to one: this is a softmax. Use a sigmoid.",
            ),
            (
                sigmoid((right - right.mean()) / right.std()),
                "The output is normalised over the batch: the formula has no BatchNorm.",
            ),
            (torch.tanh(right), "This is a tanh, from -1 to 1: use a sigmoid."),
            (torch.relu(right), "This is a ReLU: use a sigmoid."),
            (nn.functional.hardsigmoid(right), "This is a hard sigmoid, made of straight lines: use torch.sigmoid."),
            (1 - sigmoid(right), "This is 1 - M_s, open where the gate should be closed."),
            (torch.ones_like(right), "All gates are 1: a softmax over one channel always is. Use a sigmoid."),
            (sigmoid(right).flip(0), "The gates belong to other images: that of image b comes from x[b]."),
            (sigmoid(conv(x[:, :2])), "The two maps are the first two channels: take mean and maximum over all."),
            (sigmoid(read(mean, x.norm(dim=1, keepdim=True))), "The second map is the norm: take the maximum."),
            (sigmoid(read(x.median(1, True).values, maximum)), "The first map is the median: take the mean."),
            (sigmoid(conv(right.expand(-1, 2, -1, -1))), "The convolution is applied twice: apply it once."),
            (
                sigmoid(conv(torch.stack([mean[:, 0], maximum[:, 0]]))),
                "The maps are stacked along axis 0, which mixes images: use axis 1.",
            ),
        ]
        expect_none_of(gate, wrong)
        expect(gate.min() >= 0 and gate.max() <= 1, "The gate is outside [0, 1]: apply the sigmoid last.")
        correct = torch.allclose(gate, sigmoid(right), atol=1e-6)
        expect(
            correct or torch.allclose(answer(x[:1], conv), gate[:1], atol=1e-5),
            "The gate of an image depends on the other images: summarise the channels only, axis 1.",
        )
        expect(
            correct,
            "Shape and range are right, but the values are not: compute sigmoid(conv([mean; maximum])).",
        )


def cbam(x: Tensor, channel: nn.Module, spatial: nn.Module) -> Tensor:
    """F'': (B, C, H, W) -> (B, C, H, W). channel(maps) and spatial(maps) return the gates."""
    y = x * channel(x)
    return y * spatial(y)


@check(cbam, lambda: (_maps(1, 4, 5, 3), *_gates(4)), lambda: (_maps(3, 2, 2, 6), *_gates(2)))
def check_cbam(answer):
    x, mlp, conv = _maps(), _mlp(), _conv()

    def channel(maps: Tensor) -> Tensor:
        expect(
            maps.shape == x.shape,
            f"The channel gate received the shape {tuple(maps.shape)}, not {tuple(x.shape)}: give it the maps.",
        )
        return channel_gate(maps, mlp)

    def spatial(maps: Tensor) -> Tensor:
        expect(
            maps.shape != (2, 6, 1, 1),
            "The spatial gate received the channel gate itself: multiply it by x first, F' = M_c(F) * F.",
        )
        expect(
            maps.shape == x.shape,
            f"The spatial gate received the shape {tuple(maps.shape)}, not {tuple(x.shape)}: give it the gated maps.",
        )
        return spatial_gate(maps, conv)

    with torch.no_grad():
        y = answer(x, channel, spatial)
        expect_tensor("cbam", y)
        gated = x * channel(x)
        right, sigmoid = gated * spatial(gated), torch.sigmoid
        places = x * spatial(x)
        expect(
            y.shape != (2, 6, 1, 1) and y.shape != (2, 1, 4, 5),
            f"The shape is {tuple(y.shape)}: this returns a gate. Return the maps, multiplied by both gates.",
        )
        expect(y.shape == x.shape, f"The shape is {tuple(y.shape)}, not the shape of x, {tuple(x.shape)}.")
        wrong = [
            (x, "These are the input maps, unchanged: multiply them by both gates."),
            (gated, "The channel gate is right, but the spatial gate is missing."),
            (places, "This applies only the spatial gate: apply the channel gate first."),
            (gated * spatial(x), "The spatial gate is computed from the ungated maps: use F', not F."),
            (places * channel(places), "The gates are applied in the wrong order: the channel gate comes first."),
            (x * spatial(gated), "The spatial gate multiplies x instead of F': the channel gate is lost."),
            (channel(x) * spatial(gated), "This is the product of both gates: the maps themselves are missing."),
            (right + x, "This adds the input: the formula has no residual connection."),
            (gated + spatial(gated), "This adds the spatial gate: multiply by it."),
            (gated * channel(x), "The channel gate is applied twice: the second gate is the spatial gate."),
            (gated * (1 - spatial(gated)), "This multiplies by 1 - M_s, which closes what should be open."),
            (gated + places, "This adds two gated maps: apply the second gate to the result of the first."),
            (gated + gated * spatial(gated), "This adds F' to the result: the formula has no residual connection."),
            (
                gated * spatial(gated) * channel(gated),
                "There are three gates: use one channel gate, then one spatial gate.",
            ),
            (x * (channel(x) + spatial(gated)) / 2, "This averages the two gates: the formula multiplies by both."),
            (x * torch.maximum(channel(x), spatial(gated)), "This takes the larger gate: multiply by both."),
            (torch.relu(right), "A ReLU follows the gates: return the maps as they are, negative values included."),
            (-right, "The sign is wrong: multiply by the gates as they are."),
            (x * (channel(x) + spatial(gated)), "This adds the gates: multiply by both."),
            (x * torch.minimum(channel(x), spatial(gated)), "This takes the smaller gate: multiply by both."),
            (gated.relu() * spatial(gated.relu()), "A ReLU follows the first gate: use F' as it is."),
            ((x + gated) * spatial(x + gated), "The first step adds the input: F' = M_c(F) * F."),
            (
                right * channel(right) * spatial(right * channel(right)),
                "The whole module is applied twice: once is enough.",
            ),
            (
                x * channel(x).sqrt() * spatial(x * channel(x).sqrt()).sqrt(),
                "The root of the gates is taken: use them as is.",
            ),
            (sigmoid(right), "A sigmoid follows the gates: it belongs inside them."),
        ]
        expect_none_of(y, wrong)
        expect(
            torch.allclose(y, right, atol=1e-6),
            "The shape is right, but the values are not: compute F' = M_c(F) * F, then F'' = M_s(F') * F'.",
        )


check_position_gate = repairs.check_position_gate
check_frameless_gate = designs.check_frameless_gate
