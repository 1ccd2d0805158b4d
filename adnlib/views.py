"""Views: transformed copies of an image. DifferNet trains on several views and averages the score over several."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
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


@dataclass(frozen=True)
class SharedViews:
    """A pool of training views that all images share."""

    views: tuple[View, ...]

    def __len__(self) -> int:
        return len(self.views)

    def of(self, rows: Tensor) -> tuple[Callable[[Tensor], Tensor], ...]:
        """The views of the images `rows`, each a function of these images (B, 3, H, W)."""
        return self.views


@dataclass(frozen=True)
class OwnViews:
    """A pool of training views that are drawn for each image, as in DifferNet's published code.

    images, count: N images with V views each. turns: "random" angles, or "quarter" turns and mirror images, which the
    views take in turn.
    light: brightness, contrast and saturation; each factor is drawn from 1 - x to 1 + x. shift: share of the side by
    which an image is moved at most, in both directions. zoom: an image is scaled by 1 - zoom to 1 + zoom. Everything is
    drawn uniformly. The same seed gives the same views; those of an image do not depend on how many other images there
    are. What comes from outside of the image is black.
    """

    images: int
    count: int
    turns: str = "random"
    light: tuple[float, float, float] = (0.0, 0.0, 0.0)
    shift: float = 0.0
    zoom: float = 0.0
    seed: tuple[int, ...] = (0,)

    def __len__(self) -> int:
        return self.count

    @cached_property
    def draws(self) -> np.ndarray:
        """(N, V, 7) from -1 to 1: angle, brightness, contrast, saturation, shift down, shift across, zoom."""
        each = [np.random.default_rng([*self.seed, image]) for image in range(self.images)]
        return np.stack([rng.uniform(-1, 1, (self.count, 7)) for rng in each])

    def of(self, rows: Tensor) -> tuple[Callable[[Tensor], Tensor], ...]:
        """The views of the images `rows`, each a function of these images (B, 3, H, W)."""
        draws = torch.from_numpy(self.draws[rows.cpu().numpy()]).float()  # (B, V, 7)
        turns = quarter_turns(min(8, self.count)) if self.turns == "quarter" else (None,)
        return tuple(BatchView(self, turns[v % len(turns)], draw) for v, draw in enumerate(draws.unbind(1)))


@dataclass(frozen=True)
class BatchView:
    """One view of each image of a batch, from draws (B, 7); `turn` replaces the random angles."""

    pool: OwnViews
    turn: View | None
    draws: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> the same shape and type. Rotations use the nearest pixel, as `View` does."""
        angle, *light, down, across, zoom = self.draws.to(images.device, non_blocking=True).unbind(1)  # (B,) each
        if self.turn is not None:
            images, angle = self.turn(images), torch.zeros_like(angle)
        if self.turn is None or self.pool.shift or self.pool.zoom:
            moved = self.pool.shift * torch.stack([across, down], dim=1)
            images = turned(images, torch.pi * angle, moved, 1 + self.pool.zoom * zoom)
        for change, extent, draw in zip((brighter, contrasted, saturated), self.pool.light, light, strict=True):
            if extent:
                images = change(images, (1 + extent * draw)[:, None, None, None])
        return images


def turned(images: Tensor, angle: Tensor, moved: Tensor, scale: Tensor) -> Tensor:
    """Each image rotated counter-clockwise by its angle in radians (B,), moved by (B, 2) sides (right, down) and scaled
    (B,), in one operation: uint8 (B, 3, H, W) -> the same."""
    height, width = images.shape[-2:]
    cos, sin = angle.cos() / scale, angle.sin() / scale
    matrix = torch.stack(  # from an output pixel to the input pixel that it shows, both from -1 to 1
        [torch.stack([cos, -sin * height / width], dim=1), torch.stack([sin * width / height, cos], dim=1)], dim=1
    )
    offset = -(matrix @ (2 * moved)[:, :, None])
    with torch.autocast(images.device.type, enabled=False):
        grid = F.affine_grid(torch.cat([matrix, offset], dim=2), list(images.shape), align_corners=False)
        return F.grid_sample(images.float(), grid, mode="nearest", align_corners=False).to(images.dtype)


def blended(images: Tensor, others: Tensor | float, factor: Tensor) -> Tensor:
    """factor x images + (1 - factor) x others, cut to 0..255, as torchvision does for uint8; factor (B, 1, 1, 1)."""
    return (factor * images + (1 - factor) * others).clamp(0, 255).to(images.dtype)


def brighter(images: Tensor, factor: Tensor) -> Tensor:
    return blended(images, 0.0, factor)


def contrasted(images: Tensor, factor: Tensor) -> Tensor:
    return blended(images, grey(images).mean(dim=(1, 2, 3), keepdim=True), factor)


def saturated(images: Tensor, factor: Tensor) -> Tensor:
    return blended(images, grey(images), factor)


def grey(images: Tensor) -> Tensor:
    """uint8 (B, 3, H, W) -> whole numbers as float (B, 1, H, W), with torchvision's weights of the colours."""
    red, green, blue = images.float().unbind(dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).floor()[:, None]
