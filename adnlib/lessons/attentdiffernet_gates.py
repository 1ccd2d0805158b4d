"""Exercises for notebooks/06_attentdiffernet up to the gate before a convolution."""

import math
from copy import deepcopy

import torch
from torch import Tensor, nn

from adnlib.attention import ConstantGate
from adnlib.lessons.exercise import Mistake, check, expect, expect_tensor


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

    def run(attention: dict[int, nn.Module]) -> Tensor:
        try:
            return answer(x, layers, attention)
        except KeyError as error:
            raise Mistake(
                f"No module follows layer {error} here: check `if index in attention` first, without fixed numbers."
            ) from None
        except RuntimeError as error:
            expect("channels" not in str(error), "A layer receives the wrong map: each one continues from the last x.")
            raise
        except AttributeError as error:
            expect("_Affine" not in str(error), "Call the module itself: x = module(x). It returns the gated maps.")
            raise

    with torch.no_grad():
        plain, maps = layers(x), layers[1](layers[0](x))
        y = run({1: module})
        expect(
            len(layers) == 4 and torch.equal(layers(x), plain),
            "This inserts modules into `layers`, which all models share: leave it unchanged.",
        )
        expect_tensor("attend", y)
        if y.shape == (2, 4, 6, 6):
            expect(not torch.equal(y, layers[0](x)), "Only the first layer runs: is the return inside the loop?")
            expect(
                not torch.allclose(y, _Affine()(layers[0](x))),
                "This pairs layers and modules in their order, as zip does: attention[i] follows layer i.",
            )
            expect(False, "This returns right after the module: the remaining layers must still run.")
        expect(y.shape == (2, 2, 4, 4), f"The shape is {tuple(y.shape)}, not (2, 2, 4, 4): does every layer run once?")
        last = _Affine()
        expect(
            module.calls > 0 or not run({3: last}).isfinite().all() or last.calls == 0,
            "Only a module after the last layer is called: move the `if` into the loop.",
        )
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
        expect(
            not torch.allclose(y, before),
            "The module runs before its layer: run the layer first, then the module, and count the layers from 0.",
        )
        instead = layers[2:](_Affine()(layers[0](x)))
        expect(not torch.allclose(y, instead), "The module replaces its layer: run the layer as well, then the module.")
        added, multiplied = (layers[2:](f(maps, _Affine()(maps))) for f in (torch.add, torch.mul))
        expect(not torch.allclose(y, added), "The module's output is added to x: it must replace x, x = module(x).")
        expect(
            not torch.allclose(y, multiplied), "x is multiplied by the module's output: the module does this itself."
        )
        at_the_end = _Affine()(layers(x))
        expect(
            not torch.allclose(y, at_the_end), "All layers run first, then the module: it must follow its own layer."
        )
        expect(not torch.allclose(y, layers[2](_Affine()(maps))), "The last layer does not run: run all of them.")
        twice = layers[2:](_Affine()(_Affine()(maps)))
        expect(not torch.allclose(y, twice), "The module is applied twice: once is enough.")
        gated = layers[2:](maps * torch.sigmoid(_Affine()(maps)))
        expect(not torch.allclose(y, gated), "The module's output is taken for a gate: it holds the gated maps.")
        after = layers[3](layers[2](layers[1](layers[0](x))) * 2 - 1)
        expect(not torch.allclose(y, after), "The module runs one layer late: count the layers from 0, as Python does.")
        expect(
            torch.allclose(y, attend(x, layers, {1: _Affine()})),
            "The shape is right, the values are not: for each layer in order, x = layer(x), then its module, if any.",
        )
        two: dict[int, nn.Module] = {1: _Affine(), 3: _Affine()}
        expect(
            torch.allclose(run(two), attend(x, layers, two)),
            "This works with one module, but not with two: any layer can have one, including the last, and "
            "inserting a module into a list shifts all later indices.",
        )
        first: dict[int, nn.Module] = {0: _Affine(), 2: _Affine()}
        expect(
            torch.allclose(run(first), attend(x, layers, first)),
            "This works after layers 1 and 3, but not after 0 and 2: the keys of attention decide, not fixed numbers.",
        )
        expect(
            torch.allclose(run({}), layers(x)),
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
        convolutions = (
            nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2),
            nn.Conv2d(2, 1, 2, dilation=2, padding=2, padding_mode="reflect"),
        )
        x = torch.randn(1, 2, 7, 7)
    weight, bias = (p.detach().clone() for p in conv.parameters())
    g = 0.25
    try:
        new = answer(conv, g)
    except TypeError as error:
        expect("cannot assign" not in str(error), "bias is a Parameter: write into it, new.bias.copy_(…).")
        raise
    except RuntimeError as error:
        expect("leaf" not in str(error), "Write into the bias inside `with torch.no_grad():`, as the stub does.")
        raise
    expect(new is not None, "rescale_bias returns None: keep the line `return new`.")
    expect(isinstance(new, nn.Conv2d), f"rescale_bias returns {type(new).__name__}, not a convolution.")
    with torch.no_grad():
        expect(
            all(map(torch.equal, conv.parameters(), (weight, bias))),
            "This changes the original convolution: write into new.bias, the bias of the copy.",
        )
        expect(new.bias is not None, "The bias is gone: then the term g b of g (W x + b) is missing.")
        expect(
            [(name, p.requires_grad) for name, p in new.named_parameters()] == [("weight", True), ("bias", True)],
            "The bias of the copy can no longer be trained: write into it, new.bias.copy_(…).",
        )
        expect(
            new.weight is not conv.weight,
            "The copy shares the weights of the original, so training one would change the other: use deepcopy.",
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
        for wrong, message in (
            (bias + g, "g is added to the bias: multiply by it."),
            ((1 + g) * bias, "g times the bias is added to the bias: it must replace it."),
            (bias + g - 1, "g - 1 is added to the bias: multiply by g."),
            (g - bias, "The bias is subtracted from g: multiply it by g."),
            (0.5 * bias, "The bias is halved, but here the gate is 0.25: use the argument g."),
            ((g * bias[0]).expand(3), "All channels have the bias of channel 0: rescale each of them."),
            (bias - g, "g is subtracted from the bias: multiply by it."),
            ((1 - g) * bias, "The bias is multiplied by 1 - g, which is what the gate removes: multiply by g."),
            (-g * bias, "The bias has the wrong sign."),
            (g * bias.abs(), "Negative biases have lost their sign."),
            ((g * bias).relu(), "Negative biases are set to zero: they have to shrink too."),
            (g * g * bias, "The bias is multiplied by g twice."),
            ((g * bias).mean().expand(3), "All channels have the same bias now: rescale each of them."),
            (torch.full_like(bias, g), "Every bias is g: multiply the biases by g."),
        ):
            expect(not torch.allclose(new.bias, wrong), message)
        expect(
            torch.allclose(new(g * x), g * conv(x), atol=1e-6),
            "The weights are right, the bias is not: find b' with W (g x) + b' = g (W x + b).",
        )
        for strided, g in zip(convolutions, (0.5, 1.5), strict=True):
            expect(
                answer(strided, g)(g * x).shape == strided(x).shape,
                "The copy lost the stride, the padding or another setting of the convolution: copy it as a whole.",
            )
            expect(
                torch.allclose(answer(strided, g)(g * x), g * strided(x), atol=1e-6),
                "This works for one convolution and one gate, but not for others: use the arguments conv and g.",
            )


def _last_gate_only(layers: nn.Sequential, gates: dict[int, ConstantGate]) -> nn.Sequential:
    """Layers with rescaled biases: gates[i].value after layer i then only rescales the output."""
    g, new = 1.0, []
    for index, layer in enumerate(layers):
        new.append(rescale_bias(layer, g) if isinstance(layer, nn.Conv2d) else layer)
        if index in gates:
            g = gates[index].value
    return nn.Sequential(*new)


def rescaled(layers: nn.Sequential, gates: dict[int, ConstantGate]) -> nn.Sequential:
    """Layers with rescaled biases: gates[i].value after layer i then only rescales the output."""
    g, new = 1.0, []
    for index, layer in enumerate(layers):
        new.append(rescale_bias(layer, g) if isinstance(layer, nn.Conv2d) else layer)
        if index in gates:
            g *= gates[index].value
    return nn.Sequential(*new)


@check(rescaled, broken=_last_gate_only)
def check_rescaled(answer):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
        )
    before = deepcopy(layers.state_dict())
    x = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    for values in ({}, {1: 0.5}, {1: 0.5, 3: 0.25}, {1: 0.5, 3: 0.5, 4: 0.5, 5: 0.2}, {0: 2.0, 3: 0.3}):
        gates = {index: ConstantGate(1, value) for index, value in values.items()}
        named = f"gates {values}" if values else "no gates"
        try:
            new = answer(layers, gates)
        except AttributeError as error:
            expect("'bias'" not in str(error), "Only a convolution has a bias to rescale: keep the other layers.")
            raise
        except TypeError as error:
            expect("ConstantGate" not in str(error), "gates[index] is a module: its factor is gates[index].value.")
            raise
        expect(isinstance(new, nn.Sequential), f"rescaled returns {type(new).__name__}: return nn.Sequential(*new).")
        expect(len(new) == len(layers), f"There are {len(new)} layers instead of {len(layers)}: one new for each old.")
        expect(
            all(torch.equal(layers.state_dict()[name], tensor) for name, tensor in before.items()),
            "This changes the original layers: rescale_bias returns a copy.",
        )
        weights = [[m.weight for m in chain if isinstance(m, nn.Conv2d)] for chain in (layers, new)]
        expect(
            len(weights[0]) == len(weights[1]) and all(map(torch.equal, *weights)),
            "The weights of a convolution changed: only its bias has to be rescaled.",
        )
        with torch.no_grad():
            given, plain = attend(x, new, {**gates}), layers(x)
            biases = [
                (module.bias / layer.bias).mean().item()  # pyright: ignore[reportOperatorIssue, reportOptionalOperand]
                for module, layer in zip(new, layers, strict=True)
                if isinstance(module, nn.Conv2d) and isinstance(layer, nn.Conv2d)
            ]
        factor = math.prod(values.values())
        expect(
            torch.allclose(given, factor * plain, atol=1e-6),
            f"With {named} the output is not {factor:g} times that of the layers alone. The biases are multiplied by "
            f"{', '.join(f'{value:.3g}' for value in biases)}: each convolution needs the product of all gates before "
            "it, and none of those after it.",
        )
