"""Exercises of notebooks/01_finding_anomalies."""

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from adnlib.lessons.exercise import Mistake, check, expect


def auroc(normal: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
    """AUROC from ranks, ties counting half: scores (..., N) and (..., M) -> (...)."""
    n, m = normal.shape[-1], anomalous.shape[-1]
    ranks = rankdata(np.concatenate([normal, anomalous], axis=-1), axis=-1)  # (..., N + M)
    wins = ranks[..., n:].sum(axis=-1) - m * (m + 1) / 2
    return wins / (n * m)


@check(auroc)
def check_auroc(answer):
    value = answer(np.array([1.0, 3.0, 4.0]), np.array([2.0, 5.0]))  # 4 of the 6 pairs are won
    expect(value is not None, "auroc gives None: is the return missing?")
    expect(np.ndim(value) == 0, f"The shape is {np.shape(value)}: two lists of scores give one number.")
    expect(not np.isclose(value, 2 / 6), "The sign is wrong: this counts the pairs in which the normal image is above.")
    expect(not np.isclose(value, 4), "These are the pairs won, not their share: divide by n * m.")
    expect(not np.isclose(value, 7 / 6), "This is above 1: subtract the ranks of the anomalous among themselves.")
    expect(not np.isclose(value, 1 / 6), "The ranks to subtract are those of the m anomalous: m * (m + 1) / 2.")
    expect(np.isclose(value, 4 / 6), f"For normal 1, 3, 4 and anomalous 2, 5 it should be 4 / 6, this gives {value:g}.")
    value = answer(np.array([1.0, 2.0, 2.0]), np.array([2.0, 3.0]))  # 4 won, 2 equal
    first = "Without ties it is right."
    expect(not np.isclose(value, 4 / 6), f"{first} Equal scores count nothing here: a tie is half a win.")
    expect(not np.isclose(value, 1), f"{first} Equal scores count as won here: a tie is half a win.")
    expect(np.isclose(value, 5 / 6), f"{first} With ties it is not: equal scores share the mean of their ranks.")
    first, last = "For one row of scores it is right, ties too.", "work along the last axis, axis=-1, everywhere."
    try:
        rows = answer(np.array([[1.0, 3.0, 4.0], [1.0, 2.0, 2.0]]), np.array([[2.0, 5.0], [2.0, 3.0]]))
    except Exception as error:
        raise Mistake(f"{first} With two rows it stops ({type(error).__name__}): {last}") from error
    shape = np.shape(rows)
    expect(shape == (2,), f"{first} Two rows should give two numbers, this gives the shape {shape}: {last}")
    expect(isinstance(rows, np.ndarray), f"{first} For two rows it gives {type(rows).__name__}: make it an array.")
    expect(
        np.allclose(rows, [4 / 6, 5 / 6]),
        f"{first} For two rows the values are not: n and m are shape[-1], and each row is ranked apart, axis=-1.",
    )


def mahalanobis(train: Tensor, test: Tensor, shrinkage: float = 0.1) -> Tensor:
    """Squared Mahalanobis distance to the training features: (N, D), (M, D) -> (M,)."""
    mean = train.mean(dim=0)  # (D,)
    cov = (train - mean).T @ (train - mean) / len(train)  # (D, D)
    cov = (1 - shrinkage) * cov + shrinkage * cov.diagonal().mean() * torch.eye(len(cov)).to(cov)
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(cov), (test - mean).T, upper=False)  # (D, M)
    return z.square().sum(dim=0)


