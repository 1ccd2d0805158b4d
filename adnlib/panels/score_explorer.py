"""Score explorer: the score of each image, what the model looks at, and the effect of any threshold."""

import html
from pathlib import Path

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from sklearn.metrics import roc_curve

from adnlib.imagesets.reading import ANOMALOUS, NORMAL
from adnlib.panels.loaded_run import by_category, choices, contact_sheet, load_run, overlay, runs_in
from adnlib.panels.panel import Panel, row
from adnlib.panels.pictures import WIDTH, Plate, png, sheet
from adnlib.panels.widgets import Thumbnails
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR, short_name

SHOWN = 60  # thumbnails, plus the worst miss and the worst false alarm; the slider reaches every image
NAMES = {NORMAL: "normal", ANOMALOUS: "anomalous"}
COLOURS = {NORMAL: NORMAL_COLOUR, ANOMALOUS: ANOMALOUS_COLOUR}


def confusion(label: np.ndarray, score: np.ndarray, threshold: float) -> dict[str, float]:
    """Counts and rates if every image with a score above the threshold is called anomalous; 0 / 0 is NaN.

    label, score: (N,).
    """
    called, anomalous = score > threshold, label == ANOMALOUS
    tp, fp = int((called & anomalous).sum()), int((called & ~anomalous).sum())
    fn, tn = int((~called & anomalous).sum()), int((~called & ~anomalous).sum())

    def share(part: int, whole: int) -> float:
        return part / whole if whole else float("nan")

    return {
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "precision": share(tp, tp + fp),
        "recall": share(tp, tp + fn),
        "false-positive rate": share(fp, fp + tn),
    }


def place_of(run: str, rank: int) -> int:
    """The index of the test image with `rank` (1: the lowest score)."""
    return int(load_run(run).order[rank - 1])


def images_picture(run: str, compare: str, rank: int) -> bytes:
    """The image, with an outlined defect if there is a mask, and the Grad-CAM map of each model."""
    key = ("images", compare and load_run(compare), rank)
    return load_run(run).once(key, lambda: png(_images(run, compare, rank)))


def _images(run: str, compare: str, rank: int) -> Figure:
    loaded, place = load_run(run), place_of(run, rank)
    sample, image = loaded.dataset.test[place], loaded.image(place)
    shown = [loaded, *([load_run(compare)] if compare else [])]
    side = WIDTH / (1 + len(shown))  # inches
    figure = sheet(
        WIDTH, side + 0.4, *((side * i + 0.03, 0.03, side - 0.06, side - 0.06) for i in range(1 + len(shown)))
    )
    for axis in figure.axes:
        axis.set_axis_off()
    figure.axes[0].imshow(image.permute(1, 2, 0).numpy())
    mask = sample.mask if sample.label == ANOMALOUS else None
    if mask is not None:
        height, width = mask.shape
        across = np.linspace(0, loaded.size - 1, width)
        down = np.linspace(0, loaded.size - 1, height)
        figure.axes[0].contour(across, down, mask.numpy(), [0.5], colors=["#ff40ff"], linewidths=1)
    kind = short_name(sample.defect.replace("_", " "), 32) if sample.label else "normal"
    kind += "" if mask is None else " (outlined)"
    figure.axes[0].set_title(f"{kind}\n{short_name(sample.path.name, 32)}", fontsize=9)
    for axis, one in zip(figure.axes[1:], shown, strict=True):
        axis.imshow(overlay(one.image(place), one.heat(place)))
        axis.set_title(f"{one.name}\nGrad-CAM (yellow: highest)", fontsize=9)
    return figure


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
    figure = sheet(WIDTH, 2.2, (0.6, 0.45, WIDTH - 0.7, 1.4))
    (axis,) = figure.axes
    for label, name in NAMES.items():
        counts, _ = np.histogram(log[label], edges)
        axis.stairs(counts, edges, fill=True, alpha=0.35, color=COLOURS[label], label=f"{name} ({len(log[label])})")
        axis.stairs(counts, edges, color=COLOURS[label], linestyle="-" if label else "--")
    line = axis.axvline(0, color="black", linestyle="--", label="threshold")
    (mark,) = axis.plot([0], [0], "^", markersize=11, color="black", clip_on=False, label="this image")
    axis.set(xlabel="log₁₀ anomaly score (mean of z²)", ylabel="test images (count)", ylim=(0, None))
    axis.set(xlim=(edges[0], edges[-1]))
    axis.legend(frameon=False, fontsize=8, loc="upper right", handlelength=1.2)
    title = axis.set_title(loaded.name, loc="left", fontsize=10)
    return Plate(figure, title, line, mark), title, line, mark


