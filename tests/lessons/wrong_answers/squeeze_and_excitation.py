"""Plausible wrong answers to each exercise, each with words that its check must report."""

import torch
import torch.nn.functional as F

WRONG = {
    "squeeze": [
        (lambda x: x.mean(dim=1), "averages over channels"),
        (lambda x: x.mean(dim=(2, 3), keepdim=True), "drop the last two axes"),
        (lambda x: x.amax(dim=(2, 3)), "this is the maximum"),
        (lambda x: x.sum(dim=(2, 3)), "this is the sum"),
        (lambda x: x.flatten(2).median(dim=2).values, "the values are not"),
        (lambda x: (x.amax(dim=(2, 3)) + x.amin(dim=(2, 3))) / 2, "the values are not"),
        (lambda x: None, "is the return"),
        (lambda x: x.mean(dim=(3, 4)), "raises IndexError"),
        (lambda x: F.adaptive_avg_pool2d(x, 1).squeeze(), "not for x (1, 3, 4, 5): the shape is (3,)"),
        (lambda x: x.sum(dim=(2, 3)) / 20, "not for x (3, 1, 2, 7): the values differ"),
        (lambda x: x.abs().mean(dim=(2, 3)), "not for x (1, 3, 4, 5): the values differ"),
        (lambda x: torch.tensor(x.detach().numpy().mean(axis=(2, 3))), "they have no gradient"),
        (lambda x: x.reshape(2, 3, -1).mean(dim=2), "the shape is (2, 3), not (1, 3)"),
    ],
    "excite": [
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
    ],
    "scale": [
        (lambda x, s: x + s[:, :, None, None], "instead of multiplying by it"),
        (lambda x, s: x * s[:, None, None, :], "along space instead of channels"),
        (lambda x, s: x * s[:, :, None, None] + x, "residual connection"),
        (lambda x, s: x * s, "raises RuntimeError"),
        (lambda x, s: x.mul_(s[:, :, None, None]), "changes its input"),
        (lambda x, s: x * s.view(2, 3, 1, 1), "not for x (1, 2, 5, 3), s (1, 2)"),
        (lambda x, s: x * s.detach()[:, :, None, None], "is a part of it detached"),
        (lambda x, s: x.abs() * s[:, :, None, None], "the values differ"),
    ],
    "se_parameters": [
        (lambda c, r: 2 * c * (c // r), "only the weights"),
        (lambda c, r: c * (c // r) + c // r, "counts only one layer"),
        (lambda c, r: 2 * c * c + 2 * c, "ignores the reduction"),
        (lambda c, r: c * (c / r) + c / r + c / r * c + c, "the count should be 1306"),
        (lambda c, r: 2 * c * c // r + c // r + c, "the count should be 1306"),
        (lambda c, r: 2 * c * (c // r) + c // r + (c if c > 60 else 0), "not for 48, 3"),
    ],
}
