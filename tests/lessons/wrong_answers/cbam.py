"""Plausible wrong answers to each exercise, each with words that its check must report."""

import torch

SPACE = (2, 3)
sigmoid = torch.sigmoid


def two_maps(x):
    return torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)


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


WRONG = {
    "channel_gate": [
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
    "cbam_parameters": [
        (lambda c, r, k: 2 * c * (c // r), "not the convolution"),
        (lambda c, r, k: 2 * k * k, "not the MLP"),
        (lambda c, r, k: 4 * c * (c // r) + 2 * k * k, "share one"),
        (lambda c, r, k: 2 * c * (c // r) + k * k, "reads two maps, mean and maximum"),
        (lambda c, r, k: 2 * c * (c // r) + c * k * k, "not all channels"),
        (lambda c, r, k: 2 * c * (c // r) + c // r + c + 2 * k * k, "biases in the MLP"),
        (lambda c, r, k: 2 * c * (c // r) + 2 * k * k + 1, "a bias in the convolution"),
        (lambda c, r, k: 2 * c * c + 2 * k * k, "ignores the reduction"),
        (lambda c, r, k: 2 * c * (c // r) + 2 * k, "k * k positions"),
        (lambda c, r, k: 2 * c * c / r + 2 * k * k, "divide with //"),
    ],
}
