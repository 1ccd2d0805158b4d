"""Widgets that ipywidgets does not have, made with anywidget. The JavaScript files are in this folder."""

from pathlib import Path

import anywidget
import traitlets

HERE = Path(__file__).parent


class Frame(anywidget.AnyWidget):
    """An invisible widget that adds accessible names, tooltips, alternative texts and the style to its panel.

    It marks the images as old while new ones are computed, and says when the kernel has ended.
    """

    _esm = (HERE / "frame.js").read_text(encoding="utf-8")
    _css = (HERE / "panel.css").read_text(encoding="utf-8")
    alt = traitlets.Unicode().tag(sync=True)  # alternative text of all images together
    alts = traitlets.List(traitlets.Unicode()).tag(sync=True)  # of each image; "": `alt`
    busy = traitlets.Bool().tag(sync=True)  # whether images are being computed
    image = traitlets.Unicode().tag(sync=True)  # name of the chosen image, for the page's address
    asked = traitlets.Unicode().tag(sync=True)  # name of the image in the address of a page that is opened
    kind = traitlets.Unicode("panel").tag(sync=True)  # of the panel, for the names of saved images
    panel = traitlets.Unicode().tag(sync=True)  # the panel's id, which its still image carries


class Arrival(anywidget.AnyWidget):
    """An invisible widget that says when a page shows it."""

    _esm = "export default { render({ model }) { model.set('shown', true); model.save_changes(); } };"
    shown = traitlets.Bool().tag(sync=True)


class Thumbnails(anywidget.AnyWidget):
    """A strip of thumbnails; a click or the arrow keys select one.

    sheet: all thumbnails side by side in one JPEG or PNG; names: a text for each; value: the index of the selected one,
    -1: none; near: the index that is scrolled into view and where the arrow keys start.
    """

    _esm = (HERE / "thumbnails.js").read_text(encoding="utf-8")
    sheet = traitlets.Bytes().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    value = traitlets.Int(0).tag(sync=True)
    near = traitlets.Int(0).tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)  # its accessible name and tooltip


class Easel(anywidget.AnyWidget):
    """An image to paint on with the mouse, or with the arrow keys and the space bar.

    picture: a square PNG or JPEG; size: its side in px; brush: size, colour "#rrggbb", blur, opacity.
    value: the strokes so far, each {"points": [[x, y], …], **brush}; the browser adds each stroke when it is finished.
    Points, brush size and blur are fractions of the side. at: where the pen is. mark: where a cross is shown, or [].
    judged: how many strokes the verdicts on the page are about.
    A message {"download": name} with a PNG as its buffer is saved as a file by the browser.
    """

    _esm = (HERE / "easel.js").read_text(encoding="utf-8")
    picture = traitlets.Bytes().tag(sync=True)
    size = traitlets.Int(256).tag(sync=True)
    brush = traitlets.Dict().tag(sync=True)
    value = traitlets.List().tag(sync=True)
    at = traitlets.List(traitlets.Float(), [0.5, 0.5]).tag(sync=True)
    mark = traitlets.List(traitlets.Float()).tag(sync=True)
    judged = traitlets.Int(0).tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)  # its accessible name and tooltip
