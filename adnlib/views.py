"""Views: transformed copies of an image. DifferNet trains on several views and averages the score over several."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from adnlib.errors import AdnError


@dataclass(frozen=True)
class View:
    """A transform: optionally mirrors left-right, rotates counter-clockwise by `angle` degrees, then multiplies
    brightness, contrast and saturation by their factors, as torchvision's `adjust_…` functions do."""

    angle: float = 0.0
    mirror: bool = False
    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0

    def __call__(self, images: Tensor) -> Tensor:
        """uint8, or float in [0, 1], (B, 3, H, W) -> (B, 3, H, W). Quarter turns are exact. Other rotations
        use the nearest pixel and leave black corners, like RandomRotation in DifferNet's published code."""
        if self.mirror:
            images = images.flip(-1)
        if self.angle % 90 == 0 and images.shape[-1] == images.shape[-2]:
            images = torch.rot90(images, int(self.angle // 90), (-2, -1)).contiguous()
        else:
            with torch.autocast(images.device.type, enabled=False):  # bfloat16 is off by up to two pixels
                images = transforms().rotate(images, self.angle)
        if self.brightness != 1:  # multiplied by an int, uint8 would overflow
            images = transforms().adjust_brightness(images, float(self.brightness))
        if self.contrast != 1:
            images = transforms().adjust_contrast(images, self.contrast)
        if self.saturation != 1:
            images = transforms().adjust_saturation(images, self.saturation)
        return images

    def back(self, maps: Tensor) -> Tensor:
        """Maps of this view, float (..., H, W), transformed back onto the image; nan where the view had lost a corner
        of the image."""
        if self.angle % 90 == 0 and maps.shape[-1] == maps.shape[-2]:
            maps = torch.rot90(maps, -int(self.angle // 90), (-2, -1))
        else:
            maps = transforms().rotate(maps, -self.angle, fill=float("nan"))
        return maps.flip(-1) if self.mirror else maps


def transforms() -> Any:
    """torchvision's functions on images, imported when they are first needed because that takes a second."""
    import torchvision.transforms.v2.functional

    return torchvision.transforms.v2.functional


def quarter_turns(count: int) -> tuple[View, ...]:
    """The first `count` of the square's eight symmetries: four rotations, then those of the mirror image."""
    if not 1 <= count <= 8:
        raise AdnError(f"views={count} is out of range: a square has 8 symmetries; choose 1 to 8.")
    return tuple(View(90.0 * (k % 4), k >= 4) for k in range(count))


def random_turns(count: int, seed: int) -> tuple[View, ...]:
    """DifferNet's views: `count` rotations by angles drawn uniformly from [-180, 180) degrees.

    Deviation: the published code draws new, unseeded angles for every image; here all images share the seed's angles.
    """
    return tuple(View(float(angle)) for angle in np.random.default_rng(seed).uniform(-180, 180, count))


def relit(
    views: tuple[View, ...], brightness: float, contrast: float, saturation: float, seed: int
) -> tuple[View, ...]:
    """The views with colour jitter: each view's factors are drawn uniformly from 1 - x to 1 + x, with x from 0 to 1.

    These are the ranges of torchvision's ColorJitter in DifferNet's published code, where they are zero by default.
    Deviations: brightness, contrast and saturation are always applied in this order, and all images share the seed's
    factors.
    """
    ranges = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for name, value in ranges.items():
        if not 0 <= value <= 1:
            raise AdnError(
                f"{name}={value} is out of range: factors are drawn from 1 - {name} to 1 + {name}; choose 0 to 1."
            )
    if not any(ranges.values()):
        return views
    draws = np.random.default_rng([seed, 1]).uniform(-1, 1, (len(views), 3))  # independent of random_turns
    factors = 1 + draws * list(ranges.values())  # (V, 3)
    return tuple(
        replace(view, brightness=b, contrast=c, saturation=s)
        for view, (b, c, s) in zip(views, factors.tolist(), strict=True)
    )
