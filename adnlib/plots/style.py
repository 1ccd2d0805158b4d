"""The style of all figures, and colours that colour-blind readers can tell apart."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler

from adnlib.errors import printable

PALETTE = sns.color_palette("colorblind")
NORMAL_COLOUR, ANOMALOUS_COLOUR = PALETTE[0], PALETTE[1]
LINE_STYLES = ("-", "--", ":", "-.")
STYLE: dict = {
    **sns.axes_style("ticks"),
    "figure.dpi": 100,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a "$" in the name of a category is a dollar
}


def short_name(name: object, longest: int = 60) -> str:
    """The name of a category, a defect or a file for a figure: in one line, without its middle if it is too long.

    A space precedes "_" at its beginning, because matplotlib leaves such names out of a legend.
    """
    text = printable(str(name))
    if len(text) > longest:
        text = f"{text[: longest // 2]}…{text[-(longest // 2 - 1) :]}"
    return f" {text}" if text.startswith("_") else text


def ink(background) -> str:
    """Black or white, whichever has the larger contrast with a colour. The contrast is at least 4.5, which WCAG 2.2
    demands of text (https://www.w3.org/TR/WCAG22, "relative luminance" and "contrast ratio")."""
    rgb = np.array(to_rgb(background))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"


def ink_numbers(axis: Axes) -> None:
    """Gives each number in the cells of seaborn's heat map the ink for its cell."""
    (mesh,) = axis.collections
    values = np.ma.array(mesh.get_array()).compressed()  # without the empty cells, which have no number
    for text, value in zip(axis.texts, values, strict=True):
        text.set_color(ink(mesh.to_rgba(value)))


def show(figure: Figure, alt: str, weights: str = "imagenet") -> None:
    """Displays a figure in a notebook with its alternative text, and marks it if the weights are not ImageNet's."""
    warning = mark_weights(figure, weights)
    display(figure, metadata={"image/png": {"alt": f"{alt} {warning}".strip()}})
    plt.close(figure)


def mark_weights(figure: Figure, weights: str) -> str:
    """Writes under a figure that AlexNet's weights are not ImageNet's, and returns that sentence; "" if they are."""
    if weights == "imagenet":
        return ""
    warning = f"AlexNet with {weights} weights, not ImageNet's."
    figure.text(0.5, 0, warning, ha="center", va="top", color="firebrick", weight="bold")
    return warning


def table(frame: pd.DataFrame, precision: int = 3, digits: Mapping[str, int] | None = None) -> Styler:
    """A table for readers: no index, right-aligned numbers with `precision` digits, left-aligned words.

    digits: column -> another number of digits."""
    words = list(frame.select_dtypes(exclude="number").columns)
    style = frame.style.hide(axis="index")
    for name in frame.columns:
        places = (digits or {}).get(name, precision)
        style = style.format(subset=[name], precision=places, thousands=",", na_rep="–", escape="html")
    style = style.format_index(escape="html", axis="columns")
    left = [{"selector": "th, td", "props": "text-align: left"}]
    return style.set_table_styles({name: left for name in words}, overwrite=False)