@check(mahalanobis)
def check_mahalanobis(answer):
    generator = torch.Generator().manual_seed(0)
    mix = torch.tensor([[3.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.2, 1.0]], dtype=torch.float64)
    train = torch.randn(20, 3, generator=generator, dtype=torch.float64) @ mix + torch.tensor([4.0, -1.0, 2.0])
    test = torch.randn(5, 3, generator=generator, dtype=torch.float64) @ mix + torch.tensor([5.0, 0.0, 0.0])
    d = answer(train.clone(), test.clone())
    expect(isinstance(d, Tensor), f"mahalanobis gives {type(d).__name__}, not a tensor: is the return missing?")
    expect(d.shape != (5, 5), "The shape is (M, M), every test image with every other: only the diagonal is wanted.")
    expect(d.shape != (3,), "The shape is (D,): sum over the features, not over the images.")
    expect(d.shape == (5,), f"The shape is {tuple(d.shape)}, not (M,) = (5,): one number for each test image.")
    for wrong, message in _wrong_distances(train, test):
        expect(not torch.allclose(d, wrong), f"The shape is right. {message}")
    expect(torch.allclose(d, mahalanobis(train, test)), "The shape is right, the values are not: see the formula.")
    first = "With shrinkage 0.1 it is right."
    half = answer(train.clone(), test.clone(), 0.5)
    expect(not torch.allclose(half, d), f"{first} With 0.5 nothing changes: is `shrinkage` used?")
    expect(torch.allclose(half, mahalanobis(train, test, 0.5)), f"{first} With 0.5 it is not: see the formula.")
    few = answer(train[:2].clone(), test.clone())  # fewer images than features
    expect(torch.allclose(few, mahalanobis(train[:2], test)), "It is right for 20 images, but not for 2: see N.")


def _wrong_distances(train: Tensor, test: Tensor):
    """What common mistakes would give, each with words for it."""
    mean, eye, a = train.mean(dim=0), torch.eye(3, dtype=torch.float64), 0.1
    offset, cov = test - mean, torch.cov(train.T, correction=0)

    def squared(offset: Tensor, cov: Tensor) -> Tensor:
        return (offset * torch.linalg.solve(cov, offset.T).T).sum(dim=1)

    def shrunk(cov: Tensor) -> Tensor:
        return (1 - a) * cov + a * cov.diagonal().mean() * eye

    right, own = squared(offset, shrunk(cov)), test - test.mean(dim=0)
    lower = torch.linalg.cholesky(shrunk(cov))
    yield right.sqrt(), "This is the distance itself: the square is wanted, so leave out the root."
    yield right / 3, "This is the mean of z squared over the features: here it is the sum."
    yield offset.square().sum(dim=1), "This is the plain distance: the covariance is not used."
    yield squared(own, shrunk(cov)), "This centres with the mean of the test images: take that of the training images."
    yield squared(test, shrunk(cov)), "The mean of the training images is not subtracted from the test images."
    yield squared(offset, cov), "The shrinkage is missing: with fewer images than features this would be singular."
    yield (
        squared(offset, shrunk(cov * 20 / 19)),
        "The covariance is divided by N - 1: divide by N, as the formula does.",
    )
    second = train.T @ train / 20
    yield squared(offset, shrunk(second)), "The covariance is not centred: subtract the mean from the training images."
    swapped = a * cov + (1 - a) * cov.diagonal().mean() * eye
    yield squared(offset, swapped), "The two weights are swapped: 1 - shrinkage belongs to the covariance."
    yield (
        squared(offset, (1 - a) * cov + a * cov.mean() * eye),
        "Take s from the diagonal, not from all of the covariance.",
    )
    yield squared(offset, (1 - a) * cov + a * cov.trace() * eye), "This takes the sum of the diagonal: take its mean."
    everywhere = (1 - a) * cov + a * cov.diagonal().mean()
    yield squared(offset, everywhere), "The identity is missing: s belongs on the diagonal only, times torch.eye."
    yield squared(offset, (1 - a) * cov + a * eye), "The identity needs the mean variance as a factor, see the formula."
    yield (
        squared(offset, cov + a * cov.diagonal().mean() * eye),
        "The covariance itself needs the factor 1 - shrinkage.",
    )
    yield (offset @ shrunk(cov) * offset).sum(dim=1), "This multiplies by the covariance: its inverse is meant."
    transposed = torch.linalg.solve_triangular(lower.T, offset.T, upper=True)
    yield transposed.square().sum(dim=0), "This solves with the transpose of L: solve L z = y - mean, with upper=False."


