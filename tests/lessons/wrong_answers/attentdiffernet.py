"""Plausible wrong answers to each exercise, each with words that its check must report."""

import math
from copy import deepcopy

import torch
from torch import nn

from adnlib.lessons.attentdiffernet import attend, feature_spread, rescale_bias, rescaled

Y = torch.zeros(4, 3)  # variables of the notebook
LAYERS = nn.Conv2d(2, 2, 1)


def before_the_layer(x, layers, attention):
    for index, layer in enumerate(layers):
        if index in attention:
            x = attention[index](x)
        x = layer(x)
    return x


def result_dropped(x, layers, attention):
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in attention:
            attention[index](x)
    return x


def behind_every_layer(x, layers, attention):
    for layer in layers:
        x = layer(x)
        for module in attention.values():
            x = module(x)
    return x


def keys_as_words(x, layers, attention):
    for index, layer in enumerate(layers):
        x = layer(x)
        if str(index) in attention:
            x = attention[str(index)](x)
    return x


def counted_from_one(x, layers, attention):
    for index, layer in enumerate(layers):
        x = layer(x)
        if index - 1 in attention:
            x = attention[index - 1](x)
    return x


def a_module_everywhere(x, layers, attention):
    for index, layer in enumerate(layers):
        x = attention[index](layer(x))
    return x


def returned_early(x, layers, attention):
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in attention:
            return attention[index](x)
    return x


def module_in_place_of_the_layer(x, layers, attention):
    for index, layer in enumerate(layers):
        x = attention[index](x) if index in attention else layer(x)
    return x


def first_module_only(x, layers, attention):
    first = min(attention, default=-1)
    for index, layer in enumerate(layers):
        x = layer(x)
        if index == first:
            x = attention[index](x)
    return x


def changed(weight, bias):
    """An answer that multiplies the weight and the bias of the copy by powers of g."""

    def answer(conv, g):
        new = deepcopy(conv)
        with torch.no_grad():
            new.weight.mul_(g**weight)
            new.bias.mul_(g**bias)
        return new

    return answer


def no_bias(conv, g):
    new = deepcopy(conv)
    with torch.no_grad():
        new.bias.zero_()
    return new


def original_changed(conv, g):
    with torch.no_grad():
        conv.bias.mul_(g)
    return conv


def cut_off(plain, constant, attention):
    return min(max((constant - plain) / (attention - plain), 0), 1)


def emptied(x, layers, attention):
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in attention:
            x = attention.pop(index)(x)
    return x


def rebuilt(conv, g):
    new = torch.nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, groups=conv.groups)
    with torch.no_grad():
        new.weight.copy_(conv.weight)
        new.bias.copy_(g * conv.bias)
    return new


def joined(how):
    """attend that joins a module's output with its input."""

    def answer(x, layers, attention):
        for index, layer in enumerate(layers):
            x = layer(x)
            if index in attention:
                x = how(x, attention[index](x))
        return x

    return answer


def modules_at_the_end(x, layers, attention):
    x = layers(x)
    for module in attention.values():
        x = module(x)
    return x


def inserted(x, layers, attention):
    for index in sorted(attention, reverse=True):
        layers.insert(index + 1, attention[index])
    return layers(x)


def of_the_first_input(x, layers, attention):
    y = x
    for index, layer in enumerate(layers):
        y = attention[index](x) if index in attention else layer(y)
    return y


def fixed_places(x, layers, attention):
    return attend(x, layers, {index: attention[index] for index in (1, 3) if index in attention})


def four_layers(x, layers, attention):
    for index in range(4):
        x = layers[index](x)
        if index in attention:
            x = attention[index](x)
    return x


def shifts_its_input(x, layers, attention):
    x += 0.1
    return attend(x, layers, attention)


def bias(of):
    """An answer that writes of(bias, g) into the copy."""

    def answer(conv, g):
        new = deepcopy(conv)
        with torch.no_grad():
            new.bias.copy_(of(conv.bias, g))
        return new

    return answer


def assigned(conv, g):
    new = deepcopy(conv)
    new.bias = g * conv.bias
    return new


def bias_removed(conv, g):
    new = deepcopy(conv)
    new.bias = None
    return new


def kept_to_itself(conv, g):
    rescale_bias(conv, g)


