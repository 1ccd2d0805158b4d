"""Densities in the plane for the flow playground: points, and the lowest NLL that any model can reach."""

from functools import lru_cache

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.special import logsumexp
from sklearn.datasets import make_circles, make_moons
from torch import Tensor

from adnlib.errors import check_choice

DENSITIES = ("two moons", "two rings", "three hills", "a square")
# What no flow can do: it and its inverse are continuous, so the image of a Gaussian is one piece without holes.
IMPOSSIBLE = {
    "two moons": "These are two pieces",
    "two rings": "These are two pieces, and each has a hole",
}
NOISE = {"two moons": 0.06, "two rings": 0.04, "three hills": 0.2}  # standard deviation around the curve or centre


@lru_cache
def _raw(density: str, count: int) -> np.ndarray:
    check_choice("density", density, DENSITIES)
    rng = np.random.default_rng(0)
    if density == "two moons":
        y, _ = make_moons(count, noise=NOISE[density], random_state=0)
    elif density == "two rings":
        y, _ = make_circles(count, noise=NOISE[density], factor=0.45, random_state=0)
    elif density == "three hills":
        angle = 2 * np.pi * rng.integers(3, size=count) / 3
        y = np.stack([np.cos(angle), np.sin(angle)], axis=1) + NOISE[density] * rng.normal(size=(count, 2))
    else:
        y = rng.uniform(-1, 1, (count, 2))
    return rng.permutation(y)


def points(density: str, count: int = 2000) -> Tensor:
    """(count, 2) points of a density, with mean 0 and standard deviation 1."""
    y = _raw(density, count)
    return torch.tensor((y - y.mean(0)) / y.std(0), dtype=torch.float32)


@lru_cache
def lowest_nll(density: str, count: int = 2000) -> float:
    """The NLL of `points` under the density that they were drawn from, in nats per dimension, as adnlib.flow.nll
    counts: a model that is better on these points has learned the points, not the density.

    The density is a mixture of Gaussians along the curves, or constant on the square.
    """
    y = _raw(density, count)
    if density == "a square":
        entropy = np.log(4)
    else:
        if density == "three hills":
            centres = np.array([[np.cos(a), np.sin(a)] for a in 2 * np.pi * np.arange(3) / 3])
        else:
            shape = make_moons if density == "two moons" else make_circles
            centres, _ = shape(1000, shuffle=False, **({} if density == "two moons" else {"factor": 0.45}))
        s = NOISE[density]
        squares = ((y[:, None] - centres) ** 2).sum(axis=2) / (2 * s * s)  # (N, K)
        entropy = -np.mean(logsumexp(-squares, axis=1) - np.log(len(centres) * 2 * np.pi * s * s))
    return float((entropy - np.log(y.std(0)).sum() - np.log(2 * np.pi)) / 2)


@lru_cache
def _neighbours(density: str) -> tuple[cKDTree, float]:
    """The points as a tree, and the distance to the nearest other point that 99 % of them do not exceed."""
    tree = cKDTree(points(density).numpy())
    return tree, float(np.quantile(tree.query(tree.data, k=2)[0][:, 1], 0.99))


def astray(samples: Tensor, density: str) -> float:
    """The share of samples (N, 2) that are farther from all points than 99 % of the points are from the nearest other.

    About 0.01 for samples of the density itself.
    """
    tree, far = _neighbours(density)
    return float((tree.query(samples.numpy())[0] > far).mean())
