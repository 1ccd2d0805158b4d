"""Exercises for notebooks/01_finding_anomalies."""

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from adnlib.lessons import repairs, score_design
from adnlib.lessons.exercise import Mistake, check, expect, expect_tensor
from adnlib.lessons.raised import described


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


@check(
    auroc,
    lambda: (_scores(1), _scores(1) + 0.5),
    lambda: (_scores(2, 3, 4), _scores(2, 3, 5)),
    lambda: (np.array([1, 1 + 2e-9, 1000]), np.array([1 + 1e-9, 1 + 3e-9])),  # close, but not equal
)
def check_auroc(answer):
    value = answer(np.array([1.0, 3.0, 4.0, 6.0]), np.array([2.0, 4.5, 5.0]))  # 7 of the 12 pairs are won
    expect(value is not None, "auroc returns None: is the return statement missing?")
    expect(np.ndim(value) == 0, f"The shape is {np.shape(value)}, but two lists of scores give one number.")
    for wrong, message in (
        (5 / 12, "The roles are swapped: this counts the pairs in which the normal image scores higher."),
        (7, "This is the number of pairs won, not their share: divide by n * m."),
        (13 / 12, "This is above 1: subtract the ranks of the anomalous images among themselves."),
        (3 / 12, "The ranks to subtract are those of the m anomalous images: m * (m + 1) / 2."),
        (10 / 12, "The sum of 1, 2, ..., m is m * (m + 1) / 2, with a plus."),
        (2 / 12, "This is 2 * AUROC - 1: return the share of pairs won."),
        (12.5, "Put brackets around the difference: both terms are divided by n * m."),
        (4 / 12, "The ranks begin at 0 here: they begin at 1."),
        (9 / 12, "These are the ranks of the first n scores, the normal ones: take those from n on."),
        (14 / 12, "These are the ranks of the last n scores: take those from n on, m of them."),
        (1, "This is 1, but not every pair is won: divide by the number of pairs, n * m."),
        (7 / 9, "This divides by m * m: the number of pairs is n * m."),
        (7 / 16, "This divides by n * n: the number of pairs is n * m."),
        (0, "This is 0: rank both groups together, and divide with /, which does not round."),
    ):
        expect(not np.isclose(value, wrong), message)
    expect(np.isclose(value, 7 / 12), f"7 of 12 pairs are won here, so the AUROC is 0.5833, not {value:.4g}.")
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
        raise Mistake(f"{first} Two rows raise {type(error).__name__}: return an array, and {last}") from error
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
    lambda: (_features(9, 3), 100 * _features(2, 3), 0.1),
    gradient=False,
)
def check_mahalanobis(answer):
    generator = torch.Generator().manual_seed(0)
    mix = torch.tensor([[3.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.2, 1.0]], dtype=torch.float64)
    train = torch.randn(20, 3, generator=generator, dtype=torch.float64) @ mix + torch.tensor([4.0, -1.0, 2.0])
    test = torch.randn(5, 3, generator=generator, dtype=torch.float64) @ mix + torch.tensor([5.0, 0.0, 0.0])
    try:
        d = answer(train.clone(), test.clone())
    except NotImplementedError:
        raise
    except RuntimeError as error:
        raise Mistake(
            f"mahalanobis {described(error)} The mean is taken over the images, axis 0, and has the shape (D,); S, I "
            "and L have (D, D), and the right-hand side of the solve has (D, M)."
        ) from error
    expect_tensor("mahalanobis", d)
    expect(d.shape != (5, 5), "The shape is (M, M), each test image with every other: return the diagonal only.")
    expect(d.shape != (20,), "There is one number for each training image: are train and test swapped?")
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
    z = torch.linalg.solve_triangular(lower, offset.T, upper=False)
    yield z.sum(dim=0), "z is not squared before the sum."
    yield z.abs().sum(dim=0), "This sums |z|: the squared distance is the sum of z^2."
    yield (
        torch.linalg.solve(shrunk(cov), offset.T).sum(dim=0),
        "One factor is missing: the distance is (y - mean)^T S^-1 (y - mean), a sum of squares of z.",
    )
    yield squared(test - train.median(dim=0).values, shrunk(cov)), "This subtracts the median: subtract the mean."
    yield 0.5 * right, "This is half of the squared distance: the formula has no factor."
    yield -right, "The sign is wrong: a larger distance is more anomalous."
    yield (
        (offset / lower.diagonal()).square().sum(dim=1),
        "With upper=True only the diagonal of L is read: upper=False.",
    )
    yield torch.linalg.solve(shrunk(cov), offset.T).square().sum(dim=0), "This divides by S twice: solve with L."
    yield squared(test - train.mean(), shrunk(cov)), "This is one mean for all features: take the mean over axis 0."
    yield squared(offset, shrunk(20 * cov)), "The covariance is a sum: divide it by N, the number of images."
    yield squared(offset, shrunk(20 / 3 * cov)), "The covariance is divided by D: divide it by N, the number of images."
    yield squared(offset, shrunk(torch.corrcoef(train.T))), "This is the correlation: take the covariance."
    yield squared(offset, shrunk(torch.cov(test.T, correction=0))), "S is that of the test images: use `train`."
    late = (1 - a) * cov + a * (1 - a) * cov.diagonal().mean() * eye
    yield squared(offset, late), "s is the mean of the diagonal of S before it is multiplied by 1 - shrinkage."
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


