"""Pictures of the score explorer: the image with its heat maps, histograms of scores, ROC curves."""

import html
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from sklearn.metrics import roc_curve
from torch import Tensor

from adnlib.calibration import percent
from adnlib.imagesets.reading import ANOMALOUS, NORMAL
from adnlib.panels.judging import heat_of, judge
from adnlib.panels.loaded_run import LoadedRun, load_run, overlay
from adnlib.panels.own_picture import own_image
from adnlib.panels.pictures import WIDTH, Plate, png, sheet
from adnlib.panels.thresholds import (
    Costs,
    cheapest_cut,
    confusion,
    cuts,
    nearest_cut,
    plain,
    price_of_miss,
    promised,
    short,
)
from adnlib.panels.variants import below, draw_ranks, p_value, share_below
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR, short_name

NAMES = {NORMAL: "normal", ANOMALOUS: "anomalous"}
COLOURS = {NORMAL: NORMAL_COLOUR, ANOMALOUS: ANOMALOUS_COLOUR}
HISTOGRAM = (WIDTH, 2.2), (0.6, 0.45, WIDTH - 0.7, 1.4)  # the size of the figure and the box of its axes, in inches
ROC = (3.1, 2.9), (0.55, 0.45, 2.4, 2.1)


def place_of(run: str, rank: int) -> int:
    """The index of the test image with `rank` (1: the lowest score)."""
    return int(load_run(run).order[rank - 1])


def seen(shown: list[LoadedRun], rank: int, own: bytes) -> list[tuple[Tensor, float]]:
    """The selected image, or the visitor's own picture, as each run sees it, and its score by that run."""
    if own:
        images = [own_image(own, run.size) for run in shown]
        return list(zip(images, judge(shown, images), strict=True))
    place = int(shown[0].order[rank - 1])
    return [(run.image(place), float(run.test["score"][place])) for run in shown]


def images_picture(run: str, compare: tuple[str, ...], rank: int, own: bytes) -> bytes:
    """The image, with an outlined defect if there is a mask, and the Grad-CAM map of each model."""
    key = ("images", *map(load_run, compare), rank, bytes(own))
    return load_run(run).once(key, lambda: png(_images(run, compare, rank, own)))


def _images(run: str, compare: tuple[str, ...], rank: int, own: bytes) -> Figure:
    shown = [load_run(run), *map(load_run, compare)]
    images = [image for image, _ in seen(shown, rank, own)]
    side, down = WIDTH / 2, 1 + len(shown) // 2  # inches, rows of two pictures
    cells = [divmod(cell, 2) for cell in range(1 + len(shown))]
    boxes = [(side * x + 0.03, (side + 0.4) * (down - 1 - y) + 0.03, side - 0.06, side - 0.06) for y, x in cells]
    figure = sheet(WIDTH, down * (side + 0.4), *boxes)
    for axis in figure.axes:
        axis.set_axis_off()
    figure.axes[0].imshow(images[0].permute(1, 2, 0).numpy())
    if own:
        figure.axes[0].set_title("your own picture", fontsize=9)
    else:
        _describe(figure.axes[0], shown[0], place_of(run, rank))
    for axis, one, image in zip(figure.axes[1:], shown, images, strict=True):
        axis.imshow(overlay(image, heat_of(one, image)))
        axis.set_title(f"{one.name}\nGrad-CAM (yellow: highest)", fontsize=9)
    return figure


def _describe(axis: Axes, run: LoadedRun, place: int) -> None:
    """The title of a test image, and the outline of its defect."""
    sample = run.dataset.test[place]
    mask = sample.mask if sample.label == ANOMALOUS else None
    if mask is not None:
        height, width = mask.shape
        across = np.linspace(0, run.size - 1, width)
        down = np.linspace(0, run.size - 1, height)
        axis.contour(across, down, mask.numpy(), [0.5], colors=["#ff40ff"], linewidths=1)
    kind = short_name(sample.defect.replace("_", " "), 32) if sample.label else "normal"
    kind += "" if mask is None else " (outlined)"
    axis.set_title(f"{kind}\n{short_name(sample.path.name, 32)}", fontsize=9)


