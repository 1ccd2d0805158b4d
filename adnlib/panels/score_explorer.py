"""Score explorer: the score of each image, what the model looks at, and the effect of any threshold."""

from pathlib import Path

import ipywidgets
import numpy as np

from adnlib.imagesets.reading import NORMAL
from adnlib.panels.instruments import Chart, Dial
from adnlib.panels.loaded_run import by_category, choices, contact_sheet, load_run, runs_in
from adnlib.panels.panel import Panel, row
from adnlib.panels.score_pictures import (
    NAMES,
    decisions,
    histogram_picture,
    images_picture,
    other_histogram_picture,
    place_of,
    roc_picture,
    threshold_in_histogram,
    threshold_on_roc,
)
from adnlib.panels.thresholds import cut_at, cuts, plain, spoken
from adnlib.panels.widgets import Thumbnails

SHOWN = 60  # thumbnails, plus the worst miss and the worst false alarm; the slider reaches every image


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
            cut=Dial(label="threshold (a step: one image)", tip="Each step passes the score of one image"),
            threshold=ipywidgets.FloatText(1.0, description="threshold (mean of z²)"),
        )

    def rows(self):
        c = self.controls
        self.histogram = Chart(label="Histogram of the scores: drag the threshold")
        self.roc = Chart(label="ROC curve: drag the point of the threshold")
        self.images[1], self.images[3] = self.histogram, self.roc
        for chart, threshold_at in ((self.histogram, threshold_in_histogram), (self.roc, threshold_on_roc)):
            chart.observe(lambda change, at=threshold_at: self.move_to(at(c["run"].value, change["new"])), "at")
        above = row(c["category"], c["run"], c["compare"], c["rank"], kind="controls")
        strip = row(c["thumb"], kind="controls")
        steer = row(c["cut"], c["threshold"], kind="controls")
        return [above, strip, steer, self.message, row(*self.images, self.text)]

    def move_to(self, threshold: float) -> None:
        self.controls["threshold"].value = threshold

    def follow(self, name):
        c = self.controls
        if name in (None, "category"):
            c["run"].options = choices(self.runs[c["category"].value])
        if name in (None, "category", "run"):
            place = place_of(self.shown, c["rank"].value) if name == "run" else None
            self.show_run(c["run"].value, place)
        if name == "thumb" and c["thumb"].value >= 0:
            c["rank"].value = int(self.ranks[c["thumb"].value])
        test = load_run(c["run"].value).test
        label, score = test["label"].to_numpy(), test["score"].to_numpy()
        if name == "cut":
            c["threshold"].value = float(cuts(score)[c["cut"].value])
        c["cut"].value = cut_at(score, c["threshold"].value)
        c["cut"].words = f"{plain(c['threshold'].value)}: {spoken(label, score, c['threshold'].value)}"
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
        c["thumb"].names = [f"rank {rank}, score {plain(score)}, {label}" for rank, score, label in rows]
        c["cut"].max = loaded.test["score"].nunique()
        c["threshold"].value = loaded.threshold
