"""Exercises for notebooks/05_differnet."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adnlib.lessons.exercise import check, expect, expect_tensor


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def _two_maps(x: Tensor) -> Tensor:
    return torch.stack([x.square().sum(dim=1), x[:, 0].tanh()], dim=1)  # (B, 2, h, w)


def _corner(x: Tensor) -> Tensor:
    return x[:, :, 0, 1]  # (B, 3)


def multi_scale_features(x: Tensor, convolve: Callable[[Tensor], Tensor]) -> Tensor:
    """Multi-scale features of normalised images x: (B, 3, H, W) -> (B, 3 * C).
    Order: full, half, quarter size. convolve: (B, 3, h, w) -> feature maps (B, C, h', w')."""
    height, width = x.shape[-2:]
    y = []
    for scale in range(3):
        x_s = F.interpolate(x, size=(height // 2**scale, width // 2**scale))  # nearest neighbour
        y.append(convolve(x_s).mean(dim=(2, 3)))  # (B, C)
    return torch.cat(y, dim=1)  # (B, 3 * C)


@check(multi_scale_features, lambda: (_random(1, 3, 18, 26), _two_maps), lambda: (_random(3, 3, 8, 4), _two_maps))
def check_multi_scale_features(answer):
    x = torch.randn(2, 3, 16, 24, generator=torch.Generator().manual_seed(0))  # (B, 3, H, W)
    seen = []

    def convolve(x_s: Tensor) -> Tensor:  # C = 5
        seen.append(tuple(x_s.shape[-2:]))
        return torch.cat([x_s.relu(), x_s[:, :2].square()], dim=1)

    def sizes(mode="nearest", divisors=(1, 2, 4)):
        return [F.interpolate(x, size=(16 // d, 24 // d), mode=mode) for d in divisors]

    def means(images):
        return torch.cat([convolve(x_s).mean(dim=(2, 3)) for x_s in images], dim=1)

    y = answer(x, convolve)
    calls = list(seen)
    expect_tensor("multi_scale_features", y)
    expect(
        len(calls) > 1 or y.shape != (2, 15),
        "convolve is called once, so this shrinks the feature maps: shrink the image, and call convolve for each size.",
    )
    expect(len(calls) > 1, "convolve is called only once: call it at three sizes, full, half and quarter.")
    expect(
        set(calls) != {(16, 24)},
        "Every scale has the full size: shrink the image itself, before convolve.",
    )
    named = ", ".join(f"{h} x {w}" for h, w in calls)
    expect(
        set(calls) == {(16, 24), (8, 12), (4, 6)},
        f"From a 16 x 24 px image, convolve must receive 16 x 24, 8 x 12 and 4 x 6 px. It received {named}: "
        "divide both sides by 2**scale, with scale 0, 1, 2.",
    )
    expect(y.shape != (2, 5), "The shape is (B, C): the scales are mixed into one. Concatenate them along axis 1.")
    expect(
        y.shape not in ((3, 2, 5), (2, 3, 5), (2, 5, 3)),
        f"The shape is {tuple(y.shape)}: torch.stack creates a new axis. Concatenate the scales with torch.cat.",
    )
    expect(y.shape != (6, 5), "The shape is (3 * B, C): this concatenates along the batch. Concatenate along axis 1.")
    expect(y.ndim == 2, f"The shape is {tuple(y.shape)}: the mean over axes 2 and 3 leaves (B, C) for each scale.")
    expect(y.shape == (2, 15), f"The shape is {tuple(y.shape)}, not (B, 3 * C) = (2, 15).")
    peaks = torch.cat([convolve(x_s).amax(dim=(2, 3)) for x_s in sizes()], dim=1)
    expect(not torch.allclose(y, peaks), "Shape and scales are right, but this is the maximum: take the mean.")
    expect(
        not torch.allclose(y, means(sizes(divisors=(4, 2, 1)))),
        "The values are right, but the order is wrong: full size, then half, then quarter.",
    )
    for mode in ("bilinear", "bicubic", "area"):
        expect(
            not torch.allclose(y, means(sizes(mode))),
            f"Sizes and order are right, but the image is resized with {mode!r}: DifferNet uses the nearest pixel.",
        )
    expect(
        torch.allclose(y, means(sizes()), atol=1e-5),
        "The shape and the sizes are right, but the values are wrong: see the formula.",
    )


def view_features(images: Tensor, views: Sequence[Callable], features: Callable) -> Tensor:
    """Features of every view: images (B, 3, H, W) -> (B, V, D).
    views: functions from images to images; features: a function from images to (B, D)."""
    return torch.stack([features(view(images)) for view in views], dim=1)


@check(
    view_features,
    lambda: (_random(1, 3, 4, 4), [torch.neg], _corner),
    lambda: (_random(5, 3, 2, 2), 3 * [torch.neg], _corner),
)
def check_view_features(answer):
    images = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4)  # (B, 3, H, W)
    views = [lambda i: i, lambda i: i.flip(-1), lambda i: i.flip(-2), lambda i: i.rot90(1, (-2, -1))]  # V = 4

    def features(i: Tensor) -> Tensor:  # D = 6
        return torch.cat([i[:, :, 0, 0], i[:, :, 1, 3]], dim=1).float()

    y, apart = answer(images, views, features), [features(view(images)) for view in views]
    expect(isinstance(y, Tensor), f"view_features returns {type(y).__name__}: stack the list into one tensor.")
    expect(y.shape != (4, 2, 6), "The shape is (V, B, D): the images come first, then their views. Stack along axis 1.")
    expect(
        y.shape != (8, 6),
        "The shape is (V * B, D): torch.cat merges views and images. torch.stack creates an axis for the views.",
    )
    expect(
        y.shape != (2, 6),
        "The shape is (B, D): the views are averaged. Return the features of each view: only the score averages views.",
    )
    expect(y.shape != (2, 24), "The shape is (B, V * D): the views need a separate axis, which torch.stack creates.")
    expect(y.shape != (2, 6, 4), "The shape is (B, D, V): the views belong in the middle, on axis 1.")
    expect(y.shape == (2, 4, 6), f"The shape is {tuple(y.shape)}, not (B, V, D) = (2, 4, 6).")
    expect(
        not torch.equal(y, torch.cat(apart).view(2, 4, 6)),
        "The shape is right, but views of different images are mixed: view and reshape do not swap axes.",
    )
    expect(
        not torch.equal(y, torch.stack(4 * [features(images)], dim=1)),
        "All views are the same: call view(images) before features.",
    )
    expect(
        torch.equal(y, torch.stack(apart, dim=1)), "The shape is right, but y[:, v] is not features(views[v](images))."
    )


def train_step(flow: Callable, y: Tensor, optimizer: torch.optim.Optimizer) -> float:
    """A gradient step on features y (B, D). Returns the loss before the step (nats per dimension).
    flow: y -> z (B, D), log_det (B,)."""
    z, log_det = flow(y)
    loss = ((0.5 * z.square().sum(dim=1) - log_det) / y.shape[1]).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


class _ToyFlow(nn.Module):
    """A scale and a shift for each dimension: the smallest trainable flow."""

    def __init__(self):
        super().__init__()
        self.s = nn.Parameter(torch.tensor([0.3, -0.2, 0.5]))
        self.t = nn.Parameter(torch.tensor([1.0, -1.0, 0.5]))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        return y * self.s.exp() + self.t, self.s.sum().expand(len(y))


def _toy_steps(step: Callable, y: Tensor, count: int) -> tuple[Any, Tensor, bool]:
    """The result of the last of `count` steps, the parameters after it, and whether any gradient is left."""
    flow = _ToyFlow()
    optimizer = torch.optim.SGD(flow.parameters(), lr=0.1)
    for _ in range(count):
        loss = step(flow, y, optimizer)
    left = any(p.grad is not None and p.grad.any() for p in flow.parameters())
    return loss, torch.cat([flow.s, flow.t]).detach(), left


def _adding_up(flow: Callable, y: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """A training step without zero_grad."""
    z, log_det = flow(y)
    ((0.5 * z.square().sum(dim=1) - log_det) / y.shape[1]).mean().backward()
    optimizer.step()


@check(train_step)
def check_train_step(answer):
    y = torch.tensor([[2.0, -1.0, 0.5], [1.0, 3.0, -2.0]])  # (B, D)
    z, log_det = (part.detach() for part in _ToyFlow()(y))
    energy, log_det, dims = z.square().sum(dim=1).mean().item(), log_det.mean().item(), y.shape[1]
    try:
        loss, after, left = _toy_steps(answer, y, 1)
    except RuntimeError as error:
        per_image = "scalar outputs" in str(error)
        expect(not per_image, "The loss has one number per image, but backward needs a scalar: is the mean missing?")
        raise
    expect(loss is not None, "train_step returns None: is the return missing?")
    expect(
        not isinstance(loss, Tensor),
        "train_step returns a tensor, which keeps the whole graph in memory: return the number, loss.item().",
    )
    expect(isinstance(loss, float), f"train_step returns {type(loss).__name__}, not a float: return loss.item().")
    right = (0.5 * energy - log_det) / dims
    for value, message in (
        ((0.5 * energy + log_det) / dims, "log_det has the wrong sign: a larger one lowers the loss, so subtract it."),
        (0.5 * energy / dims, "log_det is missing from the loss: without it, the flow can shrink every z to zero."),
        (0.5 * energy - log_det, "The division by D is missing: the loss is per dimension."),
        (0.5 * energy + log_det, "log_det has the wrong sign, and the division by D is missing."),
        ((energy - log_det) / dims, "The factor 0.5 before the sum of squares is missing: the loss is too large."),
        (0.5 * energy / dims - log_det, "Only the squares are divided by D: divide log_det too."),
        (len(y) * right, "The loss is summed over the images: take the mean, which does not grow with the batch."),
        (right / len(y), "The loss is divided by the number of images twice."),
        (-right, "The overall sign is wrong: the loss is the negative log-likelihood."),
    ):
        expect(not math.isclose(loss, value, rel_tol=1e-4), message)
    expect(math.isclose(loss, right, rel_tol=1e-4), f"The loss should be {right:.4f} here, but it is {loss:.4f}.")
    start = torch.cat([_ToyFlow().s, _ToyFlow().t]).detach()
    unmoved = torch.equal(after, start)
    expect(
        not unmoved or not left,
        "The loss is right and gradients exist, but no parameter changed: call optimizer.step() after backward.",
    )
    expect(
        not unmoved,
        "The loss is right, but no parameter changed and no gradient is left: is loss.backward() missing, or does "
        "zero_grad come between backward and step?",
    )
    once, twice = _toy_steps(train_step, y, 1)[1], _toy_steps(train_step, y, 2)[1]
    expect(
        torch.allclose(after, once, atol=1e-5),
        "The loss is right, but the new parameters are not: call loss.backward() and optimizer.step() once each.",
    )
    after_two = _toy_steps(answer, y, 2)[1]
    expect(
        not torch.allclose(after_two, _toy_steps(_adding_up, y, 2)[1], atol=1e-5),
        "The first step is right, but the second is wrong: gradients accumulate. Is optimizer.zero_grad() missing?",
    )
    expect(torch.allclose(after_two, twice, atol=1e-5), "The first step is right, but the second is wrong.")


def anomaly_score(z: Tensor) -> Tensor:
    """Anomaly scores: latents z (B, V, D) -> (B,), the mean of z^2 over views and dimensions."""
    return z.square().mean(dim=(1, 2))


@check(anomaly_score, lambda: (_random(1, 1, 5),), lambda: (_random(4, 2, 3),))
def check_anomaly_score(answer):
    z = torch.tensor([[[1.0, -2.0], [3.0, 0.0], [-1.0, 1.0]], [[0.5, 0.5], [0.0, -4.0], [2.0, 2.0]]])
    z = torch.cat([z, 3 * z, -z, z + 1])  # (B, V, D) = (8, 3, 2)
    score, square = answer(z), z.square()
    expect_tensor("anomaly_score", score)
    expect(score.shape != (8, 3), "The shape is (B, V), one score per view: average over the views too.")
    expect(score.shape != (8, 2), "The shape is (B, D): average over the dimensions too.")
    expect(score.ndim > 0, "This is one number for the whole batch: keep axis 0, which has one score per image.")
    expect(
        score.shape not in ((3,), (2,), (3, 2)),
        "Axis 0 is gone because the images are averaged: average over axes 1 (views) and 2 (dimensions).",
    )
    expect(score.shape == (8,), f"The shape is {tuple(score.shape)}, not (B,) = (8,).")
    for value, message in (
        (square.sum(dim=(1, 2)), "This is the sum: take the mean over views and dimensions."),
        (square.sum(dim=2).mean(dim=1), "This sums z^2 over the dimensions: take the mean over them too."),
        (square.mean(dim=2).sum(dim=1), "This sums over the views, so more views mean a larger score: take the mean."),
        (
            z.mean(dim=1).square().mean(dim=1),
            "The mean over views comes before the square, so plus and minus cancel between views: square first.",
        ),
        (z.mean(dim=(1, 2)).square(), "The mean comes before the square, so plus and minus cancel: square first."),
        (z.mean(dim=2).square().mean(dim=1), "The mean over dimensions comes before the square: square first."),
        (z.mean(dim=(1, 2)), "The square is missing: plus and minus cancel, and an anomalous image can score zero."),
        (z.abs().mean(dim=(1, 2)), "This is the mean of |z|: the score uses z^2."),
        (square.mean(dim=2).amax(dim=1), "This takes the most anomalous view only: the score is the mean over views."),
        (square.mean(dim=(1, 2)).sqrt(), "This takes a square root as well: the score is the mean of z^2 itself."),
        (0.5 * square.mean(dim=(1, 2)), "The factor 0.5 belongs to the loss: the score is the mean of z^2 without it."),
        (-square.mean(dim=(1, 2)), "The sign is wrong: a more anomalous image must have a larger score."),
    ):
        expect(not torch.allclose(score, value), message)
    right = square.mean(dim=(1, 2))
    expect(torch.allclose(score, right), "The shape is right, but the values are wrong: see the formula.")