def histogram_picture(run: str, rank: int, threshold: float) -> bytes:
    """The scores of all test images, the score of the selected one, and the threshold."""
    return _scores_of(run, place_of(run, rank), threshold)


def other_histogram_picture(run: str, compare: str, rank: int) -> bytes:
    """The same image among the scores of the other run, with the threshold of that run."""
    return _scores_of(compare, place_of(run, rank), load_run(compare).threshold) if compare else b""


def _scores_of(run: str, place: int, threshold: float) -> bytes:
    loaded = load_run(run)
    plate, title, line, mark = loaded.once("histogram", lambda: _histogram(run))
    low, high = mark.axes.get_xlim()
    score = loaded.test["score"][place]
    sign = ">" if score > threshold else "≤"
    title.set_text(f"{loaded.name}: score {score:.3g} {sign} threshold {threshold:.4g}")
    line.set_xdata([np.log10(threshold)] * 2)
    mark.set_xdata([np.clip(np.log10(max(score, 1e-6)), low, high)])
    return plate.png()


def _roc(run: str, compare: str) -> tuple[Plate, Line2D]:
    """ROC curves and the moving point of the threshold. The point of the other run stays at its own threshold."""
    figure = sheet(3.1, 2.9, (0.55, 0.45, 2.4, 2.1))
    (axis,) = figure.axes
    for folder, style in ((run, "-"), (compare, ":")):
        if folder:
            loaded = load_run(folder)
            fpr, tpr, _ = roc_curve(loaded.test["label"], loaded.test["score"].rank())  # ranks allow infinite scores
            axis.plot(fpr, tpr, style, color="black", linewidth=1.5, label=loaded.name)
    if compare:
        axis.plot(*_point(compare, load_run(compare).threshold), "o", color="black", fillstyle="none")
    (dot,) = axis.plot([0], [0], "o", color=ANOMALOUS_COLOUR, markersize=9)
    axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    axis.set(xlim=(-0.01, 1), ylim=(0, 1.02))
    axis.set_title("ROC curve; dot: the threshold", fontsize=10)
    axis.set(xlabel="false-positive rate (share of normal)", ylabel="recall (share of anomalous)")
    axis.legend(frameon=False, fontsize=8, loc="lower right")
    return Plate(figure, dot), dot


def _point(run: str, threshold: float) -> tuple[list[float], list[float]]:
    test = load_run(run).test
    rates = confusion(test["label"].to_numpy(), test["score"].to_numpy(), threshold)
    return [rates["false-positive rate"]], [rates["recall"]]


def roc_picture(run: str, compare: str, threshold: float) -> bytes:
    """The ROC curve with the point of the threshold."""
    plate, dot = load_run(run).once(("roc", compare and load_run(compare)), lambda: _roc(run, compare))
    dot.set_data(*_point(run, threshold))
    return plate.png()


def decisions(run: str, threshold: float) -> str:
    """The confusion matrix and its rates as HTML."""
    loaded = load_run(run)
    c = confusion(loaded.test["label"].to_numpy(), loaded.test["score"].to_numpy(), threshold)
    rates = [f"{name} {c[name]:.1%}" for name in ("precision", "recall", "false-positive rate")]
    return (
        f"<table><caption>{html.escape(loaded.name)}, test images at threshold {threshold:.4g}</caption>"
        "<tr><th></th><th scope='col'>called normal</th><th scope='col'>called anomalous</th></tr>"
        f"<tr><th scope='row'>normal</th><td>{c['tn']}</td><td>{c['fp']}</td></tr>"
        f"<tr><th scope='row'>anomalous</th><td>{c['fn']}</td><td>{c['tp']}</td></tr></table>"
        f"<p>{', '.join(rates).replace('nan%', 'not defined')}</p>"
    )


