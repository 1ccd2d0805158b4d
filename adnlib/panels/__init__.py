"""Panels: controls over a pure function that draws a picture.

The picture is a PNG in an Image widget, which follows a slider several times faster than a figure in an Output widget.
Where there is no kernel (GitHub, the HTML report) the picture of the first state stands in the panel's place.
"""

import base64
import io
from collections.abc import Callable

import ipywidgets
import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.figure import Figure

from adnlib.plots import mark_weights


def png(figure: Figure) -> bytes:
    """A figure as PNG bytes; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


class Panel(ipywidgets.VBox):
    """Controls in a row over the picture that `draw(**values)` returns as a figure.

    An error in `draw` appears in the panel in words and is raised too, so that tests see it. Where AlexNet has other
    `weights` than ImageNet's, the picture says so.
    """

    def __init__(self, draw: Callable[..., Figure], weights: str = "imagenet", **controls: ipywidgets.Widget):
        self.draw = draw
        self.weights = weights
        self.controls = controls
        self.message = ipywidgets.HTML()
        self.image = ipywidgets.Image(format="png")
        for control in controls.values():
            control.observe(self._redraw, names="value")
        row = ipywidgets.HBox(list(controls.values()), layout=ipywidgets.Layout(flex_flow="row wrap"))
        super().__init__([row, self.message, self.image], layout=ipywidgets.Layout(align_items="flex-start"))
        self._redraw()

    def _redraw(self, change=None) -> None:
        try:
            figure = self.draw(**{name: control.value for name, control in self.controls.items()})
            self.warning = mark_weights(figure, self.weights)
            self.image.value = png(figure)
            self.message.value = ""
        except Exception as error:
            self.message.value = f"<b>This state cannot be drawn:</b> {type(error).__name__}: {error}"
            raise


def show_panel(panel: Panel, alt: str) -> None:
    """Displays a panel, with its first picture and `alt` for readers without a kernel."""
    bundle = {**panel._repr_mimebundle_(), "image/png": base64.b64encode(panel.image.value).decode()}
    display(bundle, raw=True, metadata={"image/png": {"alt": f"{alt} {panel.warning}".strip()}})
