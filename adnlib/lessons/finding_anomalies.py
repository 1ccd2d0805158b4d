"""Exercises for notebooks/01_finding_anomalies."""

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from adnlib.lessons import designs
from adnlib.lessons.exercise import Mistake, check, expect, expect_tensor


def _scores(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).round(1)  # with ties


def _features(count: int, dims: int) -> Tensor:
    return torch.randn(count, dims, generator=torch.Generator().manual_seed(count))


def auroc(normal: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
    """AUROC from ranks, with ties counted as half: scores (..., N) and (..., M) -> (...)."""
    n, m = normal.shape[-1], anomalous.shape[-1]
    ranks = rankdata(np.concatenate([normal, anomalous], axis=-1), axis=-1)  # (..., N + M)
    wins = ranks[..., n:].sum(axis=-1) - m * (m + 1) / 2
    return wins / (n * m)


@check(auroc, lambda: (_scores(1), _scores(1) + 0.5), lambda: (_scores(2, 3, 4), _scores(2, 3, 5)))
def check_auroc(answer):
    value = answer(np.array([1.0, 3.0, 4.0]), np.array([2.0, 5.0]))  # 4 of the 6 pairs are won
    expect(value is not None, "auroc returns None: is the return statement missing?")
    expect(np.ndim(value) == 0, f"The shape is {np.shape(value)}, but two lists of scores give one number.")
    expect(
        not np.isclose(value, 2 / 6),
        "The roles are swapped: this counts the pairs in which the normal image scores higher.",
    )
    expect(not np.isclose(value, 4), "This is the number of pairs won, not their share: divide by n * m.")
    expect(
        not np.isclose(value, 7 / 6),
        "This is above 1: subtract the ranks of the anomalous images among themselves.",
    )
    expect(not np.isclose(value, 1 / 6), "The ranks to subtract are those of the m anomalous images: m * (m + 1) / 2.")
    expect(
        np.isclose(value, 4 / 6), f"Normal scores 1, 3, 4 and anomalous scores 2, 5 should give 4 / 6, not {value:g}."
    )
    value = answer(np.array([1.0, 2.0, 2.0]), np.array([2.0, 3.0]))  # 4 won, 2 equal
    low = answer(np.array([1.0, 3.0, 4.0]), np.array([0.0, 2.0]))  # worse than chance
    expect(
        not np.isclose(low, 5 / 6) or np.isclose(low, 1 / 6),
        "An AUROC below 0.5 is turned into one above: return it as it is, it says that the sign of the score is wrong.",
    )
    first = "Without ties the result is right."
    expect(not np.isclose(value, 4 / 6), f"{first} But equal scores count as lost: a tie is half a win.")
    expect(not np.isclose(value, 1), f"{first} But equal scores count as won: a tie is half a win.")
    expect(np.isclose(value, 5 / 6), f"{first} With ties it is not: equal scores share the mean of their ranks.")
    first, last = "For one row of scores the result is right, ties included.", "use axis=-1 everywhere."
    try:
        rows = answer(np.array([[1.0, 3.0, 4.0], [1.0, 2.0, 2.0]]), np.array([[2.0, 5.0], [2.0, 3.0]]))
    except Exception as error:
        raise Mistake(f"{first} Two rows raise {type(error).__name__}: {last}") from error
    shape = np.shape(rows)
    expect(shape == (2,), f"{first} Two rows should give two numbers, not the shape {shape}: {last}")
    expect(isinstance(rows, np.ndarray), f"{first} For two rows it is a {type(rows).__name__}: return an array.")
    expect(
        np.allclose(rows, [4 / 6, 5 / 6]),
        f"{first} For two rows it is not: n and m are shape[-1], and each row is ranked separately, axis=-1.",
    )


def mahalanobis(train: Tensor, test: Tensor, shrinkage: float = 0.1) -> Tensor:
    """Squared Mahalanobis distance to the training features: (N, D), (M, D) -> (M,)."""
    mean = train.mean(dim=0)  # (D,)
    cov = (train - mean).T @ (train - mean) / len(train)  # (D, D)
    cov = (1 - shrinkage) * cov + shrinkage * cov.diagonal().mean() * torch.eye(len(cov)).to(cov)
    z = torch.linalg.solve_triangular(torch.linalg.cholesky(cov), (test - mean).T, upper=False)  # (D, M)
    return z.square().sum(dim=0)


@check(
    mahalanobis,
    lambda: (_features(9, 2), _features(1, 2), 0.2),
    lambda: (_features(4, 5), _features(3, 5), 0.1),
    gradient=False,
)
def check_mahalanobis(answer):
    generator = torch.Generator().manual_seed(0)
    mix = torch.tensor([[3.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.2, 1.0]], dtype=torch.float64)
    train = torch.randn(20, 3, generator=generator, dtype=torch.float64) @ mix + torch.tensor([4.0, -1.0, 2.0])
    test = torch.randn(5, 3, generator=generator, dtype=torch.float64) @ mix + torch.tensor([5.0, 0.0, 0.0])
    d = answer(train.clone(), test.clone())
    expect_tensor("mahalanobis", d)
    expect(d.shape != (5, 5), "The shape is (M, M), each test image with every other: return the diagonal only.")
    expect(d.shape != (3,), "The shape is (D,): sum over the features, not over the images.")
    expect(d.shape == (5,), f"The shape is {tuple(d.shape)}, not (M,) = (5,): return one number per test image.")
    for wrong, message in _wrong_distances(train, test):
        expect(not torch.allclose(d, wrong), f"The shape is right. {message}")
    expect(torch.allclose(d, mahalanobis(train, test)), "The shape is right, but the values are not: see the formula.")
    first = "With shrinkage 0.1 the result is right."
    half = answer(train.clone(), test.clone(), 0.5)
    expect(not torch.allclose(half, d), f"{first} With 0.5 nothing changes: is `shrinkage` used?")
    expect(torch.allclose(half, mahalanobis(train, test, 0.5)), f"{first} With 0.5 it is not: see the formula.")
    few = answer(train[:2].clone(), test.clone())  # fewer images than features
    expect(
        torch.allclose(few, mahalanobis(train[:2], test)),
        "The result is right for 20 training images, but not for 2: N is len(train).",
    )


def _wrong_distances(train: Tensor, test: Tensor):
    """Results of common mistakes, each with its message."""
    mean, eye, a = train.mean(dim=0), torch.eye(3, dtype=torch.float64), 0.1
    offset, cov = test - mean, torch.cov(train.T, correction=0)

    def squared(offset: Tensor, cov: Tensor) -> Tensor:
        return (offset * torch.linalg.solve(cov, offset.T).T).sum(dim=1)

    def shrunk(cov: Tensor) -> Tensor:
        return (1 - a) * cov + a * cov.diagonal().mean() * eye

    right, own = squared(offset, shrunk(cov)), test - test.mean(dim=0)
    lower = torch.linalg.cholesky(shrunk(cov))
    diagonal = offset.square() / train.var(dim=0, correction=0)
    yield diagonal.sum(dim=1), "This uses only the variance of each feature: the correlations are not used."
    yield (offset.square() / train.var(dim=0)).sum(dim=1), "This uses only the variance of each feature: use S."
    both = torch.cat([train, test])
    yield (
        squared(test - both.mean(dim=0), shrunk(torch.cov(both.T, correction=0))),
        "Mean and covariance are computed from the test images too: use the training images only.",
    )
    inverse = torch.linalg.inv(torch.linalg.cholesky(shrunk(cov)))
    yield (offset @ inverse * offset).sum(dim=1), "This multiplies by the inverse of L: solve L z = y - mean."
    yield right.sqrt(), "This is the distance itself: return its square, without the root."
    yield right / 3, "This is the mean of z squared over the features: return the sum."
    yield offset.square().sum(dim=1), "This is the Euclidean distance: the covariance is not used."
    yield squared(own, shrunk(cov)), "This subtracts the mean of the test images: subtract that of the training images."
    yield squared(test, shrunk(cov)), "The mean of the training images is not subtracted from the test images."
    yield squared(offset, cov), "The shrinkage is missing: with fewer images than features, S is singular."
    yield (
        squared(offset, shrunk(cov * 20 / 19)),
        "The covariance is divided by N - 1: divide by N, as in the formula.",
    )
    second = train.T @ train / 20
    yield squared(offset, shrunk(second)), "The covariance is not centred: subtract the mean from the training images."
    swapped = a * cov + (1 - a) * cov.diagonal().mean() * eye
    yield squared(offset, swapped), "The two weights are swapped: the covariance has the weight 1 - shrinkage."
    yield (
        squared(offset, (1 - a) * cov + a * cov.mean() * eye),
        "Compute s from the diagonal, not from the whole covariance.",
    )
    yield squared(offset, (1 - a) * cov + a * cov.trace() * eye), "This takes the sum of the diagonal: take its mean."
    everywhere = (1 - a) * cov + a * cov.diagonal().mean()
    yield (
        squared(offset, everywhere),
        "The identity is missing: multiply s by torch.eye to add it to the diagonal only.",
    )
    yield (
        squared(offset, (1 - a) * cov + a * eye),
        "The identity needs the mean variance s as a factor: see the formula.",
    )
    yield (
        squared(offset, cov + a * cov.diagonal().mean() * eye),
        "The covariance itself needs the factor 1 - shrinkage.",
    )
    yield (offset @ shrunk(cov) * offset).sum(dim=1), "This multiplies by the covariance: multiply by its inverse."
    transposed = torch.linalg.solve_triangular(lower.T, offset.T, upper=True)
    yield transposed.square().sum(dim=0), "This solves with the transpose of L: solve L z = y - mean, with upper=False."


def best_of(normal: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
    """Running maximum of the AUROC over the epochs: scores (E, N) and (E, M) -> (E,)."""
    return np.maximum.accumulate(auroc(normal, anomalous))


@check(best_of, lambda: (_scores(1, 4), _scores(1, 2)), lambda: (_scores(7, 3), _scores(7, 6)))
def check_best_of(answer):
    normal = np.array([[1.0, 3.0, 3.2], [1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 2.0, 2.5], [5.0, 6.0, 7.0]])  # (E, N)
    anomalous = np.array([[2.0, 3.5], [2.5, 4.0], [3.0, 1.0], [3.0, 2.7], [1.0, 2.0]])  # (E, M)
    aurocs, right = auroc(normal, anomalous), best_of(normal, anomalous)
    best = answer(normal.copy(), anomalous.copy())
    expect(best is not None, "best_of returns None: is the return statement missing?")
    if np.ndim(best) == 0:
        expect(
            not np.isclose(best, aurocs.mean()),
            "This is the mean over epochs: return the best so far after each epoch.",
        )
        expect(
            best != aurocs.argmax(),
            "This is the index of the best epoch: return the best AUROC so far after each epoch.",
        )
        expect(
            not np.isclose(best, 1),
            "This is the best of all epochs: return the best so far after each epoch, (E,) numbers.",
        )
    expect(np.shape(best) == (5,), f"The shape is {np.shape(best)}, not (E,) = (5,): return one number per epoch.")
    expect(isinstance(best, np.ndarray), f"The result is a {type(best).__name__}: return an array.")
    expect(not np.allclose(best, aurocs), "This is the AUROC of each epoch: return the best so far.")
    expect(not np.allclose(best, np.minimum.accumulate(aurocs)), "This is the worst so far: return the best so far.")
    expect(
        not np.allclose(best, aurocs.max()), "Every entry is the best of all epochs: an epoch must not use later ones."
    )
    expect(
        not np.allclose(best, np.maximum.accumulate(aurocs[::-1])[::-1]),
        "This is the best from each epoch onwards: return the best up to each epoch.",
    )
    expect(
        not np.allclose(best[1:], right[:-1]),
        "This is one epoch late: entry e must include the AUROC of epoch e itself.",
    )
    expect(
        not np.allclose(best, np.maximum.accumulate(1 - aurocs)),
        "The arguments are swapped: auroc takes the normal scores first, then the anomalous scores.",
    )
    expect(
        not np.allclose(best, np.cumsum(aurocs) / np.arange(1, 6)),
        "This is the running mean: return the running maximum.",
    )
    expect(not np.allclose(best, np.sort(aurocs)), "The AUROCs are sorted: an epoch must not use later ones.")
    expect(
        not np.allclose(best, auroc(np.maximum.accumulate(normal), np.maximum.accumulate(anomalous))),
        "The maximum is taken over the scores: take that of the AUROCs.",
    )
    expect(
        not np.allclose(best, [aurocs[: e + 1].argmax() for e in range(5)]),
        "These are the numbers of the best epochs: return their AUROCs.",
    )
    expect(
        np.allclose(best, right),
        f"The shape is right, but the values are not. The AUROCs are {aurocs.round(2).tolist()}.",
    )


def threshold(normal_scores: np.ndarray, false_positive_rate: float) -> float:
    """The score exceeded by at most this share of the normal images: (N,) -> one number."""
    return float(np.quantile(normal_scores, 1 - false_positive_rate, method="higher"))


def _broken_threshold(normal_scores: np.ndarray, false_positive_rate: float) -> float:
    """The score exceeded by at most this share of the normal images: (N,) -> one number."""
    return float(np.quantile(normal_scores, 1 - false_positive_rate))


@check(threshold, broken=_broken_threshold)
def check_threshold(answer):
    rng = np.random.default_rng(0)
    for size, rate, low in ((200, 0.05, 0), (200, 0.2, 0), (62, 0.05, 0), (97, 0.05, 0), (150, 0.1, -9)):
        scores = rng.exponential(size=size) + low  # 5 % of 62 is not a whole number; a score may be negative
        value = answer(scores.copy(), rate)
        expect(value is not None, "threshold returns None: is the return statement missing?")
        expect(np.ndim(value) == 0, f"The shape is {np.shape(value)}, but a threshold is one number.")
        value = float(value)
        share = (scores > value).mean()
        what = f"For a rate of {rate:.0%},"
        expect(
            not np.isclose(value, np.quantile(scores, rate), atol=0.01),
            f"{what} {share:.1%} of the normal images are above this: use the upper end, 1 - rate.",
        )
        expect(
            not np.isclose(value, np.percentile(scores, 1 - rate), atol=0.001),
            f"{what} {share:.1%} of the images are above this: np.percentile takes a percentage, np.quantile a share.",
        )
        expect(
            value < scores.max(), f"{what} no normal image is above this: it does not use the permitted false alarms."
        )
        expect(
            share <= rate or not np.isclose(value, np.quantile(scores, 1 - rate)),
            f"{what} {share:.1%} of the normal images are above this: np.quantile interpolates between two scores. "
            'Take the higher one, method="higher".',
        )
        expect(share <= rate, f"{what} this is too low: {share:.1%} of the normal images are above it.")
        expect(
            share >= rate - 2 / size, f"{what} this is too high: only {share:.1%} of the normal images are above it."
        )


check_my_score = designs.check_my_score
