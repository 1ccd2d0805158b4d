"""How often the intervals of adnlib.intervals contain the true value, next to those of the bootstrap.

    .venv/bin/python benchmarks/intervals.py

Draws many test sets of n normal and m anomalous images from distributions with a known AUROC. "equal" and "wide": the
scores have normal distributions, and those of anomalous images vary as much as or three times as much as those of
normal images. "missed": a share of the anomalous images scores below all normal images. "alarms": a share of the normal
images scores above all anomalous images. In both, the other images are separated. In the last rows, two models score
the same images, with the given correlation before the shape is applied, and the interval is that of the difference. The
bootstrap is the percentile bootstrap, with normal and anomalous images resampled separately.
"""

import argparse
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from scipy.stats import norm

from adnlib.evaluation import auroc
from adnlib.intervals import LEVEL, auroc_difference, auroc_interval

RESAMPLES = 1000
SIZES = [(20, 20), (20, 63), (50, 10), (100, 100), (5, 5)]
TRUTHS = [0.7, 0.9, 0.98, 0.999]
PAIRS = [(0.8, 0.8), (0.9, 0.8), (0.98, 0.98), (0.999, 0.98)]

# Standard normal values of normal (N,) and anomalous (M,) images and a true AUROC -> scores with this AUROC
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]]] = {
    "equal": lambda a, b, truth: (a, b + norm.ppf(truth) * 2**0.5),
    "wide": lambda a, b, truth: (a, 3 * b + norm.ppf(truth) * 10**0.5),
    "missed": lambda a, b, truth: (a, np.where(norm.cdf(b) < 1 - truth, b - 50, b + 50)),
    "alarms": lambda a, b, truth: (np.where(norm.cdf(a) > truth, a + 50, a - 50), b),
}


def bootstrap(normal: np.ndarray, anomalous: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The percentile bootstrap interval of the AUROC, or for K = 2 of the difference, from scores (K, N) and (K, M)."""
    i, j = (rng.integers(x.shape[1], size=(RESAMPLES, x.shape[1])) for x in (normal, anomalous))
    redrawn = np.asarray(auroc(normal[:, i], anomalous[:, j]))  # (K, RESAMPLES)
    low, high = np.quantile(redrawn[0] - redrawn[1:].sum(axis=0), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return low, high


def draw(shape: str, truths: tuple[float, ...], n: int, m: int, correlation: float, rng: np.random.Generator):
    """Scores (K, N) and (K, M) of the same images by K models with the AUROCs `truths`."""
    shared, weight = [rng.normal(size=k) for k in (n, m)], correlation**0.5
    models = []
    for truth in truths:
        a, b = (weight * x + (1 - correlation) ** 0.5 * rng.normal(size=len(x)) for x in shared)
        models.append(SHAPES[shape](a, b, truth))
    return [np.stack(scores) for scores in zip(*models, strict=True)]


def coverage(
    shape: str, truths: tuple[float, ...], n: int, m: int, correlation: float = 0.0, draws: int = 1000, seed: int = 0
) -> np.ndarray:
    """The share of intervals that contain the truth, and their mean width: rows this suite's, bootstrap; (2, 2)."""
    rng, truth, found = np.random.default_rng(seed), truths[0] - sum(truths[1:]), []
    for _ in range(draws):
        normal, anomalous = draw(shape, truths, n, m, correlation, rng)
        new = auroc_interval(normal[0], anomalous[0]) if len(truths) == 1 else auroc_difference(normal, anomalous)[1:]
        found.append((new, bootstrap(normal, anomalous, rng)))
    low, high = np.array(found).transpose(2, 1, 0)  # (2, draws) each
    return np.stack([((low <= truth) & (truth <= high)).mean(axis=1), (high - low).mean(axis=1)], axis=1)


def settings() -> Iterator[tuple[str, tuple[float, ...], int, int, float]]:
    """The arguments of `coverage` for each row: single AUROCs, then differences."""
    for shape, (n, m), truth in product(SHAPES, SIZES, TRUTHS):
        yield shape, (truth,), n, m, 0.0
    for shape, n, pair, r in product(("equal", "alarms"), (20, 100), PAIRS, (0.0, 0.9)):
        yield shape, pair, n, n, r


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=1000)
    draws = parser.parse_args().draws
    print(f"{draws} test sets for each row, {RESAMPLES} resamples\n")
    heads = ["n", "m", "shape", "true AUROC", "correlation", "coverage", "bootstrap's", "mean width", "bootstrap's"]
    print("|", " | ".join(heads), "|\n|" + " --- |" * len(heads))
    lowest = np.ones(2)
    for shape, truths, n, m, r in settings():
        found = coverage(shape, truths, n, m, r, draws)
        lowest = np.minimum(lowest, found[:, 0])
        what = [n, m, shape, " minus ".join(map(str, truths)), r if len(truths) > 1 else ""]
        print("|", " | ".join([*map(str, what), *(f"{x:.3f}" for x in found.T.flatten())]), "|", flush=True)
    print("\nLowest coverage: {:.3f}, bootstrap's: {:.3f}".format(*lowest))


if __name__ == "__main__":
    main()
