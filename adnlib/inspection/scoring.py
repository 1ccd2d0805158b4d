"""Scoring of any image with a finished run: a file, a PIL image, an array or a tensor, one or an endless stream.

The image is brought to the model's size exactly as in training. What the model was not made for is refused.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from adnlib.calibration import APPEARANCE, RATE, Rule, appearance, drift, p_values, rule_for
from adnlib.differnet import DifferNet, latent_score
from adnlib.engine.extraction import extract, transform_views
from adnlib.errors import AdnError
from adnlib.experiments.runs import Run, read_run
from adnlib.imagesets.reading import read_picture, to_rgb

FAR = 10.0  # times beyond every score of the run's own images
NORMAL_IMAGES = 24  # training images that a map compares with

Picture = Path | str | Image.Image | np.ndarray | Tensor


@dataclass(frozen=True)
class Score:
    """The score of one image.

    p_value: the share of normal images, including this one, whose score is at least as high (adnlib.calibration).
    remark: why the score may be meaningless; "" if nothing is unusual. appearance: brightness, contrast and sharpness.
    map: (S, S) float32, where the features deviate from those of normal images, if it was asked for.
    """

    value: float
    p_value: float
    threshold: float
    remark: str = ""
    appearance: tuple[float, ...] = ()
    map: np.ndarray | None = field(default=None, repr=False, compare=False)

    @property
    def anomalous(self) -> bool:
        """Whether the score is above the threshold."""
        return self.value > self.threshold


class Scorer:
    """The model of a finished run with a calibrated threshold: `score` judges images.

    folder: the folder of the run. AdnError if it is missing or damaged. rate: the wanted share of false alarms; `rule`
    says what the run's calibration images can promise, `note` what limits the promise ("" if nothing does).
    """

    def __init__(self, folder: Path | str, rate: float = RATE):
        self.run: Run = read_run(folder)
        self.model: DifferNet = self.run.model()
        self.calibration: pd.DataFrame = self.run.calibration
        self.rule: Rule = rule_for(self.calibration["score"].to_numpy(), rate)
        self.threshold: float = self.rule.threshold

    @property
    def note(self) -> str:
        """One sentence if the calibration images also selected the epoch."""
        if self.run.calibrated:
            return ""
        return (
            "The threshold comes from the validation images, which also selected the epoch, so the rate of false "
            "alarms holds only approximately."
        )

    @cached_property
    def usual(self) -> tuple[float, float]:
        """The lowest and the highest score among the run's own images."""
        scores = self.run.scores["score"]
        return float(scores.min()), float(scores.max())

    @cached_property
    def normal(self) -> tuple[Tensor, Tensor]:
        """`normal_maps` of training images. AdnError if the run's data set is not on this machine."""
        from adnlib.explain.maps import normal_maps  # slow to import

        return normal_maps(self.model, self.run.dataset().train[:NORMAL_IMAGES].images(self.model.preset.image_size))

    @cached_property
    def map_limit(self) -> float:
        """The value that one in a thousand positions of the maps of normal validation images exceeds."""
        from adnlib.explain.maps import deviation_map

        images = self.run.dataset().validation[:NORMAL_IMAGES].images(self.model.preset.image_size)
        maps = deviation_map(self.model, images, self.normal, stretch=False)
        return float(np.quantile(maps.numpy(), 0.999))

    @overload
    def score(self, image: Picture, *, map: bool = False) -> Score: ...
    @overload
    def score(self, image: Iterable[Picture], *, map: bool = False) -> Iterator[Score]: ...
    def score(self, image: Picture | Iterable[Picture], *, map: bool = False) -> Score | Iterator[Score]:
        """The score of one image of any size, see `model_input` for its forms. AdnError if it cannot be judged.

        An iterable of images gives an iterator of their scores, one at a time, so that a camera may deliver frames
        without end. map: also compute the map, which needs the run's data set.
        A score that is far outside of all scores that the run has seen is returned with a remark. What cannot be
        detected: the order of the channels (OpenCV reads BGR, the model needs RGB), another camera or light (see
        `drift`), and an image that was already cropped, scaled or stretched in another way than the training images.
        """
        if isinstance(image, Iterable) and not isinstance(image, Picture):
            return (self._score(one, map) for one in image)
        return self._score(image, map)

    def _score(self, image: Picture, map: bool) -> Score:
        x = model_input(image, self.model.preset.image_size)[None]  # (1, 3, S, S)
        result = self.judge(x)[0]
        if not np.isfinite(result.value):
            raise AdnError("The image has no finite score: it is too different from the training images to be judged.")
        if not map:
            return result
        from adnlib.explain.maps import deviation_map

        return Score(**{**vars(result), "map": deviation_map(self.model, x, self.normal, stretch=False)[0].numpy()})

    @torch.inference_mode()
    def judge(self, x: Tensor) -> list[Score]:
        """The scores of a batch of `model_input`s: uint8 (B, 3, S, S)."""
        y = extract(self.model, x, self.model.preset.views("test"))  # (B, V, 768)
        values = latent_score(transform_views(self.model, y)[0]).double().cpu().numpy()
        p, looks = p_values(values, self.calibration["score"].to_numpy()), appearance(x)
        return [
            Score(float(value), float(p), self.threshold, self._remark(pixels, value), tuple(look))
            for value, p, pixels, look in zip(values, p, x, looks.tolist(), strict=True)
        ]

    def drift(self, scores: Iterable[Score]) -> list[str]:
        """Sentences on how a batch of scored images differs from the calibration images, see adnlib.calibration."""
        rows = [(score.value, *score.appearance) for score in scores]
        return drift(pd.DataFrame(rows, columns=["score", *APPEARANCE]), self.calibration)

    def _remark(self, pixels: Tensor, value: float) -> str:
        low, high = self.usual
        if pixels.amin() == pixels.amax():
            return f"all pixels of the image have the value {pixels.amin().item()}"
        if low / FAR <= value <= high * FAR:
            return ""
        return (
            f"the score is far outside of the scores of the run's own images ({low:.3g} to {high:.3g}): is this an "
            "image of the same kind, in RGB?"
        )


def load(folder: Path | str, rate: float = RATE) -> Scorer:
    """The model of the finished run in `folder`, for scoring: `adnlib.load(RUN).score("photo.png").anomalous`."""
    return Scorer(folder, rate)


def model_input(image: Picture, size: int) -> Tensor:
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
