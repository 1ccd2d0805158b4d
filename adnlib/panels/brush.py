"""A brush: defects painted on an image, and the image moved or lit in another way."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from adnlib.views import View

# The brush for each kind of defect: size (% of the image side), colour, blur (% of the image side), opacity.
KINDS = {
    "scratch": (0.8, "#d8d8d8", 0.2, 1.0),
    "stain": (14.0, "#6b4423", 2.4, 0.6),
    "hole": (7.0, "#000000", 0.0, 1.0),
}


def paint(image: Tensor, strokes: list[dict]) -> Tensor:
    """An image uint8 (3, S, S) with strokes painted over it in order.

    A stroke has points [[x, y], …] from the upper left corner, size, colour "#rrggbb", blur and opacity. Points, size
    and blur are fractions of the side, so runs of different image sizes get the same defect.
    """
    side = image.shape[-1]
    painted = Image.fromarray(image.permute(1, 2, 0).numpy())
    for stroke in strokes:
        points, size = [(x * side, y * side) for x, y in stroke["points"]], stroke["size"] * side
        mask = Image.new("L", painted.size)
        pen = ImageDraw.Draw(mask)
        if len(points) > 1:
            pen.line(points, fill=255, width=max(1, round(size)), joint="curve")
        for x, y in (points[0], points[-1]):
            pen.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size / 2), fill=255)
        if stroke["blur"]:
            mask = mask.filter(ImageFilter.GaussianBlur(stroke["blur"] * side))
        mask = mask.point(lambda value, opacity=stroke["opacity"]: value * opacity)
        painted.paste(Image.new("RGB", painted.size, stroke["colour"]), mask=mask)
    return torch.from_numpy(np.array(painted)).permute(2, 0, 1)


def moved(image: Tensor, angle: float, brightness: float) -> Tensor:
    """The image, rotated counter-clockwise by `angle` degrees and multiplied by a brightness factor."""
    return View(angle, brightness=brightness)(image[None])[0]