def best_of(normal: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
    """The best AUROC so far, after each epoch: scores (E, N) and (E, M) -> (E,)."""
    return np.maximum.accumulate(auroc(normal, anomalous))


@check(best_of)
def check_best_of(answer):
    normal = np.array([[1.0, 3.0, 5.0], [1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 2.0, 2.5], [5.0, 6.0, 7.0]])  # (E, N)
    anomalous = np.array([[2.0, 4.0], [2.5, 4.0], [3.0, 1.0], [3.0, 2.7], [1.0, 2.0]])  # (E, M)
    aurocs, right = auroc(normal, anomalous), best_of(normal, anomalous)
    best = answer(normal.copy(), anomalous.copy())
    expect(best is not None, "best_of gives None: is the return missing?")
    if np.ndim(best) == 0:
        expect(not np.isclose(best, aurocs.mean()), "This is the mean over epochs: keep the best so far, after each.")
        expect(best != aurocs.argmax(), "This is the number of the best epoch: its AUROC is wanted, after each epoch.")
        expect(
            not np.isclose(best, 1), "This is the best of all epochs: give the best so far after each, (E,) numbers."
        )
    expect(np.shape(best) == (5,), f"The shape is {np.shape(best)}, not (E,) = (5,): one number after each epoch.")
    expect(isinstance(best, np.ndarray), f"best_of gives {type(best).__name__}: make it an array.")
    expect(not np.allclose(best, aurocs), "This is the AUROC of each epoch: now keep the best so far.")
    expect(not np.allclose(best, np.minimum.accumulate(aurocs)), "This keeps the worst so far: keep the best.")
    expect(not np.allclose(best, aurocs.max()), "This is the best of all epochs everywhere: no epoch knows later ones.")
    expect(
        not np.allclose(best, np.maximum.accumulate(aurocs[::-1])[::-1]),
        "This is the best from each epoch on: it should be the best up to each epoch.",
    )
    expect(
        not np.allclose(best, np.maximum.accumulate(1 - aurocs)),
        "The sign is wrong: auroc takes the normal scores first, then the anomalous.",
    )
    expect(np.allclose(best, right), f"The shape is right, the values are not: AUROCs {aurocs.round(2).tolist()}.")


def threshold(normal_scores: np.ndarray, false_positive_rate: float) -> float:
    """The score above which (at most) this share of the normal images lies: (N,) -> one number."""
    return float(np.quantile(normal_scores, 1 - false_positive_rate, method="higher"))


@check(threshold)
def check_threshold(answer):
    rng = np.random.default_rng(0)
    for size, rate in ((200, 0.05), (200, 0.2), (62, 0.05), (97, 0.05)):  # 5 % of 62 is no whole number of images
        scores = rng.exponential(size=size)
        value = answer(scores.copy(), rate)
        expect(value is not None, "threshold gives None: is the return missing?")
        expect(np.ndim(value) == 0, f"The shape is {np.shape(value)}: a threshold is one number.")
        value = float(value)
        share = (scores > value).mean()
        what = f"For a rate of {rate:.0%}"
        expect(
            not np.isclose(value, np.quantile(scores, rate), atol=0.01),
            f"{what} this is the lower end, {share:.1%} lie above it: alarms are at the upper end, 1 - rate.",
        )
        expect(
            not np.isclose(value, np.percentile(scores, 1 - rate), atol=0.001),
            f"{what} {share:.1%} lie above this: np.percentile counts in percent, np.quantile in shares.",
        )
        expect(value < scores.max(), f"{what} no normal image at all lies above this, so it wastes the allowed alarms.")
        expect(share <= rate, f"{what} this is too low: {share:.1%} of the normal images lie above it.")
        expect(
            share >= rate - 2 / size, f"{what} this is too high: only {share:.1%} of the normal images lie above it."
        )
