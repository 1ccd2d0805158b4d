"""Plausible wrong answers to each exercise, with words that the message must contain."""

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from adnlib.lessons.finding_anomalies import auroc, mahalanobis


def pairs(compare):
    return lambda normal, anomalous: compare(anomalous[..., :, None], normal[..., None, :]).mean(axis=(-2, -1))


def from_ranks(wins_of):
    """An AUROC for one row of scores, from wins_of(ranks of the anomalous images, n, m)."""

    def answer(normal, anomalous):
        n, m = len(normal), len(anomalous)
        return wins_of(rankdata(np.concatenate([normal, anomalous]))[n:], n, m)

    return answer


def by_rank_of_position(normal, anomalous):
    n, m = len(normal), len(anomalous)
    ranks = np.concatenate([normal, anomalous]).argsort(kind="stable").argsort() + 1
    return (ranks[n:].sum() - m * (m + 1) / 2) / (n * m)


def by_scikit_learn(normal, anomalous):
    labels = [0] * normal.size + [1] * anomalous.size
    return roc_auc_score(labels, np.concatenate([normal.ravel(), anomalous.ravel()]))


def rows_ranked_together(normal, anomalous):
    n, m = normal.shape[-1], anomalous.shape[-1]
    scores = np.concatenate([normal, anomalous], axis=-1)
    ranks = rankdata(scores).reshape(scores.shape)
    return (ranks[..., n:].sum(axis=-1) - m * (m + 1) / 2) / (n * m)


def with_ranks(normal, anomalous, *, start=1, of=lambda r, n: r[..., n:], less=lambda m: m * (m + 1) / 2, per=None):
    """auroc with one thing changed."""
    n, m = normal.shape[-1], anomalous.shape[-1]
    ranks = rankdata(np.concatenate([normal, anomalous], axis=-1), axis=-1) - 1 + start
    return (of(ranks, n).sum(axis=-1) - less(m)) / (per(n, m) if per else n * m)


def changed(function, **options):
    return lambda *arguments: function(*arguments, **options)


def of_the_last_axis_but_one(normal, anomalous):
    n, m = normal.shape[1], anomalous.shape[1]
    return (rankdata(np.hstack([normal, anomalous]), axis=1)[:, n:].sum(axis=1) - m * (m + 1) / 2) / (n * m)


SCORES, cut, epochs = np.arange(3.0), 0.05, 192  # variables of the notebook


def distance(offset_of=lambda train, test: test - train.mean(dim=0), cov_of=None, shrink=True, correction=0):
    """A squared distance with one part replaced."""

    def answer(train, test, shrinkage=0.1):
        cov = cov_of(train) if cov_of else torch.cov(train.T, correction=correction)
        if shrink:
            eye = torch.eye(len(cov), dtype=cov.dtype)
            cov = (1 - shrinkage) * cov + shrinkage * cov.diagonal().mean() * eye
        offset = offset_of(train, test)
        return (offset @ torch.linalg.inv(cov) * offset).sum(dim=1)

    return answer


def every_pair(train, test, shrinkage=0.1):
    offset = test - train.mean(dim=0)
    return offset @ torch.linalg.inv(torch.cov(train.T)) @ offset.T


def shrunk_towards(target_of):
    """A squared distance with the covariance shrunk towards target_of(covariance, identity)."""

    def answer(train, test, shrinkage=0.1):
        cov = torch.cov(train.T, correction=0)
        cov = (1 - shrinkage) * cov + shrinkage * target_of(cov, torch.eye(len(cov)).to(cov))
        offset = test - train.mean(dim=0)
        return (offset * torch.linalg.solve(cov, offset.T).T).sum(dim=1)

    return answer


def wrong_triangle(train, test, shrinkage=0.1):
    cov = torch.cov(train.T, correction=0)
    cov = (1 - shrinkage) * cov + shrinkage * cov.diagonal().mean() * torch.eye(len(cov), dtype=cov.dtype)
    lower = torch.linalg.cholesky(cov)
    return torch.linalg.solve_triangular(lower.T, (test - train.mean(dim=0)).T, upper=True).square().sum(dim=0)