class ScoreExplorer(Panel):
    """Data set and run, the test images by score, an adjustable threshold, and a second run on the same image.

    The threshold of a run comes from normal validation images. A threshold chosen here has used the test set.
    """

    def __init__(self, root: Path | str):
        self.runs = by_category(runs_in(root))
        tip = "A run on the same images, with its own threshold"
        super().__init__(
            [images_picture, histogram_picture, other_histogram_picture, roc_picture],
            words=decisions,
            category=ipywidgets.Dropdown(options=list(self.runs), description="data set · category"),
            run=ipywidgets.Dropdown(options=[("", "")], description="run"),
            compare=ipywidgets.Dropdown(options=[("no other", "")], description="compare with", tooltip=tip),
            rank=ipywidgets.IntSlider(1, 1, 1, description="image (rank by score)"),
            thumb=Thumbnails(label="Test images from the lowest score to the highest; blue: normal, orange: anomalous"),
            threshold=ipywidgets.FloatLogSlider(
                1.0, min=-6, max=30, step=0.002, description="threshold (mean of z²)", readout_format=".3g"
            ),
        )

    def rows(self):
        c = self.controls
        above = row(c["category"], c["run"], c["compare"], c["rank"], c["threshold"], kind="controls")
        strip = row(c["thumb"], kind="controls")
        return [above, strip, self.message, row(*self.images, self.text)]

    def follow(self, name):
        c = self.controls
        if name in (None, "category"):
            c["run"].options = choices(self.runs[c["category"].value])
        if name in (None, "category", "run"):
            place = place_of(self.shown, c["rank"].value) if name == "run" else None
            self.show_run(c["run"].value, place)
        if name == "thumb" and c["thumb"].value >= 0:
            c["rank"].value = int(self.ranks[c["thumb"].value])
        near = int(np.abs(self.ranks - c["rank"].value).argmin())
        c["thumb"].near = near
        c["thumb"].value = near if self.ranks[near] == c["rank"].value else -1  # not every image has a thumbnail

    def show_run(self, run: str, place: int | None) -> None:
        """Sets all controls for a run; `place`: the index of the image to keep, None: an image with a high score."""
        c, loaded = self.controls, load_run(run)
        self.shown, count = run, len(loaded.order)
        others = [pair for pair in choices(self.runs[c["category"].value]) if pair[1] != run]
        current = c["compare"].value
        c["compare"].options = [("no other", ""), *others]
        c["compare"].value = current if current in dict(others).values() else ""
        label = loaded.test["label"].to_numpy()[loaded.order]
        worst = [1 + label.argmax(), count - (label[::-1] == NORMAL).argmax()]  # lowest anomalous, highest normal image
        evenly = np.linspace(1, count, min(count, SHOWN)).round()
        self.ranks = np.unique(np.append(evenly, worst)).astype(int)
        samples = [loaded.dataset.test[int(loaded.order[r - 1])] for r in self.ranks]
        c["rank"].max = count
        c["rank"].value = round(0.9 * count) if place is None else int(np.flatnonzero(loaded.order == place)[0]) + 1
        c["thumb"].sheet = contact_sheet(tuple(s.path for s in samples), tuple(s.label for s in samples))
        scores = loaded.test["score"].to_numpy()[loaded.order]
        labels = [NAMES[sample.label] for sample in samples]
        rows = zip(self.ranks, scores[self.ranks - 1], labels, strict=True)
        c["thumb"].names = [f"rank {rank}, score {score:.3g}, {label}" for rank, score, label in rows]
        _, edges = _bins(run)
        low = min(edges[0], np.log10(loaded.threshold)) - 0.05
        c["threshold"].min = min(c["threshold"].min, low)  # a slider never accepts a max below its min
        c["threshold"].max = max(edges[-1], np.log10(loaded.threshold)) + 0.05
        c["threshold"].min = low
        c["threshold"].value = loaded.threshold