def chain(update, before=False, start=1.0):
    """rescaled with another rule for the factor."""

    def answer(layers, gates):
        g, new = start, []
        for index, layer in enumerate(layers):
            if before and index in gates:
                g = update(g, gates[index].value)
            new.append(rescale_bias(layer, g) if isinstance(layer, nn.Conv2d) else layer)
            if not before and index in gates:
                g = update(g, gates[index].value)
        return nn.Sequential(*new)

    return answer


def convolutions_alone(layers, gates):
    return nn.Sequential(*[layer for layer in rescaled(layers, gates) if isinstance(layer, nn.Conv2d)])


def gates_inserted(layers, gates):
    new = []
    for index, layer in enumerate(rescaled(layers, gates)):
        new += [layer, gates[index]] if index in gates else [layer]
    return nn.Sequential(*new)


def all_gates(layers, gates):
    g = math.prod(gate.value for gate in gates.values())
    return nn.Sequential(*[rescale_bias(m, g) if isinstance(m, nn.Conv2d) else m for m in layers])


def originals_changed(layers, gates):
    with torch.no_grad():
        for layer, new in zip(layers, rescaled(layers, gates), strict=True):
            if isinstance(layer, nn.Conv2d):
                layer.bias.copy_(new.bias)
    return layers


def share(of):
    """explained with another fraction."""
    return lambda plain, constant, attention: float("nan") if attention == plain else of(plain, constant, attention)


