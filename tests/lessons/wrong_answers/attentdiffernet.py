"""Plausible wrong answers to each exercise, each with words that its check must report."""

from copy import deepcopy

import torch

from adnlib.lessons.attentdiffernet import attend


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
    ],
    "rescale_bias": [
        (changed(0, 0), "The bias is not rescaled"),
        (changed(0, -1), "divided by g"),
        (changed(1, 1), "The weights changed"),
        (changed(0, 2), "the bias is not: find b'"),
        (no_bias, "The bias is zero"),
        (original_changed, "changes the original convolution"),
        (lambda conv, g: g * conv.bias, "not a convolution"),
        (rebuilt, "not for one with a stride"),
    ],
    "feature_spread": [
        (lambda y: y.std(), "all values together"),
        (lambda y: y.std(dim=0), "now average them"),
        (lambda y: y.std(dim=1), "reduce over the images"),
        (lambda y: y.std(dim=1).mean(), "between the features of one image"),
        (lambda y: y.var(dim=0).mean(), "averages variances"),
        (lambda y: y.mean(dim=1).std(), "averages first"),
        (lambda y: y.std(dim=0).mean().item(), "return a tensor"),
        (lambda y: y.mean(dim=0).mean(), "use std, then mean"),
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
    ],
}
