"""Sources of features for training: computed once for a frozen network, in every step if attention is trained."""

from contextlib import ExitStack
from typing import Protocol

import torch
from torch import Tensor

from adnlib.attention import MatchedGate
from adnlib.datasets import Dataset
from adnlib.differnet import DifferNet
from adnlib.engine.extraction import chunk_size, extract, features_of, read_images
from adnlib.features import MultiScaleAlexNet
from adnlib.pooling import SurprisePooling
from adnlib.system.device import place_for, resident
from adnlib.system.precision import autocast
from adnlib.views import OwnViews, SharedViews

STATISTICS = 512  # images on which the statistics of pooling and gates are measured
STEM_BYTES = 2**30  # limit for the stored stem outputs


class FeatureSource(Protocol):
    """The features that a training loop reads."""

    def begin_epoch(self, epoch: int) -> None:
        """Prepares an epoch, numbered from 1."""

    def batch(self, rows: Tensor, views: Tensor) -> Tensor:
        """Features (B, V, 768) of the training images `rows` (B,), each in its views (B, V)."""
        ...

    def validation(self) -> Tensor:
        """Features (N, V, 768) of the validation images in the test views."""
        ...


class FrozenFeatures:
    """Features of a frozen network: computed once per view, or once per epoch for new views of images that are decoded
    once."""

    def __init__(self, model: DifferNet, dataset: Dataset, progress: bool):
        self.model, self.preset = model, model.preset
        fit_statistics(model, dataset)
        if self.preset.rescale or not self.preset.fresh_views:
            pool = self.preset.training_pool(len(dataset.train))
            self.y = features_of(model, dataset.train, pool, progress=progress)  # (N, P, 768)
        if self.preset.rescale:
            set_rescaling(model, self.y)
        if self.preset.fresh_views:
            self.images = resident(read_images(dataset.train, self.preset.image_size), model.device)  # (N, 3, S, S)
        self.y_validation = features_of(model, dataset.validation, self.preset.views("test"), progress=progress)

    def begin_epoch(self, epoch: int) -> None:
        if self.preset.fresh_views:
            self.y = extract(self.model, self.images, self.preset.training_pool(len(self.images), epoch))

    def batch(self, rows: Tensor, views: Tensor) -> Tensor:
        rows, views = (index.to(self.y.device, non_blocking=True) for index in (rows, views))
        return self.y[rows[:, None], views]

    def validation(self) -> Tensor:
        return self.y_validation


class JointFeatures:
    """Features with attention that is being trained; the layers before the attention, the stem, are computed once."""

    def __init__(self, model: DifferNet, dataset: Dataset, progress: bool):
        self.model, self.preset = model, model.preset
        fit_statistics(model, dataset)
        pool = self.preset.training_pool(len(dataset.train))
        if self.preset.rescale:
            set_rescaling(model, features_of(model, dataset.train, pool, progress=progress))
        self.images, self.images_validation = (  # (N, 3, S, S)
            resident(read_images(split, self.preset.image_size), model.device)
            for split in (dataset.train, dataset.validation)
        )
        self.stems = StemStore(model, self.images, pool, keep=not self.preset.fresh_views)

    def begin_epoch(self, epoch: int) -> None:
        self.stems.pool = self.preset.training_pool(len(self.images), epoch)

    def batch(self, rows: Tensor, views: Tensor) -> Tensor:
        """As `FeatureSource.batch`, but with the views of the first row for all rows."""
        return torch.stack([self.stems.features(rows, view) for view in views[0].tolist()], dim=1)

    def validation(self) -> Tensor:
        return extract(self.model, self.images_validation, self.preset.views("test"))


@torch.inference_mode()
def fit_statistics(model: DifferNet, dataset: Dataset) -> None:
    """Measures matched gates and fits an attentive pooling on normal training images."""
    with ExitStack() as gates:
        matched = [gate for gate in model.features.attention.values() if isinstance(gate, MatchedGate)]
        for gate in matched:
            gates.enter_context(gate.measuring())
        if matched:
            normal_maps(model, dataset)
    if isinstance(model.features.pooling, SurprisePooling):
        model.features.pooling.fit(normal_maps(model, dataset))


