"""Right answers that are written in another way than the solution: every check must accept them."""

import numpy as np
import torch
import torch.nn.functional as F


def se_loop(channels, reduction):
    sizes = [channels, channels // reduction, channels]
    return sum(a * b + b for a, b in zip(sizes, sizes[1:], strict=False))


def couple_list(x, subnet1, subnet2, clamp=3.0):
    x1, x2 = torch.tensor_split(x, 2, dim=1)
    s2, t2 = torch.tensor_split(subnet2(x2), 2, dim=1)
    s2 = clamp * 0.636 * torch.arctan(s2 / clamp)
    y1 = torch.exp(s2) * x1 + t2
    s1, t1 = torch.tensor_split(subnet1(y1), 2, dim=1)
    s1 = clamp * 0.636 * torch.arctan(s1 / clamp)
    return [torch.hstack([y1, torch.exp(s1) * x2 + t1]), torch.cat([s1, s2], dim=1).sum(-1)]


def couple_double(x, subnet1, subnet2, clamp=3.0):
    y, log_det = couple_list(x, subnet1, subnet2, clamp)
    return y.double(), log_det.double()


RIGHT = {
    "squeeze": [
        lambda x: torch.mean(x, [2, 3]),
        lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
        lambda x: x.double().mean(dim=(-1, -2)),
        lambda x: torch.einsum("bchw->bc", x) / (x.shape[2] * x.shape[3]),
        lambda x: x.flatten(2).mean(-1),
    ],
    "excite": [
        lambda z, w1, w2: w2(w1(z).clamp(min=0)).sigmoid(),
        lambda z, w1, w2: 1 / (1 + torch.exp(-w2(F.relu(w1(z))))),
        lambda z, w1, w2: torch.nn.Sequential(w1, torch.nn.ReLU(), w2, torch.nn.Sigmoid())(z),
        lambda z, w1, w2: torch.sigmoid(w2(torch.relu(w1(z)))).double(),
    ],
    "scale": [
        lambda x, s: torch.einsum("bchw,bc->bchw", x, s),
        lambda x, s: s.unsqueeze(-1).unsqueeze(-1) * x,
        lambda x, s: x * s.view(*s.shape, 1, 1).expand_as(x),
        lambda x, s: (x.flatten(2) * s[..., None]).view_as(x),
    ],
    "se_parameters": [se_loop, lambda c, r: 2 * c * (c // r) + c // r + c],
    "channel_gate": [
        lambda x, mlp: mlp(torch.stack([x.mean((2, 3)), x.amax((2, 3))])).sum(0).sigmoid()[..., None, None],
        lambda x, mlp: sum(mlp(torch.cat([x.mean((2, 3)), x.amax((2, 3))])).chunk(2)).sigmoid()[..., None, None],
        lambda x, mlp: (
            torch.sigmoid(mlp(F.adaptive_avg_pool2d(x, 1).flatten(1)) + mlp(F.adaptive_max_pool2d(x, 1).flatten(1)))
        )[:, :, None, None],
        lambda x, mlp: torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.flatten(2).max(-1).values)).double()[..., None, None],
    ],
    "spatial_gate": [
        lambda x, conv: conv(torch.stack([x.mean(1), x.amax(1)], dim=1)).sigmoid(),
        lambda x, conv: torch.sigmoid(conv(torch.cat([x.mean(1, True), x.max(1, keepdim=True).values], 1))),
        lambda x, conv: torch.sigmoid(conv(torch.stack([x.mean(1), x.amax(1)]).transpose(0, 1))),
        lambda x, conv: torch.sigmoid(conv(torch.stack([x.mean(1), x.amax(1)], 1)).double()),
    ],
    "cbam": [
        lambda x, channel, spatial: (channel(x) * x) * spatial(channel(x) * x),
        lambda x, channel, spatial: torch.mul(y := x.mul(channel(x)), spatial(y)),
    ],
    "nll": [
        lambda z, log_det: (z.pow(2).sum(-1) / 2 - log_det) / z.size(1),
        lambda z, log_det: 0.5 * (z**2).mean(1) - log_det / z.shape[-1],
        lambda z, log_det: (0.5 * torch.einsum("bd,bd->b", z, z) - log_det).double() / z.shape[1],
        lambda z, log_det: (0.5 * z.norm(dim=1) ** 2 - log_det) / len(z[0]),
    ],
    "couple": [couple_list, lambda *given: tuple(couple_list(*given)), couple_double],
    "anomaly_score": [
        lambda z: z.flatten(1).pow(2).mean(1),
        lambda z: (z**2).mean(-1).mean(-1),
        lambda z: torch.einsum("bvd,bvd->b", z, z) / z[0].numel(),
        lambda z: z.double().square().mean((1, 2)),
    ],
    "view_features": [
        lambda images, views, features: torch.stack(list(map(features, [v(images) for v in views]))).transpose(0, 1),
        lambda images, views, features: torch.cat([features(v(images))[:, None] for v in views], dim=1),
    ],
    "best_of": [
        lambda normal, anomalous: np.array(
            [pairs(normal[: e + 1], anomalous[: e + 1]).max() for e in range(len(normal))]
        )
    ],
    "threshold": [
        lambda scores, rate: np.sort(scores)[len(scores) - 1 - int(rate * len(scores) + 1e-9)],
        lambda scores, rate: np.quantile(scores, 1 - rate, method="inverted_cdf"),
    ],
}


def pairs(normal, anomalous):
    wins = (anomalous[..., None, :] > normal[..., :, None]) + 0.5 * (anomalous[..., None, :] == normal[..., :, None])
    return wins.mean(axis=(-2, -1))


RIGHT["auroc"] = [pairs]