def _bins(run: str) -> tuple[dict[int, np.ndarray], np.ndarray]:
    """log10 scores by label, and the edges of the histogram. The last bin collects the long tail of a flow."""
    test = load_run(run).test
    log = np.log10(test["score"].clip(1e-6, 1e30)).to_numpy()
    high = min(log.max(), np.quantile(log, 0.98) + 0.5)
    label = test["label"].to_numpy()
    return {k: log[label == k].clip(max=high) for k in NAMES}, np.linspace(log.min() - 0.02, high + 0.02, 40)


def _histogram(run: str) -> tuple[Plate, Text, Line2D, Line2D]:
    """The histogram and its moving parts: title, threshold, and the mark of the selected image."""
    loaded, (log, edges) = load_run(run), _bins(run)
    size, box = HISTOGRAM
    figure = sheet(*size, box)
    (axis,) = figure.axes
    for label, name in NAMES.items():
        counts, _ = np.histogram(log[label], edges)
        filled, words = label == NORMAL, f"{name} ({len(log[label])})"  # both filled would mix to a third colour
        alpha = 0.4 if filled else 1
        axis.stairs(counts, edges, fill=filled, alpha=alpha, color=COLOURS[label], linewidth=1.5, label=words)
    line = axis.axvline(0, color="black", linestyle="--", label="threshold (drag)")
    (mark,) = axis.plot([0], [0], "^", markersize=11, color="black", clip_on=False, label="this image")
    axis.set(xlabel="log₁₀ anomaly score (mean of z²)", ylabel="test images (count)", ylim=(0, None))
    axis.set(xlim=(edges[0], edges[-1]))
    axis.legend(frameon=False, fontsize=8, loc="upper right", handlelength=1.2)
    title = axis.set_title(loaded.name, loc="left", fontsize=10)
    return Plate(figure, title, line, mark), title, line, mark


def histogram_picture(run: str, rank: int, threshold: float, own: bytes) -> bytes:
    """The scores of all test images, the score of the selected one, and the threshold."""
    loaded = load_run(run)
    plate, title, line, mark = loaded.once("histogram", lambda: _histogram(run))
    low, high = mark.axes.get_xlim()
    ((_, score),) = seen([loaded], rank, own)
    sign = ">" if score > threshold else "≤"
    title.set_text(f"{loaded.name}: score {plain(score)} {sign} threshold {plain(threshold)}")
    line.set_xdata([np.clip(np.log10(max(threshold, 1e-300)), low, high)] * 2)
    mark.set_xdata([np.clip(np.log10(max(score, 1e-6)), low, high)])
    return plate.png()


def _ranks(shown: list[LoadedRun]) -> tuple[Plate, list[Line2D], list[Text], Line2D]:
    """The test images by rank, a row for each run, and what moves: the marks of the selected image, the words, and the
    threshold of the first run."""
    pitch = 0.62  # inches
    boxes = [(0.1, 0.32 + pitch * (len(shown) - 1 - k), WIDTH - 0.2, 0.3) for k in range(len(shown))]
    figure = sheet(WIDTH, pitch * len(shown) + 0.35, *boxes)
    marks, words, lines = [], [], []
    for axis, run in zip(figure.axes, shown, strict=True):
        lines.append(draw_ranks(axis, run))
        marks += axis.plot([0], [0.5], "o", color="black", markeredgecolor="white", markersize=10, clip_on=False)
        words.append(axis.set_title("", loc="left", fontsize=9))
    figure.axes[-1].set_xlabel("rank among the test images (orange: anomalous, line: threshold)", fontsize=8)
    return Plate(figure, lines[0], *marks, *words), marks, words, lines[0]


