"""Widgets that steer a panel: a picture that can be dragged, and a slider whose value is a sentence."""

from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent
STYLE = (HERE / "instruments.css").read_text(encoding="utf-8")


class Chart(anywidget.AnyWidget):
    """A picture that reports where the mouse drags.

    value: a PNG; at: [x, y] of the pointer while its button is down, as shares of the picture from its upper left
    corner. label: its accessible name and tooltip. arrows: whether the arrow keys move the point, too; without them,
    another control has to do the same.
    """

    _esm = (HERE / "chart.js").read_text(encoding="utf-8")
    _css = STYLE
    value = traitlets.Bytes().tag(sync=True)
    at = traitlets.List(traitlets.Float(), [0.5, 0.5]).tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    arrows = traitlets.Bool(False).tag(sync=True)


class Dial(anywidget.AnyWidget):
    """A slider over whole numbers from 0 to `max` that shows and speaks a sentence, `words`, instead of its number."""

    _esm = (HERE / "dial.js").read_text(encoding="utf-8")
    _css = STYLE
    value = traitlets.Int(0).tag(sync=True)
    max = traitlets.Int(1).tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)  # its name
    tip = traitlets.Unicode().tag(sync=True)  # its tooltip
