"""Plausible wrong answers to each exercise, each with words that its check must report."""

import torch

WRONG = {
    "squeeze": [
        (lambda x: x.mean(dim=1), "averages over channels"),
        (lambda x: x.mean(dim=(2, 3), keepdim=True), "drop the last two axes"),
        (lambda x: x.amax(dim=(2, 3)), "this is the maximum"),
        (lambda x: x.sum(dim=(2, 3)), "this is the sum"),
        (lambda x: x.flatten(2).median(dim=2).values, "the values are not"),
        (lambda x: (x.amax(dim=(2, 3)) + x.amin(dim=(2, 3))) / 2, "the values are not"),
        (lambda x: None, "is the return statement missing"),
        (lambda x: x.mean(dim=(3, 4)), "raises IndexError"),
    ],
    "excite": [
        (lambda z, w1, w2: w2(torch.relu(w1(z))), "is the sigmoid missing"),
        (lambda z, w1, w2: torch.sigmoid(w2(w1(z))), "ReLU between the layers is missing"),
        (lambda z, w1, w2: torch.softmax(w2(torch.relu(w1(z))), dim=1), "this is a softmax"),
        (lambda z, w1, w2: torch.sigmoid(w2(torch.sigmoid(w1(z)))), "Use a ReLU between the layers"),
        (lambda z, w1, w2: torch.sigmoid(w1(z)), "apply w1, then w2"),
        (lambda z, w1, w2: torch.sigmoid(w1(torch.relu(w2(z)))), "raises RuntimeError"),
    ],
    "scale": [
        (lambda x, s: x + s[:, :, None, None], "instead of multiplying by it"),
        (lambda x, s: x * s[:, None, None, :], "along space instead of channels"),
        (lambda x, s: x * s[:, :, None, None] + x, "residual connection"),
        (lambda x, s: x * s, "raises RuntimeError"),
        (lambda x, s: x.mul_(s[:, :, None, None]), "changes its input"),
    ],
    "se_parameters": [
        (lambda c, r: 2 * c * (c // r), "only the weights"),
        (lambda c, r: c * (c // r) + c // r, "counts only one layer"),
        (lambda c, r: 2 * c * c + 2 * c, "ignores the reduction"),
        (lambda c, r: c * (c / r) + c / r + c / r * c + c, "the count should be 1306"),
    ],
}