@check(
    best_of,
    lambda: (_scores(1, 4), _scores(1, 2)),
    lambda: (_scores(7, 3), _scores(7, 6)),
    lambda: (_scores(6, 4) + np.linspace(3, 0, 6)[:, None], _scores(6, 3)),  # worse than chance at first
    lambda: (_scores(40, 4) + np.linspace(-1, 3, 40)[:, None], _scores(40, 3)),  # best at first
)
def check_best_of(answer):
    normal = np.array([[1.0, 3.0, 3.2], [2.0, 4.0, 6.0], [5.0, 6.0, 7.0], [1.0, 2.0, 2.5], [1.0, 2.0, 3.0]])  # (E, N)
    anomalous = np.array([[2.0, 3.5], [3.0, 1.0], [1.0, 2.0], [3.0, 2.7], [2.5, 4.0]])  # (E, M)
    aurocs, right = auroc(normal, anomalous), best_of(normal, anomalous)
    best = answer(normal.copy(), anomalous.copy())
    expect(best is not None, "best_of returns None: is the return statement missing?")
    numbers = isinstance(best, (np.ndarray, np.number, float, int))
    expect(numbers, f"The result is a {type(best).__name__}: return an array, one number per epoch.")
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
    expect(np.shape(best) != (1,), "There is only one number, not (E,): is the return inside the loop?")
    expect(np.shape(best) == (5,), f"The shape is {np.shape(best)}, not (E,) = (5,): return one number per epoch.")
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
    pooled = [auroc(normal[: e + 1].ravel(), anomalous[: e + 1].ravel()) for e in range(5)]
    for wrong, message in (
        (pooled, "This is the AUROC of the scores of all epochs so far together: take the best of their AUROCs."),
        (np.cumsum(aurocs), "This is the running sum: return the running maximum."),
        (right[::-1], "The running maximum is in reverse order."),
        (np.maximum.accumulate(np.maximum(aurocs, 1 - aurocs)), "An AUROC below 0.5 is turned into one above."),
        (np.maximum(aurocs, np.append(aurocs[0], aurocs[:-1])), "This looks back by one epoch only: look at all."),
        (right.astype(int), "The values are rounded to whole numbers."),
        (right.round(1), "The values are rounded: return them as they are."),
    ):
        expect(not np.allclose(best, wrong), message)
    expect(
        np.allclose(best, right),
        f"The shape is right, but the values are not. The AUROCs are {aurocs.round(2).tolist()}.",
    )


check_threshold = repairs.check_threshold
check_my_score = score_design.check_my_score