def normal_maps(model: DifferNet, dataset: Dataset) -> list[Tensor]:
    """The maps (N, 256, h, w) of all scales for at most STATISTICS training images, evenly spaced, without views."""
    split, size = dataset.train[:: -(-len(dataset.train) // STATISTICS)], model.preset.image_size
    parts = []
    with autocast(model.preset.precision, model.device):
        for start in range(0, len(split), chunk_size(size)):
            images = read_images(split[start : start + chunk_size(size)], size)
            parts.append(model.features.maps(images.to(model.device)))
    return [torch.cat(maps) for maps in zip(*parts, strict=True)]


def set_rescaling(model: DifferNet, y: Tensor) -> None:
    """Sets `feature_mean` and `feature_std` of the model from training features y (N, V, 768)."""
    model.feature_mean.copy_(y.mean())
    model.feature_std.copy_(y.std())


class StemStore:
    """The stem outputs of images in several views, and the features computed from them, which have a gradient.

    With `keep` the stem is computed once for each view of the pool and stored, if that takes no more than STEM_BYTES.
    """

    def __init__(self, model: DifferNet, images: Tensor, pool: SharedViews | OwnViews, keep: bool):
        self.model, self.images, self.pool, self.stored = model, images, pool, None
        one = self._stem(torch.zeros(1, dtype=torch.long), 0)
        size = sum(x.nbytes for x in one) * len(images) * len(pool)
        if not keep or size > STEM_BYTES:
            return
        place, step = place_for(size, model.device), chunk_size(images.shape[-1])
        self.stored = [
            [torch.empty(len(images), *x.shape[1:], dtype=x.dtype, device=place) for x in one] for _ in range(len(pool))
        ]
        for view, outputs in enumerate(self.stored):
            for chunk in range(0, len(images), step):
                rows = torch.arange(chunk, min(chunk + step, len(images)))
                for output, x in zip(outputs, self._stem(rows, view), strict=True):
                    output[chunk : chunk + step] = x

    def features(self, rows: Tensor, view: int) -> Tensor:
        """Features (B, 768) of the images `rows` (B,) in the view with this number."""
        device = self.model.device
        stored = self.stored
        maps = [_rows(x, rows).to(device) for x in stored[view]] if stored else self._stem(rows, view)
        with autocast(self.model.preset.precision, device):
            return after_stem(self.model.features, maps)

    @torch.no_grad()
    def _stem(self, rows: Tensor, view: int) -> list[Tensor]:
        device = self.model.device
        with autocast(self.model.preset.precision, device):
            return stem(self.model.features, self.pool.of(rows)[view](_rows(self.images, rows).to(device)))


def _rows(x: Tensor, rows: Tensor) -> Tensor:
    """x[rows], where `rows` is on the CPU, without waiting for the device that x is on."""
    return x[rows.to(x.device, non_blocking=True)]


def stem(features: MultiScaleAlexNet, images: Tensor) -> list[Tensor]:
    """Images (B, 3, H, W) -> for each scale the input (B, C, h, w) of the first attention module."""
    x = features.normalize(images).contiguous(memory_format=torch.channels_last)
    before = features.path()[: _stem_length(features)]
    return [_run(before, smaller) for smaller in features.scaled(x)]


def after_stem(features: MultiScaleAlexNet, maps: list[Tensor]) -> Tensor:
    """The remaining layers: outputs of `stem` -> features (B, 768)."""
    after = features.path()[_stem_length(features) :]
    return features.pooling([_run(after, x) for x in maps])


def _stem_length(features: MultiScaleAlexNet) -> int:
    """The number of modules in the path before the first attention module; without attention, all."""
    first = min((int(index) for index in features.attention), default=len(features.alexnet) - 1)
    return first + 1


def _run(modules: list, x: Tensor) -> Tensor:
    for module in modules:
        x = module(x)
    return x
