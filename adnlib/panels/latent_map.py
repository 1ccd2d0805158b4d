"""The test images as points: the two directions in latent space in which normal training images vary most."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adnlib.datasets import Split
from adnlib.engine.extraction import features_of, transform_views
from adnlib.imagesets.reading import NORMAL, read_picture
from adnlib.panels.loaded_run import LoadedRun

SIDE = 160  # of the picture beside the map, in px


def plane(run: LoadedRun) -> tuple[Tensor, Tensor, Tensor]:
    """Training images (N, 2), test images (M, 2), and the shares (2,) of the training images' variance.

    The coordinates are the first two principal components of z, averaged over the run's test views. They are fitted on
    the normal training images. A point far outside is anomalous; one in the middle may be far away in the other 766
    directions, so the score is not the distance in this map.
    """
    return run.once("plane", lambda: _plane(run))


@torch.inference_mode()
def _plane(run: LoadedRun) -> tuple[Tensor, Tensor, Tensor]:
    train, test = (_mean_z(run, part) for part in (run.dataset.train, run.dataset.test))
    middle = train.mean(dim=0)
    _, strength, directions = torch.linalg.svd(train - middle, full_matrices=False)
    axes = directions[:2].T  # (768, 2)
    axes = axes * axes.sum(dim=0).sign()  # the sign of a principal component is arbitrary
    return (train - middle) @ axes, (test - middle) @ axes, strength[:2].square() / strength.square().sum()


def _mean_z(run: LoadedRun, part: Split) -> Tensor:
    y = features_of(run.model, part, run.model.preset.views("test"))  # (N, V, 768)
    return transform_views(run.model, y)[0].mean(dim=1).cpu()


def framed(train: Tensor, test: Tensor, labels: np.ndarray) -> tuple[list, list, int]:
    """Points (N, 2), (M, 2) as shares of a square picture, with y downwards, and how many test images are outside.

    The picture shows the 1st to the 99th percentile of the normal images, with a margin of half as much. Points outside
    are moved to its edge.
    """
    normal = torch.cat([train, test[torch.as_tensor(labels == NORMAL)]])
    low, high = (normal.quantile(q, dim=0) for q in (0.01, 0.99))
    middle, reach = (low + high) / 2, (high - low).clamp(min=1e-9)
    train, test = ((points - middle) / reach for points in (train, test))  # inside: -1 to 1
    outside = int((test.abs() > 1).any(dim=1).sum())
    shares = [0.5 + 0.48 * points.clamp(-1, 1) for points in (train, test)]
    train, test = (torch.stack([x[:, 0], 1 - x[:, 1]], dim=1) for x in shares)
    return train.tolist(), test.tolist(), outside


def small_picture(run: LoadedRun, place: int) -> bytes:
    """A test image as a small JPEG."""
    picture, buffer = read_picture(run.dataset.test[place].path), io.BytesIO()
    picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2).save(buffer, "jpeg", quality=85)
    return buffer.getvalue()