def factor_of(train, shrinkage):
    cov = torch.cov(train.T, correction=0)
    return torch.linalg.cholesky(
        (1 - shrinkage) * cov + shrinkage * cov.diagonal().mean() * torch.eye(len(cov)).to(cov)
    )


def solved(fold=lambda z: z.square().sum(dim=0), of=lambda offset: offset.T, upper=False):
    """A squared distance by a triangular solve, with one step changed."""

    def answer(train, test, shrinkage=0.1):
        lower, offset = factor_of(train, shrinkage), test - train.mean(dim=0)
        return fold(torch.linalg.solve_triangular(lower, of(offset), upper=upper))

    return answer


def shrunk_twice(train, test, shrinkage=0.1):
    cov = (1 - shrinkage) * torch.cov(train.T, correction=0)
    cov = cov + shrinkage * cov.diagonal().mean() * torch.eye(len(cov)).to(cov)
    return ((test - train.mean(dim=0)) @ torch.linalg.inv(cov) * (test - train.mean(dim=0))).sum(dim=1)


def solved_twice(train, test, shrinkage=0.1):
    lower = factor_of(train, shrinkage)
    return torch.linalg.solve(lower @ lower.T, (test - train.mean(dim=0)).T).square().sum(dim=0)


def before_the_update(normal, anomalous):
    best, found = 0.0, []
    for value in auroc(normal, anomalous):
        found.append(best)
        best = max(best, value)
    return np.array(found)


def returned_in_the_loop(normal, anomalous):
    for e in range(len(normal)):
        return np.array([auroc(normal, anomalous)[: e + 1].max()])


def nearest(train, test):
    return torch.cdist(test, train).amin(dim=1)


def in_place_offset(train, test, shrinkage=0.1):
    test -= train.mean(dim=0)
    return mahalanobis(train - train.mean(dim=0), test, shrinkage)


def sorted_in_place(normal, anomalous):
    normal.sort(axis=-1)
    return auroc(normal, anomalous)


def running(fold):
    return lambda normal, anomalous: fold(auroc(normal, anomalous))


