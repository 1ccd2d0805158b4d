"""A picture of the visitor's own: read as the training images were, and compared with them."""

import html
import tempfile
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from adnlib.differnet import DifferNet
from adnlib.engine.extraction import extract, features_of
from adnlib.errors import AdnError
from adnlib.inspection.scoring import model_input
from adnlib.panels.instruments import Drop
from adnlib.panels.loaded_run import AS_IT_IS, LoadedRun

FARTHEST = 1.25  # times as far as any validation image; measured: 95 % of anomalous images 1.1, other subjects 1.5


def own_image(file: bytes | memoryview, size: int) -> Tensor:
    """The content of an image file as uint8 (3, size, size), resized as in training. AdnError if it is no image."""
    return _read(bytes(file), size)


@lru_cache(maxsize=8)
def _read(file: bytes, size: int) -> Tensor:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "own picture"
        path.write_bytes(file)
        try:
            return model_input(path, size)
        except AdnError as error:
            raise AdnError(
                "This file is not a picture that can be read: choose a PNG, JPEG, BMP, TIFF or WebP file."
            ) from error


def distance(run: LoadedRun, image: Tensor) -> float:
    """How far the image uint8 (3, S, S) is from the nearest training image, in units of the largest such distance
    among the validation images.

    The distance is that of AlexNet's features without attention, each divided by its standard deviation over the
    training images.
    """
    model, train, scale, largest = run.once("nearest training images", lambda: _known(run))
    y = extract(model, image[None], AS_IT_IS)[:, 0]  # in the precision of the others
    return (_nearest(y, train, scale) / largest).item()


def unlike(run: LoadedRun, image: Tensor) -> str:
    """A sentence if the image is unlike all training images, else ""."""
    found = distance(run, image)
    if found <= FARTHEST:
        return ""
    return (
        f"This picture is unlike all training images, so the verdicts mean little: it is {found:.1f} times as far from "
        f"the nearest of them as any validation image is (the rule: more than {FARTHEST:g} times; measured with the "
        "features of AlexNet)."
    )


def _nearest(y: Tensor, train: Tensor, scale: Tensor) -> Tensor:
    """Features (B, 768) -> distances (B,) to the nearest of the training images."""
    return torch.cdist(y / scale, train / scale).amin(dim=1)


@torch.inference_mode()
def _known(run: LoadedRun) -> tuple[DifferNet, Tensor, Tensor, Tensor]:
    model = run.model
    if model.features.attention:
        model = DifferNet(preset=model.preset, weights=model.weights, seed=run.run.parameters["seed"]).eval()
    train, held_out = (features_of(model, part, AS_IT_IS)[:, 0] for part in (run.dataset.train, run.dataset.validation))
    scale = train.std(dim=0) + 1e-3 * train.std()
    return model, train, scale, _nearest(held_out, train, scale).max()


def received(drop: Drop, run: LoadedRun) -> str:
    """A remark on the picture that a `Drop` has received. AdnError if it is none, which is then forgotten."""
    if not drop.value:
        return ""
    try:
        sentence = unlike(run, own_image(drop.value, run.size))
    except AdnError:
        drop.value = b""
        raise
    return f'<p role="alert">{html.escape(sentence)}</p>' if sentence else ""
