"""Plausible wrong answers to each exercise, each with words that its check must report."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def hidden_detached(z, w1, w2):
    """The weights of w1 would never be trained."""
    return torch.sigmoid(w2(F.linear(z, w1.weight.detach(), w1.bias.detach()).relu()))


def loop_in_place(x, s):
    for image, gates in zip(x, s, strict=True):
        for maps, gate in zip(image, gates, strict=True):
            maps *= gate
    return x


def block(z_of=lambda x: x.mean(dim=(2, 3)), gates=None, scale=lambda x, s: x * s[:, :, None, None]):
    """A reader's repaired block with one thing changed."""

    def answer(x, w1, w2):
        z = z_of(x)
        return scale(x, gates(z, w1, w2) if gates else torch.sigmoid(w2(torch.relu(w1(z)))))

    return answer


def zero_last(module, channels, reduction):
    nn.init.zeros_(module.w2.weight), nn.init.zeros_(module.w2.bias)


def design(forward, setup=lambda *given: None):
    """A reader's open_block: a module with the parts of an SE block, and a number and a number per channel at zero."""

    def answer(channels, reduction):
        class Design(nn.Module):
            def __init__(self):
                super().__init__()
                self.w1 = nn.Linear(channels, channels // reduction)
                self.w2 = nn.Linear(channels // reduction, channels)
                self.number, self.each = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(channels))
                setup(self, channels, reduction)

            def forward(self, x):
                return forward(self, x)

        return Design()

    return answer


def argument(module, x):
    return module.w2(torch.relu(module.w1(x.mean(dim=(2, 3)))))[:, :, None, None]


X, W1, reduction = torch.zeros(2, 3, 4, 5), nn.Linear(8, 2), 16  # variables of the notebook


def item_by_item(x, s):
    y = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[b, c] = x[b, c] * s[b, c].item()
    return y


def one_channel_short(x, s):
    y = x.clone()
    for c in range(x.shape[1] - 1):
        y[:, c] = x[:, c] * s[:, c, None, None]
    return y


def last_image(x, s):
    for maps, gates in zip(x, s, strict=True):
        y = maps * gates[:, None, None]
    return y


class WithoutSuper(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(8, 8)


class InAList(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(8, 8)]

    def forward(self, x):
        return x * (1 + 0 * self.layers[0](x.mean(dim=(2, 3))))[:, :, None, None]


def both_zero(module, channels, reduction):
    for p in module.parameters():
        nn.init.zeros_(p)


WRONG = {
    "squeeze": [
        (lambda x: X.mean(dim=(2, 3)), "reads the notebook's variable X"),
        (lambda x: np.mean(x, axis=(2, 3)), "NumPy function was given a tensor"),
        (lambda x: x.max(2).mean(2), "return a pair"),
        (lambda x: nn.AdaptiveAvgPool2d(1), "call it"),
        (lambda x: x[:, :, 0, 0], "the first value of each map"),
        (lambda x: x.sum(dim=(2, 3)) / 4, "divides by 4"),
        (lambda x: x.mean(dim=(2, 3)).T, "do not transpose"),
        (lambda x: x.flatten(0, 1).flatten(1).mean(1), "keep the images and the channels apart"),
        (lambda x: x[:1].mean(dim=(2, 3)).expand(len(x), -1), "image 0 for every image"),
        (lambda x: F.normalize(x.mean(dim=(2, 3))), "divided by their norm"),
        (lambda x: -x.mean(dim=(2, 3)), "The sign is wrong"),
        (lambda x: F.dropout(x).mean(dim=(2, 3)), "give different results"),
        (lambda x: x.mean(dim=1), "averages over channels"),
        (lambda x: x.mean(dim=(2, 3), keepdim=True), "drop the last two axes"),
        (lambda x: x.amax(dim=(2, 3)), "this is the maximum"),
        (lambda x: x.sum(dim=(2, 3)), "this is the sum"),
        (lambda x: x.flatten(2).median(dim=2).values, "this is the median"),
        (lambda x: (x.amax(dim=(2, 3)) + x.amin(dim=(2, 3))) / 2, "the values are not"),
        (lambda x: None, "is the return"),
        (lambda x: x.mean(dim=(3, 4)), "raises IndexError"),
        (lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(), "not for x (1, 3, 4, 5): the shape is (3,)"),
        (lambda x: x.sum(dim=(2, 3)) / 20, "not for x (3, 1, 2, 7): the values differ"),
        (lambda x: x.abs().mean(dim=(2, 3)), "Right for positive maps, but not for maps with negative values"),
        (lambda x: torch.tensor(x.detach().numpy().mean(axis=(2, 3))), "they have no gradient"),
        (lambda x: x.reshape(2, 3, -1).mean(dim=2), "the shape is (2, 3), not (1, 3)"),
        (lambda x: x.relu().mean(dim=(2, 3)), "without ReLU or absolute value"),
        (lambda x: x.mean(dim=(2, 3)).int(), "they are rounded"),
        (lambda x: x.sum(dim=(2, 3)) / x.shape[2] ** 2, "divides by H * H"),
        (lambda x: x.sum(dim=(2, 3)) / (x.shape[2] * x.shape[3] - 1), "divides by H * W - 1"),
        (lambda x: x.square().mean(dim=(2, 3)).sqrt(), "the root of the mean square"),
        (lambda x: x.mean(dim=(0, 2, 3)).expand(len(x), -1), "averages over the images too"),
        (lambda x: x.div_(x[0, 0].numel()).sum(dim=(2, 3)), "changes its input"),
    ],
    "excite": [
        (lambda z, w1, w2: torch.sigmoid(w2(nn.ReLU(w1(z)))), "write torch.relu(v)"),
        (lambda z, w1, w2: nn.Sigmoid(w2(torch.relu(w1(z)))), "write torch.relu(v)"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.relu(w1)(z))), "call it first"),
        (lambda z, w1, w2: torch.sigmoid(w2 * torch.relu(w1 * z)), "computes with a function or module itself"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.relu(W1(z)))), "reads the notebook's variable W1"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.relu(nn.Linear(*w1.weight.T.shape)(z)))), "give different results"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.relu(w1(z)))) > 0.5, "The gates are torch.bool"),
        (lambda z, w1, w2: torch.sigmoid(torch.relu(z @ w1.weight.T) @ w2.weight.T), "The biases are missing"),
        (lambda z, w1, w2: 1 - torch.sigmoid(w2(torch.relu(w1(z)))), "This is 1 - s"),
        (lambda z, w1, w2: 2 * torch.sigmoid(w2(torch.relu(w1(z)))), "The gates are doubled"),
        (lambda z, w1, w2: torch.sigmoid(w2(w1(z).abs())), "this is the absolute value"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.relu(w1(z)))).flip(0), "belong to other images"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.relu(w1(z) - w1(z).mean(0)))), "depend on the other images"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.relu(w1(z))))[:, :, None, None], "the axes for space come later"),
        (lambda z, w1, w2: w2(torch.relu(w1(z))), "is the sigmoid missing"),
        (lambda z, w1, w2: torch.sigmoid(w2(w1(z))), "ReLU between the layers is missing"),
        (lambda z, w1, w2: torch.softmax(w2(torch.relu(w1(z))), dim=1), "this is a softmax"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.sigmoid(w1(z)))), "Use a ReLU between the layers"),
        (lambda z, w1, w2: torch.sigmoid(w1(z)), "apply w1, then w2"),
        (lambda z, w1, w2: torch.sigmoid(w1(torch.relu(w2(z)))), "raises RuntimeError"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.relu(w1(z)))).detach(), "they have no gradient"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.relu(w1(z))).squeeze()), "not for z (1, 6)"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.relu(w1(z).detach()))), "is a part of it detached"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.relu(w1(z))).view(4, 8)), "not for z (1, 6)"),
        (hidden_detached, "for the weights of the module that is passed in is not"),
        (lambda z, w1, w2: torch.sigmoid(w2(F.relu6(w1(z)))), "not for z (5, 4)"),
        (lambda z, w1, w2: torch.sigmoid(w2(F.gelu(w1(z)))), "this is a GELU"),
        (lambda z, w1, w2: torch.sigmoid(torch.relu(w2(w1(z)))), "it belongs between w1 and w2"),
        (lambda z, w1, w2: torch.sigmoid(torch.sigmoid(w2(torch.relu(w1(z))))), "applied twice"),
        (lambda z, w1, w2: torch.softmax(w2(torch.relu(w1(z))), dim=0), "over the batch"),
        (lambda z, w1, w2: w2(torch.relu(w1(z))).clamp(0, 1), "cuts the gates off"),
        (lambda z, w1, w2: z * torch.sigmoid(w2(torch.relu(w1(z)))), "return the gates alone"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.relu(w1(z.relu_())))), "changes its input"),
        (lambda z, w1, w2: (torch.sigmoid(w2(torch.relu(w1(z)))),), "not a tensor"),
        (lambda z, w1, w2: torch.sigmoid(w2(w1.requires_grad_(False)(z).relu())), "changes the module"),
    ],
    "scale": [
        (item_by_item, "by detach(), .data or .item()"),
        (one_channel_short, "is the loop one too short"),
        (last_image, "an axis is lost"),
        (lambda x, s: x * s.mean(1)[:, None, None, None], "One gate for all channels"),
        (lambda x, s: x * s.softmax(1)[:, :, None, None], "A softmax is applied"),
        (lambda x, s: x * s.flip(0)[:, :, None, None], "of another image"),
        (lambda x, s: torch.einsum("bchw,bc->bcwh", x, s), "Height and width are swapped"),
        (lambda x, s: x[:, :, 0, 0] * s, "an axis is lost"),
        (lambda x, s: x ** s[:, :, None, None], "the power of the gate"),
        (lambda x, s: x * s[:, :, None, None].expand(2, 3, 3, 3), "Do not write the sizes of one example"),
        (lambda x, s: x + s[:, :, None, None], "instead of multiplying by it"),
        (lambda x, s: x * s[:, None, None, :], "along space instead of channels"),
        (lambda x, s: x * s[:, :, None, None] + x, "residual connection"),
        (lambda x, s: x * s, "raises an error"),
        (lambda x, s: x.mul_(s[:, :, None, None]), "changes its input"),
        (lambda x, s: x * s.view(2, 3, 1, 1), "not for x (1, 2, 5, 3), s (1, 2)"),
        (lambda x, s: x * s.detach()[:, :, None, None], "is a part of it detached"),
        (lambda x, s: x.abs() * s[:, :, None, None], "Right for positive maps, but not for negative ones"),
        (loop_in_place, "changes its input"),
        (lambda x, s: x * s[0][None, :, None, None], "The gates of image 0 are used for every image"),
        (lambda x, s: x * s.mean(dim=0)[None, :, None, None], "averaged over the images"),
        (lambda x, s: x * (1 - s)[:, :, None, None], "multiplies by 1 - s"),
        (lambda x, s: x * torch.sigmoid(s)[:, :, None, None], "applied again"),
        (lambda x, s: x / s[:, :, None, None], "divides by the gate"),
        (lambda x, s: x * s.T.reshape(*s.shape, 1, 1), "s is transposed"),
        (lambda x, s: x * s[..., None], "Broadcasting aligns shapes from the right"),
        (lambda x, s: torch.tensor((x * s[:, :, None, None]).tolist()), "no gradient"),
        (lambda x, s: x, "unchanged"),
    ],
    "se_parameters": [
        (lambda c, r: 2 * r * (r // c) + r // c + r, "channels and reduction are swapped"),
        (lambda c, r: (c * (c // r) + c // r, c // r * c + c), "returns a tuple"),
        (lambda c, r: torch.tensor(2 * c * (c // r) + c // r + c), "returns a Tensor"),
        (lambda c, r: c * (c // r) + (c // r) ** 2 + c // r + c, "the second layer leads from"),
        (lambda c, r: 2 * c * (c // 16) + c // 16 + c, "this always reduces by 16"),
        (lambda c, r: 2 * (c * (c // r) + c // r + c), "counts both biases twice"),
        (lambda c, r: 2 * c * (c // reduction) + c // reduction + c, "also reads the notebook's variable reduction"),
        (lambda c, r: 2 * c * (c // r), "only the weights"),
        (lambda c, r: c * (c // r) + c // r, "counts only one layer"),
        (lambda c, r: 2 * c * c + 2 * c, "ignores the reduction"),
        (lambda c, r: c * (c / r) + c / r + c / r * c + c, "round down, with //"),
        (lambda c, r: 2 * c * c // r + c // r + c, "the count should be 1306"),
        (lambda c, r: 2 * c * (c // r) + c // r, "the biases of the second layer are missing"),
        (lambda c, r: 2 * c * (c // r) + c, "the biases of the first layer are missing"),
        (lambda c, r: 2 * c * (c // r) + 2 * c, "both layers have C biases"),
        (lambda c, r: 2 * c * (c // r) + 2 * (c // r), "both layers have C / r biases"),
        (lambda c, r: 2 * c * r + r + c, "C / r channels, not r"),
        (lambda c, r: 2 * c * round(c / r) + round(c / r) + c, "rounded up: round down"),
        (lambda c, r: str(2 * c * (c // r) + c // r + c), "returns text"),
        (lambda c, r: None, "is the return missing"),
        (lambda c, r: 2 * c * (c // r) + c // r + (c if c > 60 else 0), "not for 48, 3"),
    ],
    "whole_block": [
        (block(lambda x: x.mean(dim=(0, 2, 3)).expand(len(x), -1)), "find the step that mixes images"),
        (block(lambda x: x.mean(dim=(2, 3)) - x.mean(dim=(0, 2, 3))), "find the step that mixes images"),
        (lambda x, w1, w2: x * block()(x, w1, w2)[:1] / x[:1], "The gates of image 0"),
        (block(scale=lambda x, s: x * s.mean(0)[:, None, None]), "The gates are averaged over the images"),
        (block(scale=lambda x, s: x * s.mean(1)[:, None, None, None]), "One gate for all channels"),
        (block(scale=lambda x, s: x + x * s[:, :, None, None]), "residual connection"),
        (block(scale=lambda x, s: s[:, :, None, None].expand_as(x)), "This is the gate itself"),
        (block(scale=lambda x, s: x * s.view(1, -1, 1, 1)), "use s[:, :, None, None] instead"),
        (block(lambda x: x.mean(dim=(0, 2, 3))), "s has no axis for the images"),
        (block(lambda x: x.mean(dim=(2, 3), keepdim=True)), "w1 reads z (B, C), without further axes"),
        (block(lambda x: x.mean(dim=(1, 2))), "w1 reads z (B, C)"),
        (block(gates=lambda z, w1, w2: torch.sigmoid(w1(torch.relu(w2(z))))), "w1 reads z (B, C)"),
        (block(gates=lambda z, w1, w2: torch.sigmoid(w2(nn.ReLU(w1(z))))), "write torch.relu(v)"),
        (block(gates=lambda z, w1, w2: torch.sigmoid(w2(torch.sigmoid(w1(z))))), "Between w1 and w2 is a ReLU"),
        (block(scale=lambda x, s: x * (1 - s)[:, :, None, None]), "multiplies by 1 - s"),
        (block(scale=lambda x, s: x + s[:, :, None, None]), "This adds the gates"),
        (block(scale=lambda x, s: x * s.flip(0)[:, :, None, None]), "of another image"),
        (block(gates=lambda z, w1, w2: torch.softmax(w2(w1(z).relu()), dim=1)), "this is a softmax"),
        (block(gates=lambda z, w1, w2: torch.sigmoid(w2(w1(z)))), "the ReLU between the layers is gone"),
        (block(gates=lambda z, w1, w2: w2(w1(z).relu())), "The sigmoid is gone"),
        (block(lambda x: x.amax(dim=(2, 3))), "z is the maximum"),
        (block(lambda x: x.sum(dim=(2, 3))), "z is the sum"),
        (block(lambda x: x.mean(dim=(2, 3)).squeeze()), "too many indices"),
        (block(lambda x: x.mean(dim=(2, 3)).detach()), "is a part of it detached"),
        (block(scale=lambda x, s: x.mul_(s[:, :, None, None])), "changes its input"),
        (lambda x, w1, w2: x * x.mean(dim=1, keepdim=True), "the factor varies within a channel"),
    ],
    "open_block": [
        (design(lambda m, x: 2 * x * torch.sigmoid(argument(m, x)), both_zero), "Zero only the last one"),
        (design(lambda m, x: x.mul_(2 * torch.sigmoid(argument(m, x))), zero_last), "the module changes its input"),
        (design(lambda m, x: 2 * x * F.dropout(torch.sigmoid(argument(m, x)), 0), both_zero), "Zero only the last one"),
        (design(lambda m, x: 2 * x * torch.sigmoid(F.dropout(argument(m, x))), zero_last), "what is random"),
        (lambda c, r: WithoutSuper(), "Begin __init__ with super().__init__()"),
        (lambda c, r: InAList, "create the module, InAList()"),
        (lambda c, r: InAList(), "use nn.ModuleList"),
        (lambda c, r: type("Bare", (nn.Module,), {"layer": nn.Linear(1, 1)})(), "it can never learn"),
        (lambda c, r: nn.Sequential(nn.Flatten(), nn.Linear(160, 8)), "keep the shape"),
        (lambda c, r: None, "is the return missing"),
        (lambda c, r: nn.Identity(), "it can never learn"),
        (lambda c, r: torch.relu, "not an nn.Module: return an nn.Module"),
        (design(lambda m, x: x * torch.sigmoid(argument(m, x))), "it must begin as the identity"),
        (design(lambda m, x: 2 * x * torch.sigmoid(argument(m, x))), "it must begin as the identity"),
        (design(lambda m, x: x * torch.sigmoid(argument(m, x)), zero_last), "changes its input by 50%"),
        (design(lambda m, x: x + 2 * x * torch.sigmoid(argument(m, x)), zero_last), "changes its input by 100%"),
        (design(lambda m, x: 2 * torch.sigmoid(argument(m, x)), zero_last), "keep the shape"),
        (design(lambda m, x: 2 * x * torch.sigmoid(argument(m, x)).detach(), zero_last), "no parameter has a gradient"),
        (design(lambda m, x: x * torch.round(2 * torch.sigmoid(argument(m, x))), zero_last), "no parameter has a grad"),
        (design(lambda m, x: x * (1 + m.each)[:, None, None]), "the same for every image"),
        (design(lambda m, x: x * (1 + m.number * x.mean((1, 2, 3), keepdim=True))), "all channels have the same gate"),
        (design(lambda m, x: x * (1 + m.number * x.mean(1, keepdim=True))), "the factor varies within a channel"),
        (design(lambda m, x: x + argument(m, x), zero_last), "the factor varies within a channel"),
        (
            design(lambda m, x: x * (2 * torch.sigmoid(argument(m, x))).mean(0, keepdim=True), zero_last),
            "an image alone and in a batch",
        ),
        (design(lambda m, x: (2 * x * torch.sigmoid(argument(m, x))).squeeze(), zero_last), "keep the shape"),
        (lambda c, r: nn.BatchNorm2d(c), "it must begin as the identity"),
        (design(lambda m, x: x + 0 * m.number), "no parameter has a gradient"),
    ],
}