WRONG = {
    "attend": [
        (before_the_layer, "before its layer"),
        (result_dropped, "its output is not used"),
        (behind_every_layer, "after every layer"),
        (keys_as_words, "never called"),
        (counted_from_one, "one layer late"),
        (returned_early, "the remaining layers must still run"),
        (module_in_place_of_the_layer, "replaces its layer"),
        (first_module_only, "This works with one module, but not with two"),
        (a_module_everywhere, "check `if index in attention` first"),
        (lambda x, layers, attention: None, "is the return missing"),
        (lambda x, layers, attention: layers(x), "never called"),
        (emptied, "changes the dictionary"),
        (lambda x, layers, attention: attend(x, layers, attention).detach(), "no gradient"),
        (joined(torch.add), "is added to x"),
        (joined(torch.mul), "x is multiplied by the module's output"),
        (modules_at_the_end, "All layers run first"),
        (inserted, "inserts modules into `layers`"),
        (of_the_first_input, "receives the wrong map"),
        (fixed_places, "not after 0 and 2"),
        (four_layers, "not for x (1, 3, 9, 7)"),
        (lambda x, layers, attention: attend(x, layers, attention).squeeze(0), "squeeze() removes"),
        (lambda x, layers, attention: [attend(x, layers, attention)], "returns list, not a tensor"),
        (lambda x, layers, attention: LAYERS(attend(x, layers, attention)), "reads the notebook's variable LAYERS"),
        (shifts_its_input, "changes its input"),
    ],
    "rescale_bias": [
        (changed(0, 0), "The bias is not rescaled"),
        (changed(0, -1), "divided by g"),
        (changed(1, 1), "The weights changed"),
        (changed(0, 2), "by g twice"),
        (no_bias, "The bias is zero"),
        (original_changed, "changes the original convolution"),
        (lambda conv, g: g * conv.bias, "not a convolution"),
        (rebuilt, "lost the stride"),
        (bias(lambda b, g: 0.25 * b), "not for others"),
        (bias(lambda b, g: (1 - g) * b), "what the gate removes"),
        (bias(lambda b, g: b + g), "g is added"),
        (bias(lambda b, g: b - g), "g is subtracted"),
        (bias(lambda b, g: 0.5 * b), "use the argument g"),
        (bias(lambda b, g: (g * b).relu()), "Negative biases are set to zero"),
        (bias(lambda b, g: g * b.abs()), "have lost their sign"),
        (bias(lambda b, g: (g * b).mean()), "All channels have the same bias"),
        (bias(lambda b, g: torch.tensor(g)), "Every bias is g"),
        (bias(lambda b, g: -g * b), "has the wrong sign"),
        (assigned, "new.bias.copy_"),
        (bias_removed, "The bias is gone"),
        (kept_to_itself, "keep the line `return new`"),
        (lambda conv, g: nn.Sequential(rescale_bias(conv, g)), "returns Sequential, not a convolution"),
        (lambda conv, g: rescale_bias(LAYERS and conv, g), "reads the notebook's variable LAYERS"),
    ],
    "rescaled": [
        (chain(lambda g, value: g + value), "multiplied by 1, 1.5"),
        (chain(lambda g, value: g / value), "multiplied by 1, 2"),
        (chain(min), "needs the product of all gates"),
        (chain(lambda g, value: (g + value) / 2), "needs the product of all gates"),
        (chain(lambda g, value: g * value**2), "multiplied by 1, 0.25"),
        (chain(lambda g, value: g * value, start=0.0), "multiplied by 0, 0, 0"),
        (chain(lambda g, value: g * value, before=True), "none of those after it"),
        (all_gates, "none of those after it"),
        (convolutions_alone, "There are 4 layers instead of 6"),
        (gates_inserted, "There are 7 layers instead of 6"),
        (originals_changed, "changes the original layers"),
        (lambda layers, gates: list(rescaled(layers, gates)), "returns list"),
        (lambda layers, gates: layers, "multiplied by 1, 1, 1, 1"),
        (lambda layers, gates: None, "returns NoneType"),
    ],
    "feature_spread": [
        (lambda y: y.std(), "all values together"),
        (lambda y: y.std(dim=0), "now average them"),
        (lambda y: y.std(dim=1), "reduce over the images"),
        (lambda y: y.std(dim=1).mean(), "between the features of one image"),
        (lambda y: y.var(dim=0).mean(), "averages variances"),
        (lambda y: y.mean(dim=1).std(), "averages first"),
        (lambda y: y.std(dim=0).mean().item(), "return a tensor"),
        (lambda y: y.mean(dim=0).mean(), "This is the mean of the features themselves"),
        (lambda y: feature_spread(y).detach(), "no gradient"),
        (lambda y: torch.tensor(y.std(dim=0).mean().item()), "no gradient"),
        (lambda y: y.sub_(y.mean(dim=0)).std(dim=0).mean(), "changes its input"),
        (lambda y: y.std(dim=0).sum() / 3, "(5, 189)"),
        (lambda y: y.std(dim=0).mean() + 0 * Y.sum(), "reads the notebook's variable Y"),
        (lambda y: y.std(dim=0, keepdim=True).mean(dim=0), "now average them"),
        (lambda y: y.std(dim=0).mean().reshape(1), "The shape is (1,)"),
        (lambda y: y.std(dim=0).sum(), "the sum over features"),
        (lambda y: y.std(dim=0).median(), "the median over features"),
        (lambda y: y.std(dim=0).max(), "the largest standard deviation"),
        (lambda y: y.var(dim=0).mean().sqrt(), "take the root first"),
        (lambda y: (y.std(dim=0) / y.mean(dim=0)).mean(), "divided by its feature's mean"),
        (lambda y: (y.amax(dim=0) - y.amin(dim=0)).mean(), "This is the range"),
        (lambda y: (y - y.mean(dim=0)).abs().mean(), "mean absolute deviation"),
        (lambda y: None, "is the return missing"),
    ],
    "explained": [
        (lambda plain, constant, attention: (attention - plain) / (constant - plain), "upside down"),
        (lambda plain, constant, attention: (attention - constant) / (attention - plain), "from constant to attention"),
        (lambda plain, constant, attention: constant / attention, "ratio of two AUROCs"),
        (lambda plain, constant, attention: constant - plain, "divide it by attention's"),
        (lambda plain, constant, attention: abs(constant - plain) / abs(attention - plain), "The sign is lost"),
        (cut_off, "must not be clipped"),
        (lambda plain, constant, attention: (constant - plain) / (attention - plain), "nothing to explain"),
        (lambda plain, constant, attention: None, "is the return missing"),
        (share(lambda p, c, a: (c - p) / abs(a - p)), "keep the signs"),
        (share(lambda p, c, a: 100 * (c - p) / (a - p)), "in percent"),
        (share(lambda p, c, a: round((c - p) / (a - p))), "rounded to a whole number"),
        (share(lambda p, c, a: (c - p) / a - p), "put brackets"),
        (share(lambda p, c, a: (c - p) / p), "divides by the plain AUROC"),
        (share(lambda p, c, a: c / (a - p)), "Subtract plain from constant too"),
        (share(lambda p, c, a: (p - c) / (a - p)), "The sign is wrong"),
        (share(lambda p, c, a: (c - p) / (a - c)), "not from constant to attention"),
        (share(lambda p, c, a: (c - 0.5) / (a - 0.5)), "subtract the plain AUROC"),
        (share(lambda p, c, a: max((c - p) / (a - p), 0)), "must not be clipped"),
        (share(lambda p, c, a: torch.tensor((c - p) / (a - p))), "returns Tensor"),
        (share(lambda p, c, a: f"{(c - p) / (a - p):.0%}"), "returns str"),
        (share(lambda p, c, a: float("nan") if c == p else (c - p) / (a - p)), "its share is 0"),
        (
            share(lambda p, c, a: float("nan") if abs(a - p) < 0.3 else (c - p) / (a - p)),
            "nan is for attention == plain",
        ),
        (lambda p, c, a: 0.0 if a == p else (c - p) / (a - p), "This returns 0.0"),
        (lambda p, c, a: None if a == p else (c - p) / (a - p), "This returns None"),
    ],
    "bounded_gate": [
        (torch.sigmoid, "but it is 0.302"),
        (lambda a: 2 * a.sigmoid(), "all gates together can still close"),
        (lambda a: a.softmax(dim=1), "all gates together can still close"),
        (lambda a: a.sigmoid() / a.sigmoid().norm(dim=1, keepdim=True), "all gates together can still close"),
        (lambda a: 6 * a.softmax(dim=1), "all gates together can still close"),
        (lambda a: len(a) * a.softmax(dim=0), "The mean over the channels"),
        (lambda a: a.sigmoid() / a.sigmoid().mean(), "The mean over the channels"),
        (lambda a: 1 + a - a.mean(dim=1, keepdim=True), "A gate is negative"),
        (torch.ones_like, "All gates are equal"),
        (lambda a: a.abs() / a.abs().mean(dim=1, keepdim=True), "The order is lost"),
        (lambda a: a.shape[1] * (-a).softmax(dim=1), "The order is lost"),
        (lambda a: a.exp() / a.exp().mean(dim=1, keepdim=True), "With large logits"),
        (lambda a: a.relu() / a.relu().mean(dim=1, keepdim=True), "With large logits"),
        (lambda a: (a.shape[1] * a.softmax(dim=1)).detach(), "no gradient"),
        (lambda a: a.shape[1] * (a == a.amax(dim=1, keepdim=True)).float(), "no gradient"),
        (lambda a: a.sigmoid().mean(dim=1), "one gate per channel"),
        (lambda a: None, "is the return missing"),
    ],
}


