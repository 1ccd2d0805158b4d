"""Plausible wrong answers to each exercise, each with words that its check must report."""

import torch
import torch.nn.functional as F
from torch import nn

SPACE = (2, 3)
sigmoid = torch.sigmoid


def two_maps(x):
    return torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)


residual_free = two_maps


def mlp_detached(x, mlp):
    def detached(z):
        return F.linear(F.linear(z, mlp[0].weight.detach()).relu(), mlp[2].weight.detach())

    return sigmoid(detached(x.mean(SPACE)) + detached(x.amax(SPACE)))[..., None, None]


def gate_design(mode="zeros", before=lambda maps: maps, after=lambda v, conv, maps: v, last=sigmoid, setup=None):
    """A reader's frameless_gate with one thing changed."""

    def answer(kernel_size):
        class Design(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, padding_mode=mode, bias=False)
                if setup:
                    setup(self.conv)

            def forward(self, x):
                maps = before(two_maps(x))
                return last(after(self.conv(maps), self.conv, maps))

        return Design()

    return answer


class Pointwise(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 1)

    def forward(self, x):
        return sigmoid(self.conv(two_maps(x)))


def swapped_maps(x):
    return two_maps(x).flip(1)


def spatial_first(x, channel, spatial):
    y = x * spatial(x)
    return y * channel(y)


def places_only_at_the_end(x, channel, spatial):
    return x * spatial(x * channel(x))


def gate_of_a_gate(x, channel, spatial):
    y = channel(x)
    return y * spatial(y)


def residual(x, channel, spatial):
    y = x * channel(x)
    return x + y * spatial(y)


def gates_alone(x, channel, spatial):
    return channel(x) * spatial(x * channel(x))


CONV, MLP = nn.Conv2d(2, 1, 3, padding=1), nn.Sequential(nn.Linear(2, 2))  # variables of the notebook


def summarised(first=lambda x: x.mean(SPACE), second=lambda x: x.amax(SPACE), of=torch.add, last=sigmoid):
    """channel_gate with one thing changed."""
    return lambda x, mlp: last(of(mlp(first(x)), mlp(second(x))))[..., None, None]


def mapped(second, first=lambda x: x.mean(1, True), last=sigmoid):
    """A spatial gate with one thing changed."""
    return lambda x, conv: last(conv(torch.cat([first(x), second(x)], dim=1)))


def largest(x):
    return x.amax(1, True)


def gated_in_place(x, channel, spatial):
    y = x * channel(x)
    y *= spatial(y)
    return y


def of(maps, spatial):
    return maps * spatial(maps)


class ByKernel(nn.Module):
    """A reader's frameless gate, from a convolution and a forward."""

    def __init__(self, conv, forward=None):
        super().__init__()
        self.conv, self.own = conv, forward or (lambda gate, x: sigmoid(gate.conv(two_maps(x))))

    def forward(self, x):
        return self.own(self, x)


