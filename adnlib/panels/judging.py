"""Scores of an image by several runs at once, quickly: models share what they have in common."""

import hashlib
from functools import cache
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from adnlib.differnet import DifferNet, latent_score
from adnlib.engine.extraction import transform_views
from adnlib.panels.loaded_run import LoadedRun, heat_map
from adnlib.system.precision import autocast


def judge(runs: list[LoadedRun], images: list[Tensor]) -> list[float]:
    """The score by each run of its image uint8 (3, S, S). Images of the same size have to be the same."""
    found: dict[int, float] = {}
    for size in {run.size for run in runs}:
        group = [run for run in runs if run.size == size]
        image = next(image for run, image in zip(runs, images, strict=True) if run.size == size)
        found |= dict(zip(map(id, group), _judge(group, image), strict=True))
    return [found[id(run)] for run in runs]


def _judge(runs: list[LoadedRun], image: Tensor) -> list[float]:
    together = cache(lambda: [score.item() for score in scores([run.model for run in runs], image[None])])
    key = ("score", _key(image))
    return [run.once(key, lambda at=at: together()[at]) for at, run in enumerate(runs)]


def heat_of(run: LoadedRun, image: Tensor) -> np.ndarray:
    """The Grad-CAM map (S, S) of an image uint8 (3, S, S)."""
    return run.once(("heat", _key(image)), lambda: heat_map(run.model, image))


def _key(image: Tensor) -> bytes:
    return hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()


@torch.inference_mode()
def scores(models: list[DifferNet], images: Tensor) -> list[Tensor]:
    """The scores (B,) of images uint8 (B, 3, S, S) by each model, with its views and in its precision.

    The layers before the first attention module are the same in all models with AlexNet's ImageNet weights: they are
    computed once for neighbours in the list that also have the same views and precision.
    """
    found: list[Tensor] = []
    for _, group in groupby(models, key=_shared):
        found += _scores_of_group(list(group), images)
    return found


def _shared(model: DifferNet) -> tuple:
    """Equal for models that compute the same before the first attention module."""
    own = id(model) if model.weights != "imagenet" else 0
    return own, model.preset.precision, model.preset.views("test")


def _scores_of_group(models: list[DifferNet], images: Tensor) -> list[Tensor]:
    first, views = models[0].features, models[0].preset.views("test")
    stem = min([len(first.alexnet), *(int(layer) + 1 for m in models for layer in m.features.attention)])
    with autocast(models[0].preset.precision, images.device):
        x = first.normalize(torch.cat([view(images) for view in views])).contiguous(memory_format=torch.channels_last)
        maps = [first.alexnet[:stem](smaller) for smaller in first.scaled(x)]
        y = [model.features.pooling([_rest(model, stem, one) for one in maps]) for model in models]
    features = [one.view(len(views), len(images), -1).transpose(0, 1) for one in y]  # (B, V, 768)
    return [latent_score(transform_views(model, one)[0]) for model, one in zip(models, features, strict=True)]


def _rest(model: DifferNet, stem: int, x: Tensor) -> Tensor:
    """The layers after the first `stem` ones, with all attention."""
    for index, layer in enumerate(model.features.alexnet):
        if index >= stem:
            x = layer(x)
        if index >= stem - 1 and str(index) in model.features.attention:
            x = model.features.attention[str(index)](x)
    return x
