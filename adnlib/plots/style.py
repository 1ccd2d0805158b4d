"""The style of all figures, and colours that colour-blind readers can tell apart."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from IPython.display import display
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


def table(frame: pd.DataFrame, precision: int = 3) -> Styler:
    """A table for readers: no index, right-aligned numbers with `precision` digits, left-aligned words."""
    words = list(frame.select_dtypes(exclude="number").columns)
    style = frame.style.format(precision=precision, thousands=",", na_rep="–", escape="html").hide(axis="index")
    style = style.format_index(escape="html", axis="columns")
    left = [{"selector": "th, td", "props": "text-align: left"}]
    return style.set_table_styles({name: left for name in words}, overwrite=False)
