"""Widgets that ipywidgets does not have; each is a few lines of JavaScript beside this file, sent by anywidget."""

from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent


class Frame(anywidget.AnyWidget):
    """Invisible: gives the controls of the panel around it names and tooltips, its pictures a text, and its style."""

    _esm = (HERE / "frame.js").read_text(encoding="utf-8")
    _css = (HERE / "panel.css").read_text(encoding="utf-8")
    alt = traitlets.Unicode().tag(sync=True)  # what the pictures show, in words


class Thumbnails(anywidget.AnyWidget):
    """Small pictures in a strip; a click or the arrow keys choose one.

    sheet: one JPEG or PNG of all, side by side; names: a text for each; value: the place of the chosen one, -1: none;
    near: the place that is in sight and that the arrow keys start from.
    """

    _esm = (HERE / "thumbnails.js").read_text(encoding="utf-8")
    sheet = traitlets.Bytes().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    value = traitlets.Int(0).tag(sync=True)
    near = traitlets.Int(0).tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)  # its accessible name and tooltip


class Easel(anywidget.AnyWidget):
    """A picture to paint on with the mouse, or with the arrow keys and the space bar.

    picture: PNG or JPEG, square; size: its side in px; brush: size, colour "#rrggbb", blur, opacity.
    value: the strokes so far, each {"points": [[x, y], …], **brush}; the browser adds one when it is finished.
    Points, and the brush's size and blur, are shares of the side.
    """

    _esm = (HERE / "easel.js").read_text(encoding="utf-8")
    picture = traitlets.Bytes().tag(sync=True)
    size = traitlets.Int(256).tag(sync=True)
    brush = traitlets.Dict().tag(sync=True)
    value = traitlets.List().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)  # its accessible name and tooltip
