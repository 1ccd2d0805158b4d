"""Images for panels: figures as PNG bytes, drawn quickly."""

import io
import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from adnlib.errors import printable
from adnlib.plots import STYLE

WIDTH = 4.7  # of an image, in inches of 100 px: two fit side by side in 1024 px, one in half a screen
SIZES: dict = {"axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8}  # points
TITLE: dict = {"axes.titley": 1.0}  # a fixed position: computing it takes as long as the rest of the drawing
FAST_PNG = {"compress_level": 1}  # larger files, but the browser is on the same machine


def sheet(width: float, height: float, *boxes: tuple[float, float, float, float]) -> Figure:
    """A figure of `width` x `height` inches with axes at `boxes`, (left, bottom, width, height) in inches.

    Drawing is fast, because pyplot does not manage the figure and there is no layout and no cropping.
    """
    with plt.rc_context({**STYLE, **SIZES, **TITLE}):
        figure = Figure(figsize=(width, height), dpi=100)
        for left, bottom, across, up in boxes:
            figure.add_axes((left / width, bottom / height, across / width, up / height))
    return figure


class Plate:
    """A figure with few moving parts: `png` draws them over a stored copy of the rest, in a tenth of the time."""

    def __init__(self, figure: Figure, *moving: Artist):
        self.canvas, self.moving = FigureCanvasAgg(figure), moving
        for artist in moving:
            artist.set_animated(True)
        self.canvas.draw()
        self.rest = self.canvas.copy_from_bbox(figure.bbox)

    def png(self) -> "Drawing":
        self.canvas.restore_region(self.rest)
        for artist in self.moving:
            self.canvas.figure.draw_artist(artist)
        drawing = Drawing(encode(np.asarray(self.canvas.buffer_rgba())[..., :3]))
        drawing.words = titles(self.canvas.figure)
        return drawing


class Drawing(bytes):
    """PNG bytes with the titles of what they show."""

    words = ""


def titles(figure: Figure) -> str:
    """The titles of a figure's axes in one line, for the alternative text."""
    return "; ".join(" ".join(axis.get_title().split()) for axis in figure.axes if axis.get_title())


def encode(pixels: np.ndarray) -> bytes:
    """uint8 (H, W, 3) as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "png", **FAST_PNG)
    return buffer.getvalue()


def png(figure: Figure, cut: bool = False) -> bytes:
    """A figure as PNG bytes. Figures of pyplot are cropped to their content and closed; cut: crop others too."""
    buffer = io.BytesIO()
    pyplots = plt.fignum_exists(getattr(figure, "number", -1))
    figure.savefig(buffer, format="png", bbox_inches="tight" if cut or pyplots else None, pil_kwargs=FAST_PNG)
    if pyplots:
        plt.close(figure)
    return buffer.getvalue()


def sentence(text: str) -> Figure:
    """An image of a sentence, for a panel that has nothing to draw."""
    lines = textwrap.wrap(printable(text), 60)  # matplotlib's own wrapping reads formulas in any text
    figure = sheet(WIDTH, max(1.2, 0.2 * len(lines)))
    figure.text(0.02, 0.5, "\n".join(lines), va="center", fontsize=10, parse_math=False)
    return figure