WRONG = {
    "auroc": [
        (pairs(lambda a, n: a > n), "equal scores count as lost: a tie is half a win"),
        (changed(with_ranks, start=0), "The ranks begin at 0"),
        (changed(with_ranks, of=lambda r, n: r[..., :n]), "the ranks of the first n"),
        (changed(with_ranks, of=lambda r, n: r[..., -n:]), "the ranks of the last n"),
        (changed(with_ranks, less=lambda m: m * (m - 1) / 2), "with a plus"),
        (changed(with_ranks, per=lambda n, m: n + m), "This is 1, but not every pair is won"),
        (changed(with_ranks, per=lambda n, m: m * m), "divides by m * m"),
        (lambda n, a: auroc(n, a) // 1, "This is 0"),
        (lambda n, a: 2 * auroc(n, a) - 1, "This is 2 * AUROC - 1"),
        (lambda n, a: float(auroc(n, a)), "return an array, and use axis=-1"),
        (of_the_last_axis_but_one, "the last one is always -1"),
        (lambda n, a: rankdata(np.concatenate(n, a)), "with square brackets"),
        (lambda n, a: auroc(SCORES, a), "reads the notebook's variable SCORES"),
        (pairs(lambda a, n: a >= n), "equal scores count as won: a tie is half a win"),
        (pairs(lambda a, n: (n > a) + 0.5 * (n == a)), "The roles are swapped"),
        (by_rank_of_position, "Without ties the result is right. But equal scores count as won"),
        (from_ranks(lambda r, n, m: r.sum() - m * (m + 1) / 2), "divide by n * m"),
        (from_ranks(lambda r, n, m: r.sum() / (n * m)), "This is above 1"),
        (from_ranks(lambda r, n, m: (r.sum() - n * (n + 1) / 2) / (n * m)), "those of the m anomalous images"),
        (by_scikit_learn, "For one row of scores the result is right, ties included. Two rows should give"),
        (rows_ranked_together, "each row is ranked separately"),
        (lambda a, b: ((b[:, None] > a) + 0.5 * (b[:, None] == a)).mean(), "Two rows raise ValueError"),
        (lambda normal, anomalous: None, "is the return"),
        (sorted_in_place, "changes its input"),
        (lambda normal, anomalous: auroc(normal, anomalous).tolist(), "return an array"),
        (lambda n, a: np.maximum(auroc(n, a), 1 - auroc(n, a)), "it says that the sign of the score is wrong"),
        (lambda n, a: auroc(np.round(n), np.round(a)), "7 of 12 pairs are won"),
        (lambda n, a: np.round(auroc(n, a), 2), "7 of 12 pairs are won"),
    ],
    "mahalanobis": [
        (lambda train, test, shrinkage=0.1: mahalanobis(train, test).sqrt(), "without the root"),
        (lambda train, test, shrinkage=0.1: mahalanobis(train, test) / test.shape[1], "return the sum"),
        (lambda train, test, shrinkage=0.1: (test - train.mean(dim=0)).square().sum(dim=1), "covariance is not used"),
        (lambda train, test, shrinkage=0.1: mahalanobis(train, test), "is `shrinkage` used"),
        (lambda train, test, shrinkage=0.1: mahalanobis(train, test, 1 - shrinkage), "two weights are swapped"),
        (distance(lambda train, test: test - test.mean(dim=0)), "mean of the test images"),
        (distance(lambda train, test: test), "is not subtracted from the test images"),
        (distance(shrink=False), "The shrinkage is missing"),
        (distance(correction=1), "divided by N - 1"),
        (distance(cov_of=lambda train: train.T @ train / len(train)), "The covariance is not centred"),
        (shrunk_towards(lambda cov, eye: eye), "needs the mean variance s as a factor"),
        (shrunk_towards(lambda cov, eye: cov.mean() * eye), "Compute s from the diagonal"),
        (shrunk_towards(lambda cov, eye: cov.trace() * eye), "take its mean"),
        (shrunk_towards(lambda cov, eye: cov.diagonal().mean()), "The identity is missing"),
        (wrong_triangle, "with the transpose of L"),
        (every_pair, "return the diagonal only"),
        (in_place_offset, "changes its input"),
        (shrunk_twice, "before it is multiplied by 1 - shrinkage"),
        (solved_twice, "divides by S twice"),
        (solved(lambda z: z.sum(dim=0)), "not squared before the sum"),
        (solved(lambda z: z.abs().sum(dim=0)), "This sums |z|"),
        (solved(lambda z: 0.5 * z.square().sum(dim=0)), "the formula has no factor"),
        (solved(lambda z: -z.square().sum(dim=0)), "The sign is wrong"),
        (solved(upper=True), "only the diagonal of L is read"),
        (solved(of=lambda offset: offset), "the right-hand side of the solve has (D, M)"),
        (distance(cov_of=lambda t: torch.cov(t)), "S, I and L have (D, D)"),
        (distance(lambda train, test: test - train.mean(dim=1)), "axis 0, and has the shape (D,)"),
        (distance(lambda train, test: test - train.mean()), "one mean for all features"),
        (distance(cov_of=lambda t: len(t) * torch.cov(t.T, correction=0)), "The covariance is a sum"),
        (distance(cov_of=lambda t: len(t) / t.shape[1] * torch.cov(t.T, correction=0)), "is divided by D"),
        (distance(cov_of=lambda t: torch.corrcoef(t.T)), "This is the correlation"),
        (lambda t, y, shrinkage=0.1: mahalanobis(y, t, shrinkage), "are train and test swapped"),
        (lambda t, y: mahalanobis(t, y), "compare the signatures"),
        (lambda t, y, shrinkage=0.1: ((y - t.mean(0)) ** 2 / t.var(0)).sum(1), "variance of each feature"),
        (lambda t, y, shrinkage=0.1: mahalanobis(torch.cat([t, y]), y, shrinkage), "training images only"),
        (lambda t, y, shrinkage=0.1: mahalanobis(t, y, shrinkage).numpy(), "not a tensor"),
        (lambda t, y, shrinkage=0.1: mahalanobis(t, y, shrinkage) * 3 / t.shape[1], "not for train (9, 2)"),
    ],
    "best_of": [
        (auroc, "the AUROC of each epoch: return the best so far"),
        (lambda normal, anomalous: np.maximum.accumulate(auroc(anomalous, normal)), "The arguments are swapped"),
        (running(np.max), "best of all epochs: return the best so far"),
        (running(np.argmax), "This is the index of the best epoch"),
        (running(np.mean), "This is the mean over epochs"),
        (running(np.minimum.accumulate), "This is the worst so far"),
        (running(lambda a: np.full(len(a), a.max())), "an epoch must not use later ones"),
        (running(lambda a: np.maximum.accumulate(np.append(a[0], a[:-1]))), "one epoch late"),
        (running(lambda a: np.array([a[: e + 1].max() for e in range(5)])), "not for normal (1, 4)"),
        (lambda normal, anomalous: np.maximum(auroc(normal, anomalous), 0.5), "the values are not"),
        (running(lambda a: np.cumsum(a) / np.arange(1, len(a) + 1)), "the running mean"),
        (running(np.sort), "The AUROCs are sorted"),
        (before_the_update, "one epoch late"),
        (returned_in_the_loop, "is the return inside the loop"),
        (running(np.cumsum), "the running sum"),
        (running(lambda a: np.maximum(a, np.append(a[0], a[:-1]))), "looks back by one epoch only"),
        (running(lambda a: np.maximum.accumulate(np.maximum(a, 1 - a))), "turned into one above"),
        (running(lambda a: np.maximum.accumulate(a)[::-1]), "in reverse order"),
        (running(lambda a: np.maximum.accumulate(a).astype(int)), "rounded to whole numbers"),
        (running(lambda a: torch.tensor(a).cummax(0)), "return an array"),
        (running(lambda a: (max(a[: e + 1]) for e in range(len(a)))), "return an array"),
        (lambda n, a: auroc(n, a)[:epochs].max() + np.zeros(epochs), "also reads the notebook's variable epochs"),
        (
            lambda n, a: np.array([auroc(n[: e + 1].ravel(), a[: e + 1].ravel()) for e in range(len(n))]),
            "the scores of all epochs so far together",
        ),
        (lambda n, a: auroc(np.maximum.accumulate(n), np.maximum.accumulate(a)), "taken over the scores"),
        (running(lambda a: [max(a[: e + 1]) for e in range(len(a))]), "return an array"),
        (running(lambda a: np.maximum.accumulate(a)[:, None]), "not (E,) = (5,)"),
        (lambda n, a: (n.sort(axis=1), np.maximum.accumulate(auroc(n, a)))[1], "changes its input"),
    ],
    "threshold": [
        (lambda scores, rate: np.quantile(scores, rate), "use the upper end"),
        (lambda scores, rate: np.percentile(scores, 1 - rate), "np.percentile takes a percentage"),
        (lambda scores, rate: scores.max(), "does not use the permitted false alarms"),
        (lambda scores, rate: scores.mean() + 2 * scores.std(), "rate of 20%, this is too high"),
        (lambda scores, rate: scores.mean(), "this is too low"),
        (lambda scores, rate: float(np.quantile(scores, 1.0 - rate)), "interpolates between two scores"),
        (lambda scores, rate: np.quantile(scores, 100 * (1 - rate)), "raises ValueError"),
        (lambda scores, rate: np.quantile(scores, 1 - rate, method="lower"), "this is too low"),
        (lambda scores, rate: np.quantile(scores, 1 - rate, method="nearest"), "this is too low"),
        (lambda scores, rate: np.quantile(scores, 0.95, method="higher"), "this is too high"),
        (lambda scores, rate: np.quantile(scores, 1 - rate / 2, method="higher"), "this is too high"),
        (lambda scores, rate: abs(np.quantile(scores, 1 - rate, method="higher")), "no normal image is above"),
        (lambda scores, rate: np.quantile(scores, [1 - rate], method="higher"), "one number"),
        (lambda scores, rate: (scores.sort(), scores[-int(rate * len(scores)) - 1])[1], "changes its input"),
        (lambda scores, rate: np.argsort(scores)[int((1 - rate) * len(scores))], "if it is an index"),
        (lambda scores, rate: round(np.quantile(scores, 1 - rate, method="higher"), 2), "this is rounded to"),
        (lambda scores, rate: np.quantile(np.unique(scores), 1 - rate, method="higher"), "this is too high"),
        (lambda scores, rate: sorted(scores)[-int(rate * len(scores))], "this is too low: 90.0%"),
        (lambda scores, rate: str(np.quantile(scores, 1 - rate, method="higher")), "returns text"),
        (lambda scores, rate: np.nan, "not a number with which"),
        (lambda scores, rate: np.quantile(scores, rate, method="higher"), "use the upper end"),
        (lambda scores, rate: np.quantile(scores, 1 - rate, "higher"), "Pass the text by its name"),
        (lambda scores, rate: np.quantile(scores, 1 - cut, method="higher"), "reads the notebook's variable cut"),
        (lambda scores, rate: None, "is the return"),
        (lambda scores, rate: scores.mean() + 1.645 * scores.std(), "this is too low"),
    ],
    "my_score": [
        (lambda train, test: None, "is the return missing"),
        (lambda train, test: test.mean(dim=1), "larger for anomalous images"),
        (lambda train, test: -nearest(train, test), "larger for anomalous images"),
        (lambda train, test: (test @ train.T).amax(dim=1), "larger for anomalous images"),
        (lambda train, test: torch.zeros(len(test)), "all scores are equal"),
        (lambda train, test: test.norm(dim=1), "the score ignores what is normal"),
        (lambda train, test: (test - test.mean(dim=0)).norm(dim=1), "depends on the other test images"),
        (lambda train, test: nearest(train, test) / nearest(train, test).max(), "depends on the other test images"),
        (lambda train, test: torch.cdist(test, test).fill_diagonal_(9e9).amin(1), "depends on the other test images"),
        (lambda train, test: (test - train[0]).norm(dim=1), "the order of the training images"),
        (lambda train, test: nearest(test, train), "the shape is (60,)"),
        (lambda train, test: torch.cdist(test, train), "the shape is (18, 60)"),
        (lambda train, test: nearest(train, test).numpy(), "not a tensor"),
        (lambda train, test: test.sub_(train.mean(dim=0)).norm(dim=1), "changes its input"),
        (lambda train, test: nearest(train, test) / 0, "some scores are not finite"),
        (lambda train, test: (test - train.mean(dim=0))[:, 0].abs(), "far in the second half of the features"),
        (lambda train, test: (test - train.mean()).norm(dim=1), "on the other side of zero"),
        (lambda train, test: test.norm(dim=1) - train.norm(dim=1).mean(), "on the other side of zero"),
        (lambda train, test: nearest(train, test).squeeze(), "no squeeze()"),
        (lambda train, test: nearest(train, test) > 3, "True or False"),
        (lambda train, test: torch.cdist(test, train).min(dim=1), "take .values"),
        (lambda train, test: torch.cdist(test, train).argmin(dim=1), "the order of the training images"),
        (lambda train, test: nearest(train[:10], test), "the order of the training images"),
        (lambda train, test: nearest(train, test + torch.randn_like(test)), "give different results"),
        (lambda train, test: (test - train).norm(dim=1), "Two shapes do not fit"),
        (lambda train, test: mahalanobis(train, test, 0.0), "shrink it"),
    ],
}