def replicating(size):
    sizes = size if isinstance(size, tuple) else (size, size)
    return nn.Conv2d(2, 1, sizes, padding=tuple(s // 2 for s in sizes), padding_mode="replicate", bias=False)


def by_kernel(size, forward=None):
    return lambda k: ByKernel(replicating(size(k)), forward)


def scaled_rows(gate, x):
    maps = two_maps(x)
    return sigmoid(gate.conv(maps - maps.mean(SPACE, keepdim=True)) * torch.linspace(0.5, 1.5, x.shape[2])[:, None])


WRONG = {
    "channel_gate": [
        (summarised(second=lambda x: x.amax((0, 2, 3))), "keep axis 0"),
        (summarised(second=lambda x: x.flatten(2).argmax(2).float()), "is a position"),
        (summarised(second=lambda x: x.max(dim=SPACE)), "amax takes several"),
        (summarised(second=lambda x: x.max(2).max(2)), "return a pair"),
        (summarised(of=torch.maximum), "the larger of the MLP's two outputs"),
        (summarised(last=torch.relu), "This is a ReLU"),
        (summarised(last=nn.Sigmoid), "write torch.relu(v)"),
        (summarised(last=lambda v: 1 - sigmoid(v)), "This is 1 - M_c"),
        (lambda x, mlp: sigmoid(mlp(x.mean(SPACE)) + x.amax(SPACE))[..., None, None], "does not pass the MLP"),
        (lambda x, mlp: sigmoid(mlp(x.mean(SPACE) + mlp(x.amax(SPACE))))[..., None, None], "The MLP is nested"),
        (lambda x, mlp: sigmoid(MLP(x.mean(SPACE)) + MLP(x.amax(SPACE))), "reads the notebook's variable MLP"),
        (mlp_detached, "for the weights of the module"),
        (lambda x, mlp: torch.softmax(mlp(x.mean(SPACE)) + mlp(x.amax(SPACE)), 1)[..., None, None], "a softmax"),
        (lambda x, mlp: sigmoid(mlp(x.mean(SPACE)) - mlp(x.amax(SPACE)))[..., None, None], "This subtracts"),
        (lambda x, mlp: sigmoid(mlp(x.mean(SPACE)) + mlp(x.abs().amax(SPACE)))[..., None, None], "absolute values"),
        (lambda x, mlp: sigmoid(mlp(x.mean(SPACE)) + mlp(x.amin(SPACE)))[..., None, None], "is the minimum"),
        (
            lambda x, mlp: sigmoid(mlp(x.mean(SPACE).squeeze()) + mlp(x.amax(SPACE).squeeze()))[..., None, None],
            "not for x (1, 4, 3, 7)",
        ),
        (lambda x, mlp: (mlp(x.mean(SPACE)) + mlp(x.amax(SPACE)))[..., None, None], "is the sigmoid missing"),
        (lambda x, mlp: sigmoid(mlp(x.mean(SPACE)))[..., None, None], "uses only the mean"),
        (lambda x, mlp: sigmoid(mlp(x.amax(SPACE)))[..., None, None], "uses only the maximum"),
        (lambda x, mlp: sigmoid(mlp(x.mean(SPACE) + x.amax(SPACE)))[..., None, None], "before the MLP"),
        (lambda x, mlp: (sigmoid(mlp(x.mean(SPACE))) + sigmoid(mlp(x.amax(SPACE))))[..., None, None], "two sigmoids"),
        (
            lambda x, mlp: sigmoid(sigmoid(mlp(x.mean(SPACE))) + sigmoid(mlp(x.amax(SPACE))))[..., None, None],
            "a sigmoid before the sum",
        ),
        (
            lambda x, mlp: sigmoid(sigmoid(mlp(x.mean(SPACE)) + mlp(x.amax(SPACE))))[..., None, None],
            "applied twice",
        ),
        (lambda x, mlp: sigmoid((mlp(x.mean(SPACE)) + mlp(x.amax(SPACE))) / 2)[..., None, None], "adds them"),
        (lambda x, mlp: sigmoid(mlp(x.sum(SPACE)) + mlp(x.amax(SPACE)))[..., None, None], "sum over space"),
        (lambda x, mlp: sigmoid(mlp(x.mean(SPACE)) + mlp(x.amax(SPACE))), "add two axes"),
        (lambda x, mlp: x * sigmoid(mlp(x.mean(SPACE)) + mlp(x.amax(SPACE)))[..., None, None], "only the gate"),
        (lambda x, mlp: sigmoid(mlp(x.mean(1)) + mlp(x.amax(1))), "not the channels"),
        (lambda x, mlp: sigmoid(mlp(x.mean(SPACE, keepdim=True))), "omit keepdim"),
        (lambda x, mlp: sigmoid(mlp(x.mean(SPACE)) + mlp(x.flatten(2).max(2)))[..., None, None], "max a pair"),
        (lambda x, mlp: None, "not a tensor"),
        (lambda x, mlp: sigmoid(mlp(x.mean(SPACE)) + mlp(x.amax(SPACE))).view(2, 6, 1, 1), "not for x (1, 4, 3, 7)"),
        (lambda x, mlp: sigmoid(mlp(x.mean(SPACE)) + mlp(x.amax(SPACE))).detach()[..., None, None], "no gradient"),
        (
            lambda x, mlp: sigmoid(mlp(x.mean(SPACE)).detach() + mlp(x.amax(SPACE)))[..., None, None],
            "a part of it detached",
        ),
    ],
    "spatial_gate": [
        (mapped(lambda x: x.max(1, keepdim=True)), "take .values"),
        (mapped(largest, lambda x: x.mean(1)), "Two shapes do not fit"),
        (mapped(largest, last=torch.relu), "This is a ReLU"),
        (mapped(largest, last=lambda v: 1 - sigmoid(v)), "This is 1 - M_s"),
        (mapped(largest, last=lambda v: v.softmax(1)), "a softmax over one channel"),
        (mapped(largest, last=lambda v: sigmoid(v).flip(0)), "belong to other images"),
        (mapped(largest, last=lambda v: sigmoid(v.mean(0, True)).expand_as(v)), "depends on the other images"),
        (mapped(lambda x: x.norm(dim=1, keepdim=True)), "the second map is the norm".capitalize()),
        (lambda x, conv: sigmoid(conv(x[:, :2])), "the first two channels"),
        (lambda x, conv: sigmoid(conv(x.mean(1, True), x.amax(1, True))), "compare the signatures"),
        (lambda x, conv: sigmoid(conv(torch.cat(x.mean(1, True), x.amax(1, True)))), "with square brackets"),
        (lambda x, conv: sigmoid(CONV(two_maps(x))), "reads the notebook's variable CONV"),
        (lambda x, conv: sigmoid(F.conv2d(two_maps(x), conv.weight)), "The shape is (2, 1, 2, 3)"),
        (lambda x, conv: sigmoid(F.conv2d(two_maps(x), conv.weight, padding=1)), "not for x (1, 3, 8, 6)"),
        (
            lambda x, conv: sigmoid(F.conv2d(two_maps(x), conv.weight.detach(), padding=conv.padding)),
            "for the weights of the module",
        ),
        (lambda x, conv: sigmoid(conv(two_maps(x).relu())), "pass a ReLU first"),
        (
            lambda x, conv: sigmoid(conv(torch.cat([x.mean(1, True), x.argmax(1, True).float()], 1))),
            "argmax, a channel's number",
        ),
        (lambda x, conv: sigmoid(conv(torch.stack([x.mean(1), x.amax(1)]))), "stacked along axis 0"),
        (lambda x, conv: torch.softmax(conv(two_maps(x)).flatten(1), 1).view(len(x), 1, *x.shape[2:]), "a softmax"),
        (
            lambda x, conv: sigmoid(conv(torch.cat([x.mean(1, True), x.abs().amax(1, True)], 1))),
            "maximum is that of absolute values",
        ),
        (lambda x, conv: conv(two_maps(x)), "is the sigmoid missing"),
        (lambda x, conv: sigmoid(conv(swapped_maps(x))), "maximum and mean are swapped"),
        (lambda x, conv: sigmoid(sigmoid(conv(two_maps(x)))), "applied twice"),
        (lambda x, conv: conv(sigmoid(two_maps(x))), "before the convolution"),
        (lambda x, conv: sigmoid(conv(torch.cat([x.mean(1), x.amax(1)], 1))), "keepdim=True"),
        (lambda x, conv: sigmoid(conv(x.mean(1, keepdim=True))), "it needs two"),
        (
            lambda x, conv: sigmoid(conv(torch.cat([x.mean(SPACE, keepdim=True), x.amax(SPACE, keepdim=True)], 1))),
            "this gate keeps the positions",
        ),
        (
            lambda x, conv: sigmoid(conv(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 2))),
            "concatenate along axis 1",
        ),
        (
            lambda x, conv: sigmoid(conv(torch.cat([x.sum(1, keepdim=True), x.amax(1, keepdim=True)], 1))),
            "the sum over channels",
        ),
        (lambda x, conv: x * sigmoid(conv(two_maps(x))), "only the gate"),
        (lambda x, conv: sigmoid(conv(two_maps(x)))[:, 0], "keep the channel axis"),
        (lambda x, conv: sigmoid(conv(two_maps(x))).view(2, 1, 4, 5), "not for x (1, 3, 8, 6)"),
        (lambda x, conv: sigmoid(conv(two_maps(x))).data, "no gradient"),
    ],
    "cbam": [
        (gated_in_place, "Write y = y * s instead of y *= s"),
        (lambda x, channel, spatial: x * channel * spatial, "computes with a function or module itself"),
        (lambda x, channel, spatial: x * channel() * spatial(), "compare the signatures"),
        (lambda x, channel, spatial: x * (channel(x) + spatial(x * channel(x))), "This adds the gates"),
        (lambda x, channel, spatial: of(x + x * channel(x), spatial), "The first step adds the input"),
        (lambda x, channel, spatial: of((x * channel(x)).relu(), spatial), "A ReLU follows the first gate"),
        (lambda x, channel, spatial: of((y := of(x * channel(x), spatial)) * channel(y), spatial), "applied twice"),
        (
            lambda x, channel, spatial: of(x * channel(x), spatial) * CONV(x[:, :2]),
            "reads the notebook's variable CONV",
        ),
        (lambda x, channel, spatial: x.mul_(channel(x)), "changes its input"),
        (lambda x, channel, spatial: x * channel(x) * channel(x), "The channel gate is applied twice"),
        (lambda x, channel, spatial: x * channel(x) + x * spatial(x), "adds two gated maps"),
        (lambda x, channel, spatial: torch.relu(x * channel(x) * spatial(x * channel(x))), "A ReLU follows"),
        (lambda x, channel, spatial: (y := x * channel(x)) * spatial(y.detach()), "is a part of it detached"),
        (lambda x, channel, spatial: (y := x * channel(x)) * (1 - spatial(y)), "multiplies by 1 - M_s"),
        (lambda x, channel, spatial: (y := x * channel(x)) + y * spatial(y), "This adds F'"),
        (lambda x, channel, spatial: x * (channel(x) + spatial(x * channel(x))) / 2, "averages the two gates"),
        (lambda x, channel, spatial: x * channel(x) * spatial(x), "from the ungated maps"),
        (spatial_first, "in the wrong order"),
        (places_only_at_the_end, "the channel gate is lost"),
        (gate_of_a_gate, "received the channel gate itself"),
        (residual, "residual connection"),
        (gates_alone, "the maps themselves are missing"),
        (lambda x, channel, spatial: x * channel(x), "the spatial gate is missing"),
        (lambda x, channel, spatial: x * spatial(x), "only the spatial gate"),
        (lambda x, channel, spatial: x * channel(x) + spatial(x * channel(x)), "adds the spatial gate"),
        (lambda x, channel, spatial: spatial(x * channel(x)), "returns a gate"),
    ],
    "position_gate": [
        (mapped(lambda x: x.max(1, keepdim=True)), "take .values"),
        (mapped(lambda x: x.sort(1).values.max(1, True).indices), "Sorting hides the symptom"),
        (mapped(lambda x: x.median(1, True).values), "is the median"),
        (mapped(lambda x: x.norm(dim=1, keepdim=True)), "is the norm"),
        (mapped(lambda x: x.logsumexp(1, True)), "a smooth maximum"),
        (mapped(lambda x: largest(x).round()), "The maximum is rounded"),
        (mapped(lambda x: 0 * largest(x) + x.amax()), "that of all values"),
        (mapped(lambda x: x.max(1).values, lambda x: x.mean(1)), "keep it with keepdim=True"),
        (mapped(lambda x: largest(x).detach()), "is a part of it detached"),
        (lambda x, conv: sigmoid(conv(two_maps(x).flip(1))), "maximum and mean are swapped"),
        (lambda x, conv: conv(two_maps(x)), "the sigmoid is gone"),
        (lambda x, conv: sigmoid(conv(torch.cat([x.mean(1, True)] * 2, 1))), "both maps are the mean"),
        (lambda x, conv: sigmoid(conv(torch.cat([x.amax(1, True)] * 2, 1))), "the mean is lost"),
        (lambda x, conv: sigmoid(conv(torch.cat(x.max(1, True), 1))), "and the mean is lost"),
        (lambda x, conv: sigmoid(conv(torch.cat([x.mean(1, True), x.sum(1, True)], 1))), "the second map is the sum"),
        (lambda x, conv: sigmoid(conv(torch.cat([x.mean(1, True), x.amin(1, True)], 1))), "is the minimum"),
        (lambda x, conv: sigmoid(conv(torch.cat([x.mean(1, True), x.abs().amax(1, True)], 1))), "absolute values"),
        (
            lambda x, conv: sigmoid(conv(torch.cat([x.mean(1, True), x.argmax(1, True) / x.shape[1]], 1))),
            "hides the symptom",
        ),
        (
            lambda x, conv: sigmoid(conv(torch.cat([x.mean(1, True), x.argmin(1, True).float()], 1))),
            "still depends on the order of the channels",
        ),
        (lambda x, conv: sigmoid(conv(torch.cat([x.mean(1, True), x[:, :1]], 1))), "still depends on the order"),
        (lambda x, conv: sigmoid(conv(torch.cat([x.mean(1, True), 0 * x[:, :1]], 1))), "the maximum is lost"),
        (lambda x, conv: sigmoid(conv(two_maps(x))).detach(), "no gradient"),
        (lambda x, conv: sigmoid(conv(two_maps(x)))[:, 0], "not (B, 1, H, W)"),
        (lambda x, conv: sigmoid(F.conv2d(two_maps(x), conv.weight, padding=1)), "not for x (1, 3, 8, 6)"),
    ],
    "frameless_gate": [
        (by_kernel(lambda k: 7), "is kernel_size used"),
        (by_kernel(lambda k: (1, k)), "in both directions"),
        (by_kernel(lambda k: (k, 1)), "in both directions"),
        (by_kernel(lambda k: k, scaled_rows), "does not move with the pattern"),
        (
            by_kernel(lambda k: k, lambda gate, x: sigmoid(gate.conv(two_maps(x)))[:1].expand(len(x), -1, -1, -1)),
            "in a ba",
        ),
        (by_kernel(lambda k: k, lambda gate, x: sigmoid(F.dropout(gate.conv(two_maps(x))))), "what is random"),
        (by_kernel(lambda k: k, lambda gate, x: sigmoid(gate.conv(two_maps(x.mul_(0.9))))), "changes its input"),
        (lambda k: ByKernel, "create the module, ByKernel()"),
        (lambda k: None, "is the return missing"),
        (lambda k: sigmoid, "not an nn.Module"),
        (gate_design(), "that is the frame"),
        (gate_design(after=lambda v, conv, maps: v - v.mean(dim=(2, 3), keepdim=True)), "that is the frame"),
        (gate_design("replicate", last=lambda v: v), "end with a sigmoid"),
        (gate_design("replicate", last=lambda v: sigmoid(v)[:, 0]), "not (B, 1, H, W)"),
        (gate_design("replicate", last=lambda v: sigmoid(v).detach()), "no parameter has a gradient"),
        (gate_design("replicate", setup=lambda conv: conv.requires_grad_(False)), "no parameter has a gradient"),
        (gate_design("replicate", setup=lambda conv: nn.init.zeros_(conv.weight)), "the same at every position"),
        (gate_design(after=lambda v, conv, maps: v.mean(dim=(2, 3), keepdim=True) + 0 * v), "the same at every posi"),
        (gate_design("replicate", before=lambda m: m - m.mean(dim=0)), "an image alone and in a batch"),
        (gate_design("replicate", last=lambda v: sigmoid((v - v.mean()) / v.std())), "not a number"),
        (lambda k: Pointwise(), "use the whole kernel"),
        (lambda k: nn.Sequential(nn.Conv2d(4, 1, k, padding=k // 2), nn.Sigmoid()), "that is the frame"),
        (gate_design("replicate", last=torch.tanh), "end with a sigmoid"),
    ],
}