def returned_in_the_loop(x, layers, attention):
    for index, layer in enumerate(layers):
        x = layer(x)
        return attention[index](x) if index in attention else x


def outside_the_loop(x, layers, attention):
    x, last = layers(x), len(layers) - 1  # what an `if` without its indent does
    return attention[last](x) if last in attention else x


def paired(x, layers, attention):
    for layer, module in zip(layers, attention.values(), strict=False):
        x = module(layer(x))
    return x


def fixed_numbers(x, layers, attention):
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in (2, 5, 11):
            x = attention[index](x)
    return x


def put_into_the_layers(x, layers, attention):
    for index, module in attention.items():
        layers[index] = nn.Sequential(layers[index], module)
    return layers(x)


def hooked(x, layers, attention):
    for index, module in attention.items():
        layers[index].register_forward_hook(lambda layer, given, maps, module=module: module(maps))
    return layers(x)


def its_gate(x, layers, attention):
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in attention:
            x = x * attention[index].gate(x)
    return x


def outside_no_grad(conv, g):
    new = deepcopy(conv)
    new.bias.copy_(g * conv.bias)
    return new


def frozen_bias(conv, g):
    new = deepcopy(conv)
    new.bias = nn.Parameter(g * conv.bias.detach(), requires_grad=False)
    return new


def shared_weights(conv, g):
    new = rescale_bias(conv, g)
    new.weight = conv.weight
    return new


def rebuilt_with_zeros(conv, g):
    sizes = conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups
    new = nn.Conv2d(conv.in_channels, conv.out_channels, *sizes)
    with torch.no_grad():
        new.weight.copy_(conv.weight)
        new.bias.copy_(g * conv.bias)
    return new


def factor_of(value, layers_too=False):
    """rescaled with another value of a gate, or for every layer."""

    def answer(layers, gates):
        g, new = 1.0, []
        for index, layer in enumerate(layers):
            new.append(rescale_bias(layer, g) if layers_too or isinstance(layer, nn.Conv2d) else layer)
            if index in gates:
                g *= value(gates[index])
        return nn.Sequential(*new)

    return answer


def weights_rescaled(layers, gates):
    new, g = deepcopy(rescaled(layers, gates)), 1.0
    for index, layer in enumerate(new):
        if isinstance(layer, nn.Conv2d):
            layer.weight.data *= g
        g *= gates[index].value if index in gates else 1
    return new


