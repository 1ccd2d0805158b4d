"""Scores and heat maps of an image by several runs at once, quickly: models share what they have in common."""

import hashlib
from collections.abc import Sequence
from functools import cache
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from adnlib.differnet import DifferNet, latent_score
from adnlib.engine.extraction import transform_views
from adnlib.flow import nll
from adnlib.panels.loaded_run import LoadedRun, heat_map
from adnlib.system.precision import autocast
from adnlib.views import View

POOL5 = 12  # the layer after conv5 in adnlib.features


def judge(runs: list[LoadedRun], images: list[Tensor]) -> list[float]:
    """The score by each run of its image uint8 (3, S, S). Images of the same size have to be the same."""
    found: dict[int, float] = {}
    for size in {run.size for run in runs}:
        group = [run for run in runs if run.size == size]
        image = next(image for run, image in zip(runs, images, strict=True) if run.size == size)
        found |= dict(zip(map(id, group), _judge(group, image), strict=True))
    return [found[id(run)] for run in runs]


def _judge(runs: list[LoadedRun], image: Tensor) -> list[float]:
    key, together = _key(image), cache(lambda: seen([run.model for run in runs], image))
    for at, run in enumerate(runs):
        run.once(("heat", key), lambda at=at: together()[at][1])
    return [run.once(("score", key), lambda at=at: together()[at][0]) for at, run in enumerate(runs)]


def heat_of(run: LoadedRun, image: Tensor) -> np.ndarray:
    """The Grad-CAM map (S, S) of an image uint8 (3, S, S)."""
    return run.once(("heat", _key(image)), lambda: heat_map(run.model, image))


def _key(image: Tensor) -> bytes:
    return hashlib.blake2b(image.numpy().tobytes(), digest_size=16).digest()


def scores(models: list[DifferNet], images: Tensor) -> list[Tensor]:
    """The scores (B,) of images uint8 (B, 3, S, S) by each model, with its views and in its precision."""
    return [score for score, _ in _passed(models, images)]


def seen(models: list[DifferNet], image: Tensor) -> list[tuple[float, np.ndarray]]:
    """The score and the Grad-CAM map (S, S) of an image uint8 (3, S, S) by each model.

    The map uses the activations that the score has computed, if one of the views is the unchanged image.
    """
    found = []
    for model, (score, maps) in zip(models, _passed(models, image[None]), strict=True):
        views = model.preset.views("test")
        if View() in views:
            at = views.index(View())
            heat = _grad_cam(model, [one[at : at + 1] for one in maps], image.shape[-2:])
        else:
            heat = heat_map(model, image)
        found.append((score.item(), heat))
    return found


@torch.no_grad()
def _passed(models: list[DifferNet], images: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
    """The scores (B,) of images by each model, and conv5's maps (V B, 256, h, w) of all views at each scale.

    The layers before the first attention module are the same in all models with AlexNet's ImageNet weights: they are
    computed once for neighbours in the list that also have the same views and precision.
    """
    found: list[tuple[Tensor, list[Tensor]]] = []
    for _, group in groupby(models, key=_shared):
        found += _passed_by_group(list(group), images)
    return found


def _shared(model: DifferNet) -> tuple:
    """Equal for models that compute the same before the first attention module."""
    own = id(model) if model.weights != "imagenet" else 0
    return own, model.preset.precision, model.preset.views("test")


def _passed_by_group(models: list[DifferNet], images: Tensor) -> list[tuple[Tensor, list[Tensor]]]:
    first, views = models[0].features, models[0].preset.views("test")
    stem = min([POOL5, *(int(layer) + 1 for m in models for layer in m.features.attention)])
    images, found = images.to(models[0].device), []
    with autocast(models[0].preset.precision, images.device):
        x = first.normalize(torch.cat([view(images) for view in views])).contiguous(memory_format=torch.channels_last)
        shared = [first.alexnet[:stem](smaller) for smaller in first.scaled(x)]
        for model in models:
            maps = [_through(model, range(stem, POOL5), _attended(model, stem - 1, one)) for one in shared]
            found.append((model, maps, _pooled(model, maps)))
    features = [y.view(len(views), len(images), -1).transpose(0, 1) for *_, y in found]  # (B, V, 768)
    return [
        (latent_score(transform_views(model, y)[0]), maps) for (model, maps, _), y in zip(found, features, strict=True)
    ]


def _pooled(model: DifferNet, maps: list[Tensor]) -> Tensor:
    """Conv5's maps of all scales -> features (B, 768)."""
    last = range(POOL5, len(model.features.alexnet))
    return model.features.pooling([_through(model, last, one) for one in maps])


def _through(model: DifferNet, layers: range, x: Tensor) -> Tensor:
    """Some of AlexNet's layers, each with the attention that follows it."""
    for index in layers:
        x = _attended(model, index, model.features.alexnet[index](x))
    return x


def _attended(model: DifferNet, index: int, x: Tensor) -> Tensor:
    attention = model.features.attention
    return attention[str(index)](x) if str(index) in attention else x


def _grad_cam(model: DifferNet, maps: list[Tensor], size: Sequence[int]) -> np.ndarray:
    """`grad_cam` at conv5, whose maps (1, 256, h, w) at each scale are known: (H, W) in [0, 1]."""
    from adnlib.explain.maps import LAYERS, STRIDES, over_scales, stretched  # slow to import

    maps = [one.float().requires_grad_() for one in maps]
    gradients = torch.autograd.grad(nll(*model.transform(_pooled(model, maps))).sum(), maps)
    cams = [(g.mean(dim=(2, 3), keepdim=True) * x).sum(dim=1).cpu() for x, g in zip(maps, gradients, strict=True)]
    cam = over_scales(cams, STRIDES[LAYERS["conv5"]], model.features.scale_step, size)
    return stretched(cam.detach().clamp(min=0))[0].numpy()
