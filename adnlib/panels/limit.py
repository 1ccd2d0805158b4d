"""The smallest visible defect: which sizes and opacities of a dot make each variant call an image anomalous."""

from collections.abc import Iterator

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from adnlib.panels.brush import moved, paint
from adnlib.panels.judging import scores
from adnlib.panels.loaded_run import LoadedRun
from adnlib.panels.pictures import sheet
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR

SIZES = (16.0, 8.0, 4.0, 2.0, 1.0)  # of the dot, in % of the side
OPACITIES = (0.1, 0.2, 0.4, 0.7, 1.0)  # the contrast of the dot, as a share of its colour's


def sweep(runs: list[LoadedRun], cleans: list[Tensor], dot: dict, angle: float, light: float) -> Iterator[np.ndarray]:
    """Scores divided by thresholds, (runs, sizes, opacities), with one more size each time; NaN: not judged yet.

    cleans: the image at the size of each run. dot: a stroke of one point, whose size and opacity are replaced.
    """
    found = np.full((len(runs), len(SIZES), len(OPACITIES)), np.nan)
    for row, size in enumerate(SIZES):
        for pixels in {run.size for run in runs}:
            rows = [k for k, run in enumerate(runs) if run.size == pixels]
            dots = [{**dot, "size": size / 100, "opacity": opacity} for opacity in OPACITIES]
            images = torch.stack([moved(paint(cleans[rows[0]], [one]), angle, light) for one in dots])
            for k, values in zip(rows, scores([runs[k].model for k in rows], images), strict=True):
                found[k, row] = values.numpy() / runs[k].threshold
        yield found


def limit_picture(runs: list[LoadedRun], ratios: np.ndarray) -> Figure:
    """A map for each variant: orange where the dot is seen, with score / threshold in each cell."""
    side, gap = 1.75, 0.45  # inches
    boxes = [(gap + 0.15 + k * (side + gap), 0.5, side, side) for k in range(len(runs))]
    figure = sheet(boxes[-1][0] + side + 0.1, side + 0.85, *boxes)
    for axis, run, values in zip(figure.axes, runs, ratios, strict=True):
        for (y, x), value in np.ndenumerate(values):
            if np.isfinite(value):
                colour = ANOMALOUS_COLOUR if value > 1 else NORMAL_COLOUR
                axis.fill_between([x - 0.5, x + 0.5], y - 0.5, y + 0.5, color=colour, alpha=0.6, linewidth=0)
                axis.text(x, y, f"{value:.1f}" if value < 99 else ">99", ha="center", va="center", fontsize=8)
        axis.set(xlim=(-0.5, len(OPACITIES) - 0.5), ylim=(len(SIZES) - 0.5, -0.5), xlabel="opacity")
        axis.set(xticks=range(len(OPACITIES)), yticks=range(len(SIZES)))
        axis.set_xticklabels([f"{opacity:g}" for opacity in OPACITIES])
        axis.set_yticklabels([f"{size:g}" for size in SIZES])
        axis.set_title(run.name, fontsize=10)
    figure.axes[0].set_ylabel("size (% of side)")
    return figure


def limit_in_words(runs: list[LoadedRun], ratios: np.ndarray) -> list[str]:
    """What `_limit` says of each variant, once for those with the same limit; ratios: (runs, sizes, opacities)."""
    found: dict[str, list[str]] = {}
    for run, values in zip(runs, ratios, strict=True):
        found.setdefault(_limit(values > 1), []).append(run.name)
    return [f"{'; '.join(names)}: {words}" for words, names in found.items()]


def _limit(seen: np.ndarray) -> str:
    """The smallest opaque dot and the faintest large one that are seen; seen: (sizes, opacities), the largest first."""
    whole, largest = seen[:, -1], seen[0]
    size = SIZES[int(np.flatnonzero(whole.cumprod())[-1])] if whole[0] else None
    opacity = OPACITIES[len(OPACITIES) - int(np.flatnonzero(largest[::-1].cumprod())[-1]) - 1] if largest[-1] else None
    if seen.all():
        return "the image is called anomalous whatever the dot is."
    if size is None:
        return f"not even an opaque dot of {SIZES[0]:g} % of the side is detected."
    return f"opaque dots are detected from {size:g} % of the side, dots of {SIZES[0]:g} % from opacity {opacity:g}."
