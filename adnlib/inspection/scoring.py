"""Scoring of any image with a finished run: a file, a PIL image, an array or a tensor.

The image is brought to the model's size exactly as in training. What the model was not made for is refused.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from adnlib.differnet import DifferNet, latent_score
from adnlib.engine.extraction import extract, transform_views
from adnlib.errors import AdnError
from adnlib.experiments.runs import Run, read_run
from adnlib.imagesets.reading import read_picture, to_rgb

FAR = 10.0  # times beyond every score of the run's own validation and test images


@dataclass(frozen=True)
class Score:
    """The score of one image. `remark` states why the score may be meaningless; "" if nothing is unusual."""

    value: float
    threshold: float
    remark: str = ""

    @property
    def anomalous(self) -> bool:
        """Whether the score is above the threshold."""
        return self.value > self.threshold


class Scorer:
    """The model of a finished run with its threshold: `score` judges one image.

    folder: the folder of the run. AdnError if it is missing or damaged.
    """

    def __init__(self, folder: Path | str):
        self.run: Run = read_run(folder)
        self.model: DifferNet = self.run.model()
        self.threshold: float = self.run.facts["metrics"]["threshold"]

    @cached_property
    def usual(self) -> tuple[float, float]:
        """The lowest and the highest score among the run's own validation and test images."""
        scores = self.run.scores["score"]
        return float(scores.min()), float(scores.max())

    @torch.inference_mode()
    def score(self, image: "Path | str | Image.Image | np.ndarray | Tensor") -> Score:
        """The score of one image of any size, see `model_input` for its forms. AdnError if it cannot be judged.

        A score that is far outside of all scores that the run has seen is returned with a remark. What cannot be
        detected: the order of the channels (OpenCV reads BGR, the model needs RGB), another camera or light, and an
        image that was already cropped, scaled or stretched in another way than the training images.
        """
        pixels = model_input(image, self.model.preset.image_size)
        y = extract(self.model, pixels[None], self.model.preset.views("test"))  # (1, V, 768)
        value = latent_score(transform_views(self.model, y)[0]).item()
        if not np.isfinite(value):
            raise AdnError("The image has no finite score: it is too different from the training images to be judged.")
        low, high = self.usual
        remark = ""
        if pixels.amin() == pixels.amax():
            remark = f"all pixels of the image have the value {pixels.amin().item()}"
        elif not low / FAR <= value <= high * FAR:
            remark = (
                f"the score is far outside of the scores of the run's own images ({low:.3g} to {high:.3g}): is this an "
                "image of the same kind, in RGB?"
            )
        return Score(value, self.threshold, remark)


def load(folder: Path | str) -> Scorer:
    """The model of the finished run in `folder`, for scoring: `adnlib.load(RUN).score("photo.png").anomalous`."""
    return Scorer(folder)


def model_input(image: "Path | str | Image.Image | np.ndarray | Tensor", size: int) -> Tensor:
    """One image in the form in which the model was trained: uint8 RGB (3, size, size), resized as in training.

    image: a file; a PIL image; an array (H, W, 3), (H, W, 1) or (H, W); or a tensor (3, H, W), (1, H, W) or (H, W).
    Arrays and tensors hold whole numbers from 0 to 255 or floats from 0 to 1. AdnError for anything else.
    """
    if isinstance(image, (str, Path)):
        picture = read_picture(Path(image))
    elif isinstance(image, Image.Image):
        try:
            picture = to_rgb(image.copy())
        except (ValueError, OSError) as error:
            raise AdnError(f"The PIL image cannot be used ({error}): pass it as RGB.") from error
    elif isinstance(image, Tensor):
        values = image.detach().cpu()
        picture = _from_array(np.asarray(values.movedim(0, -1) if values.ndim == 3 else values), "tensor", "(3, H, W)")
    elif isinstance(image, np.ndarray):
        picture = _from_array(image, "array", "(H, W, 3)")
    else:
        raise AdnError(
            f"A {type(image).__name__} is not an image: pass a file name, a PIL image, an array or a tensor."
        )
    if min(picture.size) < 2:
        raise AdnError(f"The image has {picture.height} x {picture.width} px: it is empty.")
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def _from_array(values: np.ndarray, kind: str, shape: str) -> Image.Image:
    """An RGB picture from an array (H, W, 3), (H, W, 1) or (H, W)."""
    given = values.shape if kind == "array" or values.ndim != 3 else (values.shape[-1], *values.shape[:-1])
    if values.ndim not in (2, 3) or values.ndim == 3 and values.shape[-1] not in (1, 3):
        raise AdnError(f"The {kind} has the shape {tuple(given)}: pass one image of the shape {shape}.")
    if not values.size:
        raise AdnError(f"The {kind} has the shape {tuple(given)}: it is empty.")
    if values.dtype.kind not in "biuf":
        raise AdnError(
            f"The {kind} has the type {values.dtype}: pass whole numbers from 0 to 255 or floats from 0 to 1."
        )
    if not np.isfinite(values).all():
        raise AdnError(f"The {kind} has values that are not finite: replace them before scoring.")
    low, high = values.min(), values.max()
    top = 1 if values.dtype.kind in "bf" else 255
    if low < 0 or high > top:
        hint = "divide by 255" if values.dtype.kind == "f" and low >= 0 and high <= 255 else "convert it first"
        raise AdnError(f"The {kind} has values from {low:g} to {high:g}, not from 0 to {top}: {hint}.")
    if values.dtype.kind in "iu" and 0 < high <= 1:
        raise AdnError(
            f"The {kind} has only the whole numbers 0 and 1: pass floats, or multiply by 255 before rounding."
        )
    scaled = np.round(values.astype(np.float64) * 255) if top == 1 else values
    channels = scaled.astype(np.uint8).reshape(*values.shape[:2], -1)
    return Image.fromarray(np.broadcast_to(channels, (*values.shape[:2], 3)).copy())