def ranks_picture(run: str, compare: tuple[str, ...], rank: int, threshold: float, own: bytes) -> bytes:
    """The selected image among the ranks of each run: ranks and p-values can be compared between models.

    The threshold is that of the first run; the others have their own.
    """
    shown = [load_run(run), *map(load_run, compare)]
    plate, marks, words, line = shown[0].once(("ranks", *shown), lambda: _ranks(shown))
    line.set_xdata([share_below(shown[0], threshold, above=True)] * 2)
    thresholds = [threshold, *(one.threshold for one in shown[1:])]
    rows = zip(shown, marks, words, seen(shown, rank, own), thresholds, strict=True)
    for one, mark, title, (_, score), limit in rows:
        called = "ANOMALOUS" if score > limit else "normal"
        title.set_text(
            f"{one.name}: {called}, rank {below(one, score) + 1} of {len(one.test)}, p = {p_value(one, score):.2g}"
        )
        mark.set_xdata([share_below(one, score)])
    return plate.png()


def _roc(run: str, compare: tuple[str, ...]) -> tuple[Plate, Line2D, Line2D]:
    """ROC curves and what moves: the point of the threshold, and the cheapest one. Hollow: the runs' own thresholds."""
    size, box = ROC
    figure = sheet(*size, box)
    (axis,) = figure.axes
    expected, low, high = promised(load_run(run).run.calibration["score"].to_numpy(), load_run(run).threshold)
    axis.axvspan(low, high, color="grey", alpha=0.2, linewidth=0, label=f"promised {percent(expected)}")
    for folder, style in zip((run, *compare), ("-", ":", "--", "-."), strict=False):
        loaded = load_run(folder)
        fpr, tpr, _ = roc_curve(loaded.test["label"], loaded.test["score"].rank())  # ranks allow infinite scores
        axis.plot(fpr, tpr, style, color="black", linewidth=1.5, label=loaded.name)
        axis.plot(*_point(folder, loaded.threshold), "o", color="black", markerfacecolor="none", markersize=9)
    # hollow, so that marks at one point stay visible
    (cheapest,) = axis.plot([0], [0], "D", color="black", markerfacecolor="none", markersize=12, label="cheapest")
    (dot,) = axis.plot([0], [0], "o", color=ANOMALOUS_COLOUR, markersize=6)
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axis.set(xlim=(-0.01, 1), ylim=(0, 1.02))
    axis.set_title("ROC curve; drag the dot", fontsize=10)
    axis.set(xlabel="false-positive rate (share of normal)", ylabel="recall (share of anomalous)")
    axis.legend(frameon=False, fontsize=8, loc="lower right")
    return Plate(figure, cheapest, dot), cheapest, dot


def _point(run: str, threshold: float) -> tuple[list[float], list[float]]:
    rates = confusion(*_label_and_score(run), threshold)
    return [rates["false-positive rate"]], [rates["recall"]]


def _label_and_score(run: str) -> tuple[np.ndarray, np.ndarray]:
    test = load_run(run).test
    return test["label"].to_numpy(), test["score"].to_numpy()


def run_threshold(run: str) -> float:
    """The threshold of the run, from its calibration images, with fewer digits."""
    loaded = load_run(run)
    return short(loaded.threshold, loaded.test["score"].to_numpy(), loaded.run.calibration["score"].to_numpy())


def cheapest_threshold(run: str, costs: Costs) -> float:
    """The threshold that is cheapest on the test images of a run."""
    label, score = _label_and_score(run)
    return float(cuts(score)[cheapest_cut(label, score, costs)])


