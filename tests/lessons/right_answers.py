"""Right answers that are written in another way than the solution: every check must accept them."""

import copy
import functools
import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import mannwhitneyu
from sklearn.covariance import ShrunkCovariance
from sklearn.metrics import roc_auc_score
from torch import nn
from wrong_answers.cbam import gate_design, replicating, residual_free
from wrong_answers.squeeze_and_excitation import argument, block, design, zero_last

from adnlib import SqueezeExcitation
from adnlib.lessons.attentdiffernet import rescale_bias


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


def step_of(loss_of):
    """train_step with the loss written in another way."""

    def answer(flow, y, optimizer):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*flow(y))
        loss.backward()
        optimizer.step()
        return float(loss)

    return answer


def step_with_a_closure(flow, y, optimizer):
    def closure():
        optimizer.zero_grad()
        z, log_det = flow(y)
        loss = ((0.5 * z.square().sum(1) - log_det) / y.shape[1]).mean()
        loss.backward()
        return loss

    return optimizer.step(closure).item()


def attend_with_a_stack(x, layers, attention):
    stack = []
    for index, layer in enumerate(layers):
        stack += [layer, attention[index]] if index in attention else [layer]
    return torch.nn.Sequential(*stack)(x)


def attend_in_parts(x, layers, attention):
    start = 0
    for index in sorted(attention):
        x = attention[index](layers[start : index + 1](x))
        start = index + 1
    return layers[start:](x)


def written_into(write):
    """rescale_bias that writes into the copy in another way."""

    def answer(conv, g):
        new = copy.deepcopy(conv)
        with torch.no_grad():
            write(new, conv, g)
        return new

    return answer


def rescaled_gate_by_gate(layers, gates):
    new = list(layers)
    for place, gate in gates.items():
        for index in range(place + 1, len(new)):
            if isinstance(new[index], torch.nn.Conv2d):
                new[index] = rescale_bias(new[index], gate.value)
    return torch.nn.Sequential(*new)


def rescaled_with_steps(layers, gates):
    new, g = torch.nn.Sequential(), 1.0
    for index, layer in enumerate(layers):
        new.append(rescale_bias(layer, g) if isinstance(layer, torch.nn.Conv2d) else layer)
        g = g * (gates[index].value if index in gates else 1)
    return new


POOL, SIGMA = nn.AdaptiveAvgPool2d(1), nn.Sigmoid()  # modules of the notebook without weights


class TwoMaps(nn.Module):
    def forward(self, x):
        return residual_free(x)


class Twice(nn.Module):
    def forward(self, x):
        return torch.cat([x, x], dim=1)


