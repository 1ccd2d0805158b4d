"""Views: transformed copies of an image. DifferNet trains on several and averages its score over several."""

from dataclasses import dataclass

import numpy as np
import torch
import torchvision.transforms.v2.functional as TF
from torch import Tensor

from adnlib.errors import AdnError


@dataclass(frozen=True)
class View:
    """Mirror left-right (or not), then turn counter-clockwise by `angle` degrees."""

    angle: float = 0.0
    mirror: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 3, H, W). Quarter turns are exact; others take the nearest pixel, with black corners,
        as torchvision's RandomRotation does in DifferNet's published code."""
        if self.mirror:
            images = images.flip(-1)
        if self.angle % 90 == 0 and images.shape[-1] == images.shape[-2]:
            return torch.rot90(images, int(self.angle // 90), (-2, -1)).contiguous()
        return TF.rotate(images, self.angle)

    def back(self, maps: Tensor) -> Tensor:
        """Turns maps that were made of this view, float (..., H, W), back onto the image; nan where the view had lost
        the image's corner."""
        if self.angle % 90 == 0 and maps.shape[-1] == maps.shape[-2]:
            maps = torch.rot90(maps, -int(self.angle // 90), (-2, -1))
        else:
            maps = TF.rotate(maps, -self.angle, fill=float("nan"))
        return maps.flip(-1) if self.mirror else maps


def quarter_turns(count: int) -> tuple[View, ...]:
    """The first `count` of the square's eight symmetries: four turns, then the same of the mirror image."""
    if not 1 <= count <= 8:
        raise AdnError(f"views={count} is out of range: a square has 8 symmetries, choose 1 to 8.")
    return tuple(View(90.0 * (k % 4), k >= 4) for k in range(count))


def random_turns(count: int, seed: int) -> tuple[View, ...]:
    """`count` turns by angles drawn uniformly from [-180, 180) degrees: DifferNet's views.

    Deviation: the published code draws angles anew for every image, unseeded; here all images share the seed's angles.
    """
    return tuple(View(float(angle)) for angle in np.random.default_rng(seed).uniform(-180, 180, count))
