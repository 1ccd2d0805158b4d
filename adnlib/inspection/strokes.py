"""Painting on an image, exactly as the live page of the site does it (site/live/pixels.js)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from adnlib.errors import AdnError


def painted(image: Tensor, strokes: Sequence[dict]) -> Tensor:
    """An image uint8 (3, S, S) with strokes painted over it in order; returns a new image.

    A stroke has points [[x, y], …] from the upper left corner, size, soft (the width of its edge), opacity in [0, 1]
    and colour [r, g, b] in 0..255, or None to restore the image (an eraser). Points, size and soft are shares of the
    side. A pixel whose centre is at the distance d from the line through the points takes the share
    opacity x clip((size / 2 - d) / soft + 1/2, 0, 1) of the colour. AdnError: a stroke without points or entries.
    """
    side = image.shape[-1]
    original = image.permute(1, 2, 0).numpy().astype(np.float64)
    pixels = original
    centres = np.stack(np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5), axis=-1)  # (S, S, 2): x, y
    for stroke in strokes:
        missing = {"points", "size", "soft", "opacity", "colour"} - stroke.keys()
        if missing or not len(stroke["points"]):
            raise AdnError(f"A stroke lacks {', '.join(sorted(missing)) or 'points'}: copy it from the live page.")
        points = np.array(stroke["points"], dtype=np.float64) * side
        d = np.min([_distance(centres, *ends) for ends in zip(points, [*points[1:], points[-1]], strict=True)], axis=0)
        ramp = max(1.0, stroke["soft"] * side)
        share = stroke["opacity"] * np.clip((stroke["size"] * side / 2 - d) / ramp + 0.5, 0, 1)
        colour = original if stroke["colour"] is None else np.array(stroke["colour"])
        pixels = np.floor(pixels + share[..., None] * (colour - pixels) + 0.5)
    return torch.from_numpy(pixels.astype(np.uint8)).permute(2, 0, 1).contiguous()


def _distance(centres: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The distance of positions (S, S, 2) from the line between two points."""
    length = ((b - a) ** 2).sum()
    t = np.clip((centres - a) @ (b - a) / length, 0, 1) if length else np.zeros(centres.shape[:2])
    return np.sqrt(((centres - a - t[..., None] * (b - a)) ** 2).sum(axis=-1))