def over_mean(gate, mean=lambda g: g.mean(dim=1, keepdim=True)):
    """bounded_gate that divides gate(a) by its mean."""
    return lambda a: (g := gate(a)) / mean(g)


WRONG["attend"] += [
    (returned_in_the_loop, "is the return inside the loop"),
    (outside_the_loop, "move the `if` into the loop"),
    (paired, "as zip does"),
    (fixed_numbers, "without fixed numbers"),
    (put_into_the_layers, "inserts modules into `layers`"),
    (hooked, "inserts modules into `layers`"),
    (its_gate, "Call the module itself"),
    (joined(lambda x, y: x * y.sigmoid()), "taken for a gate"),
    (lambda x, layers, attention: attend(x, layers[:-1], attention), "The last layer does not run"),
    (lambda x, layers, attention: attend(x, layers, {k: nn.Sequential(m, m) for k, m in attention.items()}), "twice"),
]
WRONG["rescale_bias"] += [
    (outside_no_grad, "inside `with torch.no_grad():`"),
    (frozen_bias, "can no longer be trained"),
    (shared_weights, "shares the weights"),
    (rebuilt_with_zeros, "not for others"),
    (bias(lambda b, g: b + g * b), "it must replace it"),
    (bias(lambda b, g: g * b[0]), "the bias of channel 0"),
    (bias(lambda b, g: g - b), "subtracted from g"),
    (bias(lambda b, g: g * b.flip(0)), "the bias is not: find b'"),
    (bias(lambda b, g: b + (g - 1)), "g - 1 is added"),
]
WRONG["rescaled"] += [
    (factor_of(lambda gate: gate), "its factor is gates[index].value"),
    (factor_of(lambda gate: gate.value, layers_too=True), "Only a convolution has a bias"),
    (weights_rescaled, "The weights of a convolution changed"),
]
WRONG["feature_spread"] += [
    (lambda y: y.detach().std(dim=0).mean().requires_grad_(), "no gradient"),
    (lambda y: (y - y.mean(dim=0)).detach().square().mean(dim=0).sqrt().mean() + 0 * y.sum(), "no gradient"),
    (lambda y: y[:, 0].std(), "the first feature only"),
    (lambda y: y.std(dim=0).sum() / len(y), "divides by the number of images"),
    (lambda y: y.std(dim=0).mean() / y.mean(), "divided by the mean of all features"),
    (lambda y: y.std(dim=0).mean() / len(y) ** 0.5, "the root of the number of images"),
    (lambda y: y.std(dim=0)[y.std(dim=0) > 0].mean(), "counts too"),
    (lambda y: (y - y.mean(dim=0)).square().mean(), "The root is missing"),
    (lambda y: (y - y.mean()).square().mean(dim=0).sqrt().mean(), "its own mean"),
]
WRONG["explained"] += [
    (share(lambda p, c, a: float("nan") if c == a else (c - p) / (a - p)), "its share is 1"),
    (share(lambda p, c, a: float("nan") if abs(a - p) < 0.05 else (c - p) / (a - p)), "a small difference"),
    (lambda p, c, a: float("nan") if a is p else (c - p) / (a - p), "nothing to explain"),
    (share(lambda p, c, a: round((c - p) / (a - p), 2)), "The share is rounded"),
    (share(lambda p, c, a: max(-1, min(2, (c - p) / (a - p)))), "must not be clipped"),
    (lambda c, p, a: float("nan") if a == p else (c - p) / (a - p), "in another order"),
    (share(lambda p, c, a: (c - p) * (a - p)), "are multiplied"),
    (share(lambda p, c, a: c - p / (a - p)), "brackets around the first difference"),
]
WRONG["bounded_gate"] += [
    (over_mean(lambda a: a - a.amin(dim=1, keepdim=True)), "Where all logits of an image are equal"),
    (over_mean(torch.sigmoid, lambda g: g.mean(dim=1, keepdim=True).detach()), "is the mean detached"),
    (over_mean(torch.sigmoid, lambda g: g.mean(dim=1)), "The mean lost its axis"),
    (over_mean(lambda a: (a - a.max()).exp()), "depend on the other images"),
    (over_mean(lambda a: (a - a[:1].amax()).exp()), "depend on the other images"),
    (lambda a: a.shape[1] * torch.cat([a[:1].softmax(1), (-a[1:]).softmax(1)]), "The order is lost"),
    (lambda a: a.shape[1] * nn.functional.dropout(a).softmax(dim=1), "give different"),
]
