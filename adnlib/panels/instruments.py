"""Widgets that steer a panel: a picture that can be dragged, and a slider whose value is a sentence."""

from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent
STYLE = (HERE / "instruments.css").read_text(encoding="utf-8")


class Chart(anywidget.AnyWidget):
    """A picture that reports where the mouse drags.

    value: a PNG; at: [x, y] of the pointer while its button is down, as shares of the picture from its upper left
    corner. label: its tooltip. Other controls have to do the same by keyboard.
    """

    _esm = (HERE / "chart.js").read_text(encoding="utf-8")
    _css = STYLE
    value = traitlets.Bytes().tag(sync=True)
    at = traitlets.List(traitlets.Float(), [0.5, 0.5]).tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)


class Dial(anywidget.AnyWidget):
    """A slider over whole numbers from 0 to `max` that shows and speaks a sentence, `words`, instead of its number."""

    _esm = (HERE / "dial.js").read_text(encoding="utf-8")
    _css = STYLE
    value = traitlets.Int(0).tag(sync=True)
    max = traitlets.Int(1).tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)  # its name
    tip = traitlets.Unicode().tag(sync=True)  # its tooltip


class Drop(anywidget.AnyWidget):
    """A place for the visitor's own picture: chosen, dropped or pasted. value: the content of its file, or b""."""

    _esm = (HERE / "drop.js").read_text(encoding="utf-8")
    _css = STYLE
    value = traitlets.Bytes().tag(sync=True, from_json=lambda value, _: bytes(value))  # arrives as a memoryview
    label = traitlets.Unicode("Your own picture: choose, drop or paste it").tag(sync=True)


class Dots(anywidget.AnyWidget):
    """Images as points of a map. Hovering or the arrow keys show an image, a click or Enter chooses it.

    points: [x, y, label] of each image, x and y from 0 to 1 from the upper left corner; behind: [x, y] of grey points;
    names: a text for each image; colours: by label. value: the index of the chosen image; hover: that of the image to
    be shown, for which the kernel sends `picture`. It is hidden without points.
    """

    _esm = (HERE / "dots.js").read_text(encoding="utf-8")
    _css = STYLE
    points = traitlets.List().tag(sync=True)
    behind = traitlets.List().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    colours = traitlets.List(traitlets.Unicode()).tag(sync=True)
    value = traitlets.Int(0).tag(sync=True)
    hover = traitlets.Int(-1).tag(sync=True)
    picture = traitlets.Bytes().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
