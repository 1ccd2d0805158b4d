"""Exercises for notebooks/05_differnet: the score, and those of differnet_features and differnet_training."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import torch
from torch import Tensor

from adnlib.lessons.differnet_features import (
    check_multi_scale_features,
    check_view_features,
    multi_scale_features,
    view_features,
)
from adnlib.lessons.differnet_training import check_train_step, train_step
from adnlib.lessons.exercise import check, expect, expect_none_of, expect_tensor

__all__ = [
    "check_multi_scale_features",
    "check_train_step",
    "check_view_features",
    "multi_scale_features",
    "train_step",
    "view_features",
]


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def anomaly_score(z: Tensor) -> Tensor:
    """Anomaly scores: latents z (B, V, D) -> (B,), the mean of z^2 over views and dimensions."""
    return z.square().mean(dim=(1, 2))


@check(anomaly_score, lambda: (_random(1, 1, 5),), lambda: (_random(4, 2, 3),))
def check_anomaly_score(answer):
    z = torch.tensor([[[1.0, -2.0], [3.0, 0.0], [-1.0, 1.0]], [[0.5, 0.5], [0.0, -4.0], [2.0, 2.0]]])
    z = torch.cat([z, 3 * z, -z, z + 1])  # (B, V, D) = (8, 3, 2)
    score, square = answer(z), z.square()
    expect(
        not isinstance(score, float), "This is one number for the whole batch: return a tensor, one score per image."
    )
    expect_tensor("anomaly_score", score)
    expect(score.is_floating_point(), f"The scores are {score.dtype}, so they are rounded: keep the fractions.")
    expect(score.shape != (8, 3), "The shape is (B, V), one score per view: average over the views too.")
    expect(score.shape != (8, 2), "The shape is (B, D): average over the dimensions too.")
    expect(score.ndim > 0, "This is one number for the whole batch: keep axis 0, which has one score per image.")
    expect(
        score.shape not in ((3,), (2,), (3, 2)),
        "Axis 0 is gone because the images are averaged: average over axes 1 (views) and 2 (dimensions).",
    )
    expect(score.shape != (8, 1, 1), "The shape is (B, 1, 1): leave out keepdim.")
    expect(score.shape == (8,), f"The shape is {tuple(score.shape)}, not (B,) = (8,).")
    by_view, mean = square.mean(dim=2), square.mean(dim=(1, 2))
    expect_none_of(
        score,
        [
            (square.sum(dim=(1, 2)), "This is the sum: take the mean over views and dimensions."),
            (square.sum(dim=2).mean(dim=1), "This sums z^2 over the dimensions: take the mean over them too."),
            (by_view.sum(dim=1), "This sums over the views, so more views mean a larger score: take the mean."),
            (
                z.mean(dim=1).square().mean(dim=1),
                "The mean over views comes before the square, so plus and minus cancel between views: square first.",
            ),
            (z.mean(dim=(1, 2)).square(), "The mean comes before the square, so plus and minus cancel: square first."),
            (z.mean(dim=2).square().mean(dim=1), "The mean over dimensions comes before the square: square first."),
            (z.mean(dim=(1, 2)), "The square is missing: plus and minus cancel, and a defect can score zero."),
            (z.mean(dim=(1, 2)).abs(), "Plus and minus cancel before the absolute value: square each z first."),
            (z.abs().mean(dim=(1, 2)), "This is the mean of |z|: the score uses z^2."),
            (z.abs().mean(dim=(1, 2)).square(), "This is the mean of |z|, squared: square each z before the mean."),
            (by_view.amax(dim=1), "This takes the most anomalous view only: the score is the mean over views."),
            (by_view.amin(dim=1), "This takes the most normal view only: the score is the mean over views."),
            (by_view[:, 0], "This takes the first view only: the score is the mean over views."),
            (by_view.median(dim=1).values, "This takes the median over views: DifferNet's score is their mean."),
            (square.amax(dim=2).mean(dim=1), "This takes the largest dimension: the score is the mean over them."),
            (mean.sqrt(), "This takes a square root as well: the score is the mean of z^2 itself."),
            (z.norm(dim=(1, 2)), "This is the norm: leave out the square root, and divide by the number of values."),
            (z.norm(dim=2).mean(dim=1), "This is the norm of each view: leave out the square root, and take means."),
            (mean.log(), "This takes the logarithm as well: the score is the mean of z^2 itself."),
            (z.var(dim=(1, 2)), "This is the variance, which subtracts the mean: the distance is from zero."),
            (z.std(dim=(1, 2)), "This is the standard deviation, which subtracts the mean: average z^2 itself."),
            (
                (z - z.mean(dim=1, keepdim=True)).square().mean(dim=(1, 2)),
                "The mean over views is subtracted first: the distance is from zero, so square z as it is.",
            ),
            (
                (z - z.mean(dim=2, keepdim=True)).square().mean(dim=(1, 2)),
                "The mean over dimensions is subtracted first: the distance is from zero, so square z as it is.",
            ),
            (by_view.sqrt().mean(dim=1), "This takes a root in each view: the score is the mean of z^2 itself."),
            (by_view.prod(dim=1), "This multiplies the views: the score is their mean."),
            (z.relu().square().mean(dim=(1, 2)), "Negative z are lost: they are as far from zero as positive ones."),
            (0.5 * mean, "The factor 0.5 belongs to the loss: the score is the mean of z^2 without it."),
            (-mean, "The sign is wrong: a more anomalous image must have a larger score."),
        ],
    )
    expect(
        torch.allclose(score, mean) or torch.allclose(answer(z[:2]), score[:2]),
        "The score of an image depends on the other images of the batch: a score is computed from its own z alone.",
    )
    expect(torch.allclose(score, mean), "The shape is right, but the values are not the means of z^2 of each image.")


def _mixed_scores(model, images: Tensor, views: Sequence[Callable]) -> Tensor:
    """The scores of a model with features and transform: uint8 (B, 3, H, W) -> (B,)."""
    y = view_features(images, views, model.features)  # (B, V, D)
    z, _ = model.transform(y.flatten(0, 1))  # (B * V, D)
    z = z.view(len(views), len(images), -1).transpose(0, 1)  # (B, V, D)
    return anomaly_score(z)


def score_images(model, images: Tensor, views: Sequence[Callable]) -> Tensor:
    """The scores of a model with features and transform: uint8 (B, 3, H, W) -> (B,)."""
    y = view_features(images, views, model.features)  # (B, V, D)
    z, _ = model.transform(y.flatten(0, 1))  # (B * V, D)
    z = z.unflatten(0, y.shape[:2])  # (B, V, D)
    return anomaly_score(z)


def _toy_model() -> SimpleNamespace:
    """A model on the first row of an image, of which every part matters."""

    def transform(y: Tensor) -> tuple[Tensor, Tensor]:
        expect(y.ndim == 2 and y.shape[1] == 15, f"transform receives {tuple(y.shape)}: a row per view, (B * V, D).")
        return 2 * y - 1, y.sum(dim=1)  # z, log_det

    return SimpleNamespace(features=lambda images: images[:, :, 0].float().flatten(1) / 50, transform=transform)


@check(score_images, broken=_mixed_scores)
def check_score_images(answer):
    model, generator = _toy_model(), torch.Generator().manual_seed(0)
    turns = [lambda i: i, lambda i: i.flip(-1), lambda i: i.flip(-2)]
    for count, views in ((1, turns), (4, turns), (2, turns[:2]), (3, turns[1:2])):
        images = torch.randint(0, 256, (count, 3, 5, 5), generator=generator, dtype=torch.uint8)
        alone = torch.cat([score_images(model, image[None], views) for image in images])  # (B,)
        try:
            given = answer(model, images, list(views))
        except IndexError as error:
            expect("out of range" not in str(error), "anomaly_score needs z as (B, V, D), not as rows (B * V, D).")
            raise
        expect_tensor("score_images", given)
        expect(given.ndim > 0, "This is one number for the whole batch: one score per image, (B,).")
        if given.shape == (len(views),) != alone.shape:
            expect(False, "The shape is (V,), a score for each view: z must be (B, V, D) before anomaly_score.")
        expect(given.shape == alone.shape, f"The shape is {tuple(given.shape)}, not (B,) = {tuple(alone.shape)}.")
        if count == 1:
            y = view_features(images, views, model.features)
            z, log_det = model.transform(y[0])
            expect_none_of(
                given,
                [
                    (anomaly_score(y), "This scores the features y: pass them through model.transform first."),
                    (z[:1].square().mean()[None], "Only one view is scored: the score is the mean over all views."),
                    (z.square().sum()[None], "This is a sum: anomaly_score takes the mean."),
                    (z.square().mean()[None] - log_det.mean(), "The log-determinant is not a part of the score."),
                ],
            )
            expect(torch.allclose(given, alone), "Even a single image has the wrong score: only one line is broken.")
        mixed = not torch.allclose(given, alone) and torch.allclose(given.sort().values, alone.sort().values)
        expect(not mixed, "The scores are right, but they belong to other images: keep the images in their order.")
        expect(
            torch.allclose(given, alone),
            f"One image alone has the right score, but {count} images with {len(views)} views do not: views of "
            "different images are still mixed. In which order does flatten(0, 1) write the rows?",
        )


def robust_score(z: Tensor) -> Tensor:
    """Scores that a single spoiled view cannot decide: latents z (B, V, D) -> (B,)."""
    return z.square().mean(dim=2).median(dim=1).values  # one of many: the (lower) median over views


@check(robust_score)
def check_robust_score(answer):
    for count, views, dims in ((4, 5, 6), (1, 8, 3), (7, 6, 16)):
        z = torch.randn(count, views, dims, generator=torch.Generator().manual_seed(views))
        scores = answer(z)
        expect_tensor("robust_score", scores)
        sizes = f"z {tuple(z.shape)}"
        expect(scores.shape == (count,), f"For {sizes} the shape is {tuple(scores.shape)}, not (B,) = ({count},).")
        expect(scores.isfinite().all(), f"For {sizes} a score is not finite.")

        def same(other, images=slice(None), scores=scores):
            return torch.allclose(answer(other), scores[images], rtol=1e-4, atol=1e-6)

        expect(torch.equal(answer(z), scores), "Two calls give different scores: use no random numbers.")
        alone = same(z[:1], slice(0, 1)) and same(z[-1:], slice(-1, None))
        expect(alone, "The score of an image depends on the other images of the batch.")
        expect(same(z.flip(1)), "The score depends on the order of the views.")
        expect(same(-z), "The score depends on the sign of z: both directions are equally far from normal.")
        further = answer(3 * z)
        expect((further > scores).all(), "All views are three times as far from zero, but the score is not larger.")
        for scale in (0.1, 10):
            expect(
                (answer(3 * scale * z) > answer(scale * z)).all(),
                f"With z times {scale}, three times as far from zero gives no larger score: leave out rounding and "
                "limits, which make different images equal.",
            )
        expect(
            (answer(3 * z)[:, None] > scores).all() or count == 1,
            "An image whose views are all anomalous (3 z) does not score above every normal image (z).",
        )
        for factor, what in ((1000, "One spoiled view (1000 z)"), (0, "One blank view (z = 0)")):
            spoiled = z.clone()
            spoiled[:, -1] *= factor
            expect(
                (answer(spoiled) < further).all(),
                f"{what} of {views} makes a normal image score above an image whose views are all anomalous (3 z): "
                "a single view must not decide.",
            )
            anomalous = 3 * z
            anomalous[:, -1] *= factor
            expect(
                (answer(anomalous) > scores).all(),
                f"{what} of {views} makes an anomalous image score below the same normal image: "
                "a single view must not decide.",
            )
        alike = z[:, :1].expand_as(z)
        expect((answer(3 * alike) > answer(alike)).all(), "Where all views are alike, further from zero is no larger.")