def price_to_detect(run: str, rank: int, costs: Costs) -> float:
    """The lowest price of a miss, a number of three digits, at which the cheapest threshold detects an image."""
    label, score = _label_and_score(run)
    price = price_of_miss(label, score, score[place_of(run, rank)], costs)
    if price == math.inf:
        return price
    step = 10.0 ** (math.floor(math.log10(max(price, 1.0))) - 2)
    return round(step * (price // step + 1), 2)


def roc_picture(
    run: str, compare: tuple[str, ...], threshold: float, miss: float, alarm: float, defects: float
) -> bytes:
    """The ROC curves with the point of the threshold, the cheapest point, and the promise of the run's threshold."""
    plate, cheapest, dot = load_run(run).once(("roc", *map(load_run, compare)), lambda: _roc(run, compare))
    dot.set_data(*_point(run, threshold))
    cheapest.set_data(*_point(run, cheapest_threshold(run, Costs(miss, alarm, defects))))
    return plate.png()


def threshold_in_histogram(run: str, at: list[float]) -> float:
    """The threshold at a position of the histogram, [x, y] as shares of the picture."""
    (width, _), (left, _, across, _) = HISTOGRAM
    _, edges = _bins(run)
    share = np.clip((at[0] * width - left) / across, 0, 1)
    return float(f"{10 ** (edges[0] + share * (edges[-1] - edges[0])):.4g}")


def threshold_on_roc(run: str, at: list[float]) -> float:
    """The threshold of the point of the ROC curve nearest to a position, [x, y] as shares of the picture."""
    (width, height), (left, bottom, across, up) = ROC
    label, score = _label_and_score(run)
    point = (at[0] * width - left) / across * 1.01 - 0.01, ((1 - at[1]) * height - bottom) / up * 1.02
    return float(cuts(score)[nearest_cut(label, score, *point)])


def decisions(run: str, rank: int, own: bytes, threshold: float, miss: float, alarm: float, defects: float) -> str:
    """The confusion matrix at the threshold, what three thresholds cost and promise, and the price of a miss from which
    the selected image is detected, as HTML."""
    loaded, (label, score), costs = load_run(run), _label_and_score(run), Costs(miss, alarm, defects)
    c = confusion(label, score, threshold)
    rates = [f"{name} {c[name]:.1%}" for name in ("precision", "recall", "false-positive rate")]
    calibration, rows = loaded.run.calibration["score"].to_numpy(), ""
    chosen = {"chosen": threshold, "the run's": run_threshold(run), "cheapest": cheapest_threshold(run, costs)}
    for name, value in chosen.items():
        at = confusion(label, score, value)
        euros = costs.per_1000(at["false-positive rate"], at["recall"])
        expected, low, high = (percent(share) for share in promised(calibration, value))
        rows += (
            f"<tr><th scope='row'>{name}: {plain(value)}</th><td>{at['fp']}</td><td>{at['fn']}</td>"
            f"<td>{euros:,.0f} €</td><td>{expected} ({low} to {high})</td></tr>"
        )
    return (
        f"<table><caption>{html.escape(loaded.name)}, test images at threshold {plain(threshold)}</caption>"
        "<tr><th></th><th scope='col'>called normal</th><th scope='col'>called anomalous</th></tr>"
        f"<tr><th scope='row'>normal</th><td>{c['tn']}</td><td>{c['fp']}</td></tr>"
        f"<tr><th scope='row'>anomalous</th><td>{c['fn']}</td><td>{c['tp']}</td></tr></table>"
        f"<p>{', '.join(rates).replace('nan%', 'not defined')}</p>"
        "<table class='adn-costs'><caption>Costs, with the rates of the test images</caption>"
        "<tr><th>threshold</th><th scope='col'>false alarms</th><th scope='col'>misses</th>"
        "<th scope='col'>per 1000 parts</th><th scope='col'>promised false alarms (95 %)</th></tr>"
        f"{rows}</table><p>{_price(run, rank, own, costs)}</p>"
        "<p>Promised: the expected share of false alarms among new normal images, with its 95 % interval, from the "
        f"{len(calibration)} calibration images (grey band of the ROC curve: that of the run's threshold).</p>"
    )


def _price(run: str, rank: int, own: bytes, costs: Costs) -> str:
    """A sentence on the price of a miss from which the selected image is detected."""
    if own:
        return "Your own picture is not one of the test images, from which costs are computed."
    sample = load_run(run).dataset.test[place_of(run, rank)]
    name = html.escape(sample.path.name)
    if sample.label != ANOMALOUS:
        return f"{name} is normal, so it cannot be missed."
    if (price := price_to_detect(run, rank, costs)) == math.inf:
        return "Without anomalous parts there is nothing to miss."
    if price <= 0.01:
        return f"The cheapest threshold detects {name} at any price of a miss."
    return f"The cheapest threshold detects {name} if a miss costs at least <b>{plain(price)} €</b>."
