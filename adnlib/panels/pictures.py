"""Pictures for panels: figures as PNG bytes, drawn quickly."""

import io

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from adnlib.plots import STYLE

WIDTH = 4.7  # inches of a picture at 100 dots each: two stand side by side at 1024 px, one on half a screen
SIZES = {"axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8}  # points
TITLE = {"axes.titley": 1.0}  # not to be placed anew with every drawing, which takes as long as the rest
FAST_PNG = {"compress_level": 1}  # the way to the browser is short


def sheet(width: float, height: float, *boxes: tuple[float, float, float, float]) -> Figure:
    """A figure of `width` x `height` inches with axes at `boxes`, (left, bottom, width, height) in inches.

    It belongs to no list of pyplot's, and nothing is laid out or cut to size, so that drawing it is quick.
    """
    with plt.rc_context({**STYLE, **SIZES, **TITLE}):
        figure = Figure(figsize=(width, height), dpi=100)
        for left, bottom, across, up in boxes:
            figure.add_axes((left / width, bottom / height, across / width, up / height))
    return figure


class Plate:
    """A figure most of which stays: `png` draws what moves over a copy of the rest, in a tenth of the time."""

    def __init__(self, figure: Figure, *moving: Artist):
        self.canvas, self.moving = FigureCanvasAgg(figure), moving
        for artist in moving:
            artist.set_animated(True)
        self.canvas.draw()
        self.rest = self.canvas.copy_from_bbox(figure.bbox)

    def png(self) -> bytes:
        self.canvas.restore_region(self.rest)
        for artist in self.moving:
            self.canvas.figure.draw_artist(artist)
        return encode(np.asarray(self.canvas.buffer_rgba())[..., :3])


def encode(pixels: np.ndarray) -> bytes:
    """uint8 (H, W, 3) as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "png", **FAST_PNG)
    return buffer.getvalue()


def png(figure: Figure, cut: bool = False) -> bytes:
    """A figure as PNG bytes; one of pyplot's is closed. cut: to what is drawn on it, as pyplot's always are."""
    buffer = io.BytesIO()
    pyplots = plt.fignum_exists(getattr(figure, "number", -1))
    figure.savefig(buffer, format="png", bbox_inches="tight" if cut or pyplots else None, pil_kwargs=FAST_PNG)
    if pyplots:
        plt.close(figure)
    return buffer.getvalue()


def sentence(text: str) -> Figure:
    """A picture of words, for a panel that has nothing to draw."""
    figure = sheet(WIDTH, 1.2)
    figure.text(0.02, 0.5, text, wrap=True, va="center", fontsize=10)
    return figure
