"""Feature extraction and transformation by the flow for many images and views, in chunks with bounded memory.

Images are decoded in threads; views are made and convolved in batches on the device. The features of a frozen network
never change, so those of each view are computed once and cached on disk (adnlib.system.cache) under a digest of what
they depend on: bytes and size of the images, the view, AlexNet and attention, precision, device, version of torch.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from adnlib.datasets import Split
from adnlib.differnet import DifferNet
from adnlib.system import cache
from adnlib.system.files import file_sha256
from adnlib.system.precision import autocast, resolve
from adnlib.views import OwnViews, SharedViews, View

Pool = SharedViews | OwnViews

IMAGE_BYTES = 2**30  # limit for decoded images in memory; larger arrays are stored in a file
CHUNK_BYTES = 2**29  # limit for activations in memory
FLOW_ROWS = 8192  # feature vectors per pass through the flow
BYTES_PER_PIXEL = 96  # of an image being processed: uint8 and float copies, conv1's output at 4 bytes per value


def chunk_size(size: int) -> int:
    """The number of images of `size` x `size` px that are processed at once."""
    return max(1, CHUNK_BYTES // (BYTES_PER_PIXEL * size * size))


@torch.inference_mode()
def extract(model: DifferNet, images: Tensor, views: tuple[View, ...] | Pool, start: int = 0) -> Tensor:
    """Features of every view: uint8 (N, 3, S, S) -> (N, V, 768) float32, on the model's device, computed with the
    preset's precision. start: the row of the first image in a pool of views."""
    device, pool = model.device, as_pool(views)
    y = []
    with autocast(model.preset.precision, device):
        for x in images.split(chunk_size(images.shape[-1])):
            rows = torch.arange(start, start + len(x))
            x, start = x.to(device), start + len(x)
            y.append(torch.stack([model.features(view(x)) for view in pool.of(rows)], dim=1))
    return torch.cat(y)


def as_pool(views: tuple[View, ...] | Pool) -> Pool:
    """Views that all images share, as a pool; a pool is returned unchanged."""
    return SharedViews(views) if isinstance(views, tuple) else views


def read_images(split: Split, size: int) -> Tensor:
    """All images of a split as uint8 (N, 3, size, size), decoded in threads; memory-mapped if they are large."""
    shape = (len(split), 3, size, size)
    if int(np.prod(shape)) <= IMAGE_BYTES:
        images = np.empty(shape, np.uint8)
        _decode(split, images)
    else:
        images = cache.mapped(cache.digest("images, version 1", _contents(split), size), shape, partial(_decode, split))
    return torch.from_numpy(images)


def _decode(split: Split, images: np.ndarray) -> None:
    def read(index: int) -> None:
        images[index] = split[index].read(images.shape[-1])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(read, range(len(split))))


def features_of(
    model: DifferNet, split: Split, views: tuple[View, ...] | Pool, *, progress: bool = False, keep: bool = True
) -> Tensor:
    """Features (N, V, 768) of a split's images, on the model's device, from `extract` or the cache.

    progress: shows a bar on standard output with views per second and the remaining time. keep: uses the cache
    on disk, for views that will be needed again.
    """
    pool = as_pool(views)
    if not keep:
        return _compute(model, split, pool, progress)
    device, size = model.device, model.preset.image_size
    precision = resolve(model.preset.precision, device)
    source_digest = cache.digest(
        "features, version 2",
        _contents(split),
        size,
        cache.module_digest(model.features),
        precision,
        device.type,
        torch.__version__,
    )
    if isinstance(pool, OwnViews):
        return torch.from_numpy(_cached(cache.digest(source_digest, pool), model, split, pool, progress)).to(device)
    names = {view: cache.digest(source_digest, view) for view in pool.views}
    features = {view: values for view, name in names.items() if (values := cache.load(name)) is not None}
    missing = tuple(view for view in names if view not in features)
    if missing:
        y = _compute(model, split, SharedViews(missing), progress).cpu()  # (N, missing, 768)
        for view, values in zip(missing, y.unbind(1), strict=True):
            features[view] = values.numpy()
            cache.keep(names[view], features[view])
    return torch.from_numpy(np.stack([features[view] for view in pool.views], axis=1)).to(device)


def _cached(name: str, model: DifferNet, split: Split, pool: Pool, progress: bool) -> np.ndarray:
    if (features := cache.load(name)) is None:
        features = _compute(model, split, pool, progress).cpu().numpy()
        cache.keep(name, features)
    return features


def _contents(split: Split) -> list[str]:
    return [file_sha256(sample.path) for sample in split]


def _compute(model: DifferNet, split: Split, pool: Pool, progress: bool) -> Tensor:
    parts, step = [], chunk_size(model.preset.image_size)
    total = len(split) * len(pool)
    with tqdm(total=total, desc="features", unit=" views", file=sys.stdout, leave=False, disable=not progress) as bar:
        for start in range(0, len(split), step):
            images = read_images(split[start : start + step], model.preset.image_size)
            parts.append(extract(model, images, pool, start))
            bar.update(len(images) * len(pool))
    return torch.cat(parts)


@torch.inference_mode()
def transform_views(model: DifferNet, y: Tensor) -> tuple[Tensor, Tensor]:
    """`DifferNet.transform` of many views: features (N, V, 768) -> z (N, V, 768), log_det (N, V)."""
    with autocast(model.preset.flow_precision, y.device):
        parts = [model.transform(rows) for rows in y.flatten(0, 1).split(FLOW_ROWS)]
    z, log_det = map(torch.cat, zip(*parts, strict=True))
    return z.view(y.shape), log_det.view(y.shape[:2])