RIGHT = {
    "squeeze": [
        lambda x: torch.mean(x, [2, 3]),
        lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
        lambda x: x.double().mean(dim=(-1, -2)),
        lambda x: torch.einsum("bchw->bc", x) / (x.shape[2] * x.shape[3]),
        lambda x: x.flatten(2).mean(-1),
        lambda x: POOL(x).flatten(1),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        functools.partial(torch.mean, dim=(2, 3)),
    ],
    "excite": [
        lambda z, w1, w2: w2(w1(z).clamp(min=0)).sigmoid(),
        lambda z, w1, w2: 1 / (1 + torch.exp(-w2(F.relu(w1(z))))),
        lambda z, w1, w2: torch.nn.Sequential(w1, torch.nn.ReLU(), w2, torch.nn.Sigmoid())(z),
        lambda z, w1, w2: torch.sigmoid(w2(torch.relu(w1(z)))).double(),
        lambda z, w1, w2: SIGMA(w2(w1(z).relu_())),
        lambda z, w1, w2: torch.stack([torch.sigmoid(w2(torch.relu(w1(row)))) for row in z]),
    ],
    "scale": [
        lambda x, s: torch.einsum("bchw,bc->bchw", x, s),
        lambda x, s: s.unsqueeze(-1).unsqueeze(-1) * x,
        lambda x, s: x * s.view(*s.shape, 1, 1).expand_as(x),
        lambda x, s: (x.flatten(2) * s[..., None]).view_as(x),
        lambda x, s: (torch.diag_embed(s) @ x.flatten(2)).view_as(x),
        lambda x, s: torch.stack([maps * gates[:, None, None] for maps, gates in zip(x, s, strict=True)]),
    ],
    "se_parameters": [
        se_loop,
        lambda c, r: 2 * c * (c // r) + c // r + c,
        lambda c, r: (c + 1) * (c // r) + (c // r + 1) * c,
        lambda c, r: sum(p.numel() for p in [*nn.Linear(c, c // r).parameters(), *nn.Linear(c // r, c).parameters()]),
    ],
    "whole_block": [
        block(),
        block(lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1)),
        block(scale=lambda x, s: torch.einsum("bchw,bc->bchw", x, s)),
        lambda x, w1, w2: torch.cat([block()(image[None], w1, w2) for image in x]),
    ],
    "open_block": [
        lambda c, r: SqueezeExcitation(c, r, identity=True),
        design(lambda m, x: x * (1 + torch.tanh(argument(m, x))), zero_last),
        design(lambda m, x: x * torch.exp(argument(m, x)), zero_last),
        design(lambda m, x: x + m.number * x * torch.sigmoid(argument(m, x))),
        design(lambda m, x: x * len(m.each) * torch.softmax(argument(m, x), 1), zero_last),
        design(lambda m, x: x * (1 + m.each * x.mean(dim=(2, 3)))[:, :, None, None]),
        design(lambda m, x: x * (1 + m.each * x.amax(dim=(2, 3)))[:, :, None, None]),
        design(lambda m, x: (x.double() * (1 + F.elu(argument(m, x)))).float(), zero_last),
    ],
    "channel_gate": [
        lambda x, mlp: torch.stack([mlp(i.mean((1, 2))) + mlp(i.amax((1, 2))) for i in x]).sigmoid()[..., None, None],
        lambda x, mlp: mlp[2](sum(mlp[0](s).relu() for s in (x.mean((2, 3)), x.amax((2, 3))))).sigmoid()[
            ..., None, None
        ],
        lambda x, mlp: mlp(torch.stack([x.mean((2, 3)), x.amax((2, 3))])).sum(0).sigmoid()[..., None, None],
        lambda x, mlp: sum(mlp(torch.cat([x.mean((2, 3)), x.amax((2, 3))])).chunk(2)).sigmoid()[..., None, None],
        lambda x, mlp: (
            torch.sigmoid(mlp(F.adaptive_avg_pool2d(x, 1).flatten(1)) + mlp(F.adaptive_max_pool2d(x, 1).flatten(1)))
        )[:, :, None, None],
        lambda x, mlp: torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.flatten(2).max(-1).values)).double()[..., None, None],
    ],
    "spatial_gate": [
        lambda x, conv: torch.cat([torch.sigmoid(conv(residual_free(image[None]))) for image in x]),
        lambda x, conv: torch.sigmoid(F.conv2d(residual_free(x), conv.weight, conv.bias, padding=conv.padding)),
        lambda x, conv: conv(torch.stack([x.mean(1), x.amax(1)], dim=1)).sigmoid(),
        lambda x, conv: torch.sigmoid(conv(torch.cat([x.mean(1, True), x.max(1, keepdim=True).values], 1))),
        lambda x, conv: torch.sigmoid(conv(torch.stack([x.mean(1), x.amax(1)]).transpose(0, 1))),
        lambda x, conv: torch.sigmoid(conv(torch.stack([x.mean(1), x.amax(1)], 1)).double()),
    ],
    "cbam": [
        lambda x, channel, spatial: (channel(x) * x) * spatial(channel(x) * x),
        lambda x, channel, spatial: torch.mul(y := x.mul(channel(x)), spatial(y)),
        lambda x, channel, spatial: x * channel(x) * spatial(x * channel(x)),
        lambda x, channel, spatial: torch.einsum("bchw,bhw->bchw", y := x * channel(x), spatial(y)[:, 0]),
    ],
    "position_gate": [
        lambda x, conv: conv(residual_free(x)).sigmoid(),
        lambda x, conv: torch.sigmoid(conv(torch.stack([x.mean(1), x.amax(1)], dim=1))),
        lambda x, conv: torch.sigmoid(conv(torch.cat([x.mean(1, True), x.max(1, keepdim=True)[0]], 1))),
        lambda x, conv: torch.sigmoid(conv(torch.cat([x.mean(1, True), x.sort(1).values[:, -1:]], 1))),
    ],
    "frameless_gate": [
        gate_design(mode="replicate"),
        gate_design(mode="reflect"),
        gate_design(mode="circular"),
        gate_design(mode="replicate", after=lambda v, conv, maps: F.layer_norm(v, v.shape[2:])),
        lambda k: nn.Sequential(TwoMaps(), replicating((1, k)), Twice(), replicating((k, 1)), nn.Sigmoid()),
        gate_design(before=lambda maps: maps - maps.mean(dim=(2, 3), keepdim=True)),
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
        lambda images, views, features: torch.stack(
            features(torch.cat([v(images) for v in views])).chunk(len(views)), 1
        ),
        lambda images, views, features: torch.stack([torch.cat([features(v(x[None])) for v in views]) for x in images]),
        lambda images, views, features: torch.stack([features(v(images)) for v in views], 1).double(),
    ],
    "multi_scale_features": [
        lambda x, convolve: torch.cat([convolve(x[:, :, ::d, ::d]).mean((2, 3)) for d in (1, 2, 4)], 1),
        lambda x, convolve: torch.cat(
            [convolve(F.interpolate(x, scale_factor=1 / d)).mean([2, 3]) for d in (1, 2, 4)], 1
        ),
        lambda x, convolve: torch.hstack(
            [F.adaptive_avg_pool2d(convolve(F.interpolate(x, scale_factor=0.5**s)), 1).flatten(1) for s in range(3)]
        ),
        lambda x, convolve: torch.cat(
            [
                convolve(F.interpolate(x, (x.size(2) // d, x.size(3) // d))).flatten(2).mean(-1).double()
                for d in (1, 2, 4)
            ],
            -1,
        ),
    ],
    "train_step": [
        step_of(lambda z, log_det: torch.mean((z.pow(2).sum(-1) / 2 - log_det) / z.shape[1])),
        step_of(lambda z, log_det: 0.5 * (z**2).mean() - log_det.mean() / z.size(1)),
        step_of(lambda z, log_det: (0.5 * torch.einsum("bd,bd->b", z, z) - log_det).sum().double() / z.numel()),
        step_of(lambda z, log_det: -(log_det - 0.5 * z.norm(dim=1) ** 2).mean() / z.shape[1]),
        step_with_a_closure,
    ],
    "score_images": [
        lambda model, images, views: torch.cat(
            [
                torch.cat([model.transform(model.features(v(x[None])))[0] for v in views]).square().mean()[None]
                for x in images
            ]
        ),
        lambda model, images, views: torch.stack(
            [model.transform(model.features(v(images)))[0].square().mean(1) for v in views]
        ).mean(0),
        lambda model, images, views: (
            model.transform(torch.stack([model.features(v(images)) for v in views], 1).flatten(0, 1))[0]
            .view(len(images), -1)
            .square()
            .mean(1)
        ),
        lambda model, images, views: (
            model.transform(torch.cat([model.features(v(images)) for v in views]))[0]
            .unflatten(0, (len(views), len(images)))
            .square()
            .mean((0, 2))
        ),
    ],
    "robust_score": [
        lambda z: z.square().mean(2).sort(1).values[:, 1:-1].mean(1),
        lambda z: z.square().mean(2).quantile(0.5, dim=1),
        lambda z: z.square().mean(2).log().median(1).values,
        lambda z: z.norm(dim=2).double().median(1).values,
        lambda z: z.square().mean(2).sort(1).values[:, -2],
    ],
    "attend": [
        attend_with_a_stack,
        attend_in_parts,
        lambda x, layers, attention: functools.reduce(
            lambda y, pair: attention.get(pair[0], torch.nn.Identity())(pair[1](y)), enumerate(layers), x
        ),
        lambda x, layers, attention: attend_in_parts(x, layers, attention).double(),
    ],
    "rescale_bias": [
        written_into(lambda new, conv, g: new.bias.mul_(g)),
        written_into(lambda new, conv, g: setattr(new, "bias", torch.nn.Parameter(g * conv.bias))),
        written_into(lambda new, conv, g: torch.mul(conv.bias, g, out=new.bias)),
        written_into(lambda new, conv, g: new.bias.sub_((1 - g) * conv.bias)),
        written_into(lambda new, conv, g: new.load_state_dict({"weight": conv.weight, "bias": g * conv.bias})),
    ],
    "rescaled": [
        lambda layers, gates: torch.nn.Sequential(
            *[
                rescale_bias(m, math.prod(gates[j].value for j in gates if j < i))
                if isinstance(m, torch.nn.Conv2d)
                else m
                for i, m in enumerate(layers)
            ]
        ),
        rescaled_gate_by_gate,
        rescaled_with_steps,
        lambda layers, gates: torch.nn.Sequential(*rescaled_with_steps(layers, gates)),
    ],
    "feature_spread": [
        lambda y: torch.sqrt(y.var(0)).mean(),
        lambda y: (y - y.mean(0)).square().mean(0).sqrt().mean(),
        lambda y: torch.stack([feature.std() for feature in y.T]).mean(),
        lambda y: y.double().std(0).sum() / y.shape[1],
        lambda y: torch.std_mean(y, 0)[0].mean(),
    ],
    "explained": [
        lambda plain, constant, attention: (
            np.divide(constant - plain, attention - plain) if attention != plain else np.nan
        ),
        lambda p, c, a: (p - c) / (p - a) if p - a else math.nan,
        lambda p, c, a: 1 - (a - c) / (a - p) if a != p else float("nan"),
        lambda p, c, a: float("nan") if math.isclose(a, p) else (c - p) / (a - p),
    ],
    "bounded_gate": [
        lambda a: a.sigmoid() / a.sigmoid().mean(1, keepdim=True),
        lambda a: F.softplus(a) / F.softplus(a).mean(1, keepdim=True),
        lambda a: 1 + a.sigmoid() - a.sigmoid().mean(1, keepdim=True),
        lambda a: 0.5 + 0.5 * a.shape[1] * a.double().softmax(-1),
        lambda a: a.shape[1] * (a / 4).softmax(1),
    ],
    "best_of": [
        lambda normal, anomalous: np.array(
            [pairs(normal[: e + 1], anomalous[: e + 1]).max() for e in range(len(normal))]
        ),
        lambda normal, anomalous: np.array(list(itertools.accumulate(pairs(normal, anomalous), max))),
        lambda normal, anomalous: torch.tensor(pairs(normal, anomalous)).cummax(0).values.numpy(),
        lambda normal, anomalous: np.where(np.tri(len(normal)) > 0, pairs(normal, anomalous), -1).max(axis=1),
    ],
    "threshold": [
        lambda scores, rate: np.sort(scores)[len(scores) - 1 - int(rate * len(scores) + 1e-9)],
        lambda scores, rate: np.nextafter(np.quantile(scores, 1 - rate, method="higher"), np.inf),
        lambda scores, rate: np.partition(scores, k := len(scores) - 1 - int(rate * len(scores) + 1e-9))[k],
        lambda scores, rate: np.quantile(scores, 1 - rate, method="inverted_cdf"),
        lambda scores, rate: np.percentile(scores, 100 * (1 - rate), method="higher"),
        lambda scores, rate: min(cut for cut in scores if (scores > cut).mean() <= rate),
        lambda scores, rate: torch.quantile(torch.tensor(scores), 1 - rate, interpolation="higher"),
    ],
}


def pairs(normal, anomalous):
    wins = (anomalous[..., None, :] > normal[..., :, None]) + 0.5 * (anomalous[..., None, :] == normal[..., :, None])
    return wins.mean(axis=(-2, -1))


def by_rows(normal, anomalous):
    if normal.ndim > 1:
        return np.array([by_rows(*rows) for rows in zip(normal, anomalous, strict=True)])
    return roc_auc_score([0] * len(normal) + [1] * len(anomalous), np.concatenate([normal, anomalous]))


def half_signs(normal, anomalous):
    return (np.sign(anomalous[..., :, None] - normal[..., None, :]).mean(axis=(-2, -1)) + 1) / 2


def by_statistic(normal, anomalous):
    return mannwhitneyu(anomalous, normal, axis=-1).statistic / (normal.shape[-1] * anomalous.shape[-1])


def shrunk(train, shrinkage):
    cov = torch.cov(train.T, correction=0)
    return (1 - shrinkage) * cov + shrinkage * cov.diagonal().mean() * torch.eye(len(cov)).to(cov)


def by_eigenvectors(train, test, shrinkage=0.1):
    values, vectors = torch.linalg.eigh(shrunk(train, shrinkage))
    return ((test - train.mean(0)) @ vectors).square().div(values).sum(dim=1)


def by_loop(train, test, shrinkage=0.1):
    offsets, cov = test - train.mean(dim=0), shrunk(train, shrinkage)
    return torch.stack([y @ torch.linalg.solve(cov, y) for y in offsets])


def by_scikit_learn(train, test, shrinkage=0.1):
    return torch.as_tensor(ShrunkCovariance(shrinkage=shrinkage).fit(train.numpy()).mahalanobis(test.numpy()))


def by_inverse(train, test, shrinkage=0.1):
    offset = test - train.mean(dim=0)
    return torch.einsum("md,de,me->m", offset, torch.linalg.inv(shrunk(train, shrinkage)), offset)


def log_density_of_normal(y, shift, scale):
    return torch.distributions.Normal(shift, abs(scale)).log_prob(y)


def uncouple_halves(y, subnet1, subnet2, clamp=3.0):
    half = y.shape[1] // 2
    y1, y2 = y[:, :half], y[:, half:]
    s1, t1 = subnet1(y1)[:, :half], subnet1(y1)[:, half:]
    x2 = (y2 - t1) / torch.exp(clamp * 0.636 * torch.atan(s1 / clamp))
    s2, t2 = subnet2(x2)[:, :half], subnet2(x2)[:, half:]
    return torch.hstack([(y1 - t2) / torch.exp(clamp * 0.636 * torch.atan(s2 / clamp)), x2])


def coupling_step(v, rev=False):
    first, second = v.tensor_split(2, dim=1)
    s = torch.tanh(first) * (-1 if rev else 1)
    return torch.cat([first, second * s.exp()], dim=1), s.sum(dim=1)


def leaky_step(v, rev=False):
    slope = torch.where(v < 0, 0.5, 2.0) ** (-1 if rev else 1)
    return v * slope, slope.log().sum(dim=1)


def asinh_step(v, rev=False):
    z = v if rev else v.asinh()
    log_det = z.cosh().log().sum(dim=1)
    return (z.sinh(), log_det) if rev else (z, -log_det)


def signed_step(v, rev=False):
    slope = torch.where(v > 1, 3.0, 1.0) if not rev else torch.where(v > 1, 1 / 3, 1.0)
    return 1 + (v - 1) * slope, slope.log().sum(dim=1)


def outside_the_plane(train, test):
    """The part of the offset that the first two principal directions do not explain."""
    directions = torch.linalg.svd(train - train.mean(dim=0), full_matrices=False).Vh[:2].T
    offset = test - train.mean(dim=0)
    return (offset - offset @ directions @ directions.T).norm(dim=1)


RIGHT["auroc"] = [pairs, by_rows, half_signs, by_statistic]
RIGHT["mahalanobis"] = [by_eigenvectors, by_loop, by_scikit_learn, by_inverse]
RIGHT["my_score"] = [
    lambda train, test: torch.cdist(test, train).topk(3, largest=False).values.mean(dim=1),
    lambda train, test: (test - train.mean(dim=0)).norm(dim=1),
    lambda train, test: ((test - train.mean(dim=0)) / train.std(dim=0)).square().mean(dim=1),
    by_eigenvectors,
    lambda train, test: ((test < train.amin(dim=0)) | (test > train.amax(dim=0))).sum(dim=1),
    lambda train, test: torch.cdist(test.float(), train.float()).amin(dim=1),
    outside_the_plane,
]
RIGHT["log_density"] = [
    log_density_of_normal,
    lambda y, m, a: -0.5 * ((y - m) / a) ** 2 - np.log(np.sqrt(2 * np.pi)) - np.log(np.abs(a)),
    lambda y, m, a: -0.5 * (((y - m) / a).square() + np.log(2 * np.pi) + np.log(a * a)),
    lambda y, m, a: log_density_of_normal(y.double(), m, a),
]
RIGHT["couple"].append(lambda *given: (couple_list(*given)[0], couple_list(*given)[1].exp().log()))
RIGHT["uncouple"] = [
    uncouple_halves,
    lambda *given: uncouple_halves(*given).double(),
    lambda *given: torch.stack([uncouple_halves(row[None], *given[1:])[0] for row in given[0]]),
    lambda y, a, b, clamp=3.0: uncouple_halves(y, a.forward, b.forward, clamp),
]
RIGHT["my_step"] = [coupling_step, leaky_step, asinh_step, signed_step]


def attend_with_hooks(x, layers, attention):
    hooks = [layers[i].register_forward_hook(lambda m, given, y, f=f: f(y)) for i, f in attention.items()]
    y = layers(x)
    for hook in hooks:
        hook.remove()
    return y


RIGHT["attend"].append(attend_with_hooks)
RIGHT["rescale_bias"].append(written_into(lambda new, conv, g: new.bias.lerp_(torch.zeros_like(conv.bias), 1 - g)))
RIGHT["feature_spread"].append(lambda y: (torch.linalg.vector_norm(y - y.mean(0), dim=0) / (len(y) - 1) ** 0.5).mean())
RIGHT["bounded_gate"].append(lambda a: a.clamp(-9, 9).exp() / a.clamp(-9, 9).exp().mean(1, keepdim=True))
RIGHT["train_step"].append(
    lambda flow, y, optimizer: step_of(lambda z, d: F.mse_loss(z, 0 * z) / 2 - d.mean() / z.shape[1])(
        flow, y, optimizer
    )
)
RIGHT["multi_scale_features"].append(
    lambda x, f: torch.stack([RIGHT["multi_scale_features"][1](i[None], f)[0] for i in x])
)
RIGHT["robust_score"] += [
    lambda z: z.square().mean(2).quantile(torch.tensor([0.3, 0.5, 0.7]), dim=1).mean(0),
    lambda z: z.square().mean(2).sort(1).values[:, 1:4].mean(1),
    lambda z: z.square().median(dim=1).values.mean(1),
]
RIGHT["log_density"].append(
    lambda y, m, a: -F.gaussian_nll_loss(y * 0 + m, y, y * 0 + a * a, full=True, reduction="none")
)
RIGHT["couple"].append(
    lambda x, a, b, clamp=3.0: tuple(map(torch.cat, zip(*[couple_list(r[None], a, b, clamp) for r in x], strict=True)))
)
RIGHT["my_step"].append(lambda v, rev=False: tuple(part for part in coupling_step(v.double(), rev)))
