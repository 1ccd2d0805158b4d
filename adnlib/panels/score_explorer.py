"""Score explorer: the score of each image, what the model looks at, and the effect of any threshold."""

import html
import math
from collections import Counter
from pathlib import Path

import ipywidgets
import numpy as np
from matplotlib.colors import to_hex

from adnlib.imagesets.reading import ANOMALOUS, NORMAL
from adnlib.panels.instruments import Chart, Dial, Dots, Drop
from adnlib.panels.latent_map import framed, plane, small_picture
from adnlib.panels.loaded_run import LoadedRun, by_category, choices, contact_sheet, load_run, runs_in
from adnlib.panels.own_picture import received
from adnlib.panels.panel import row
from adnlib.panels.score_pictures import (
    NAMES,
    cheapest_threshold,
    decisions,
    histogram_picture,
    images_picture,
    place_of,
    price_to_detect,
    ranks_picture,
    roc_picture,
    run_threshold,
    threshold_in_histogram,
    threshold_on_roc,
)
from adnlib.panels.selection import ImagePanel
from adnlib.panels.thresholds import Costs, cut_at, cuts, plain, spoken
from adnlib.panels.variants import detected_by_one, disagreement, family, most_disputed
from adnlib.panels.widgets import Thumbnails
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR

ALONE = "only one model detects it"
SHOWN = 60  # thumbnails, plus the worst miss and the worst false alarm; the slider reaches every image


class ScoreExplorer(ImagePanel):
    """Data set and run, the test images by score, an adjustable threshold, and the run's variants on the same image.

    The threshold of a run comes from normal validation images. A threshold chosen here has used the test set.
    """

    def __init__(self, root: Path | str):
        self.runs = by_category(runs_in(root))
        self.shown = ""  # the run; none if the first one cannot be shown
        self.ranks, self.alone = np.array([], int), list[int]()  # of the thumbnails; images that one model detects
        tip = "Runs on the same images, each with its own threshold"
        super().__init__(
            [images_picture, ranks_picture, histogram_picture, roc_picture],
            words=decisions,
            category=ipywidgets.Dropdown(options=list(self.runs), description="data set · category"),
            run=ipywidgets.Dropdown(options=[("", "")], description="run"),
            compare=ipywidgets.Dropdown(options=[("no other", ())], description="compare with", tooltip=tip),
            sort=ipywidgets.ToggleButtons(
                options=["score", "disagreement"],
                description="strip by",
                tooltip="Disagreement: the largest difference of the image's ranks in the compared runs",
                style={"button_width": "7rem"},
            ),
            rank=ipywidgets.IntSlider(1, 1, 1, description="image (rank by score)"),
            thumb=Thumbnails(label="Test images; blue: normal, orange: anomalous"),
            own=Drop(),
            plane=ipywidgets.Checkbox(False, description="map of the latent space", indent=False),
            map=Dots(colours=[to_hex(NORMAL_COLOUR), to_hex(ANOMALOUS_COLOUR)]),
            cut=Dial(label="threshold (a step: one image)", tip="Each step passes the score of one image"),
            threshold=ipywidgets.FloatText(1.0, description="threshold (mean of z²)"),
            miss=ipywidgets.BoundedFloatText(100, min=0, max=1e9, description="a miss costs (€)"),
            alarm=ipywidgets.BoundedFloatText(2, min=0, max=1e9, description="a false alarm costs (€)"),
            defects=ipywidgets.BoundedFloatText(10, min=0, max=1000, description="anomalous parts (per 1000)"),
            tries={
                "the worst miss": self.show_worst_miss,
                "the price of a miss": self.price,
                "models disagree most": lambda: self.next_of(most_disputed(self.compared)),
                ALONE: self.show_alone,
            },
        )

    @property
    def loaded(self) -> LoadedRun:
        return load_run(self.shown)

    @property
    def place(self) -> int:
        return place_of(self.shown, self.controls["rank"].value)

    def show(self, place: int) -> None:
        self.controls["rank"].value = self.rank_of(place)

    def rows(self):
        c = self.controls
        self.histogram = Chart(label="Histogram of the scores: drag the threshold")
        self.roc = Chart(label="ROC curve: drag the point of the threshold")
        self.images[2:] = self.histogram, self.roc
        for chart, threshold_at in ((self.histogram, threshold_in_histogram), (self.roc, threshold_on_roc)):
            chart.observe(lambda change, at=threshold_at: self.move_to(at(c["run"].value, change["new"])), "at")
        above = row(c["category"], c["run"], c["compare"], c["rank"], c["sort"], kind="controls")
        c["map"].observe(lambda change: self.look(change["new"]), "hover")
        strip, own = row(c["thumb"], kind="controls"), row(c["own"], c["plane"], kind="controls")
        self.about, self.remark, self.which = (ipywidgets.HTML() for _ in range(3))
        steer = row(c["cut"], c["threshold"], kind="controls")
        go = {"The run's threshold": self.promised, "Cheapest threshold": self.cheapest}
        jumps = [ipywidgets.Button(description=text, layout={"width": "auto"}) for text in go]
        for button, act in zip(jumps, go.values(), strict=True):
            button.on_click(lambda _, act=act: self.move_to(act()))
        costs = row(c["miss"], c["alarm"], c["defects"], *jumps, kind="controls")
        images, ranks, *charts = self.images
        pictures = row(images, ipywidgets.VBox([ranks, charts[0]]), charts[1], self.text)
        below = [own, c["map"], self.about, steer, costs, self.message, self.remark, self.named, pictures]
        return [above, self.tries, strip, self.which, *below]

    def promised(self) -> float:
        return run_threshold(self.shown)

    @property
    def costs(self) -> Costs:
        return Costs(*(self.controls[name].value for name in ("miss", "alarm", "defects")))

    def cheapest(self) -> float:
        return cheapest_threshold(self.shown, self.costs)

    def move_to(self, threshold: float) -> None:
        self.controls["threshold"].value = threshold

    def show_alone(self) -> None:
        """The next image that only one model detects, each at its own threshold."""
        self.move_to(self.promised())
        self.next_of(self.alone)

    def about_image(self) -> str:
        """Also which model is the only one that detects the image, and how often each model is."""
        text, runs = super().about_image(), self.compared
        alone = {place: next(run for run in runs if run.test["score"][place] > run.threshold) for place in self.alone}
        if self.controls["own"].value or self.place not in alone:
            return text
        tally = Counter(run.name for run in alone.values())
        counts = ", ".join(f"{name} {count}" for name, count in tally.items())
        return (
            f"{text} Only {alone[self.place].name} detects it, each model at its own threshold: image "
            f"{self.alone.index(self.place) + 1} of {len(alone)} ({counts})."
        )

    @property
    def compared(self) -> list[LoadedRun]:
        """The run and those that it is compared with."""
        return [load_run(folder) for folder in (self.controls["run"].value, *self.controls["compare"].value)]

    def show_worst_miss(self) -> None:
        """Shows it with the run's own threshold."""
        self.move_to(self.promised())
        self.show(self.worst_miss())

    def price(self) -> None:
        """Sets the price of a miss to the lowest one at which the cheapest threshold detects the image; of an image
        that the run's threshold does not miss, to that of the worst miss."""
        c, test = self.controls, self.loaded.test
        if c["own"].value or test["label"][self.place] != ANOMALOUS or test["score"][self.place] > self.promised():
            self.show(self.worst_miss())
        found = price_to_detect(self.shown, c["rank"].value, self.costs)
        if found < math.inf:
            c["miss"].value = found
            self.move_to(self.cheapest())

    def rank_of(self, place: int) -> int:
        return int(np.flatnonzero(self.loaded.order == place)[0]) + 1

    def follow(self, name):
        c = self.controls
        if name in (None, "category"):
            c["run"].options = choices(self.runs[c["category"].value])
        if name in (None, "category", "run"):
            place = self.place if name == "run" and self.shown else None
            self.show_run(c["run"].value, place)
        if name in (None, "category", "run", "compare", "sort"):
            self.fill_strip()
        if name == "thumb" and c["thumb"].value >= 0:
            c["rank"].value = int(self.ranks[c["thumb"].value])
        if name == "map":
            c["rank"].value = self.rank_of(c["map"].value)
        if name in ("category", "rank", "thumb", "map"):
            c["own"].value = b""
        if name in (None, "category", "run", "plane"):
            self.draw_map()
        if name in (None, "category", "run", "rank", "thumb", "map", "own"):
            self.remark.value = received(c["own"], self.loaded)
        c["map"].value = self.place
        test = load_run(c["run"].value).test
        label, score = test["label"].to_numpy(), test["score"].to_numpy()
        if name == "cut":
            c["threshold"].value = float(cuts(score)[c["cut"].value])
        c["cut"].value = cut_at(score, c["threshold"].value)
        threshold = c["threshold"].value
        c["cut"].words = f"{plain(threshold)}: {spoken(label, score, threshold)}"
        if not c["own"].value:
            called = "anomalous" if score[self.place] > threshold else "normal"
            c["cut"].words += f"; the shown image is called {called}"
        near = int(np.abs(self.ranks - c["rank"].value).argmin())
        c["thumb"].near = near
        c["thumb"].value = near if self.ranks[near] == c["rank"].value else -1  # not every image has a thumbnail

    def show_run(self, run: str, place: int | None) -> None:
        """Sets all controls for a run; `place`: the index of the image to keep, None: an image with a high score."""
        c, loaded = self.controls, load_run(run)
        self.shown, count, runs = run, len(loaded.order), self.runs[c["category"].value]
        chosen = c["compare"].label
        variants = tuple(str(one.run.folder) for one in family(run, runs) if str(one.run.folder) != run)
        others = [(label, (folder,)) for label, folder in choices(runs) if folder != run]
        c["compare"].options = [("its variants", variants), ("no other", ()), *others]
        if chosen in dict(c["compare"].options) and len(self.ranks):
            c["compare"].label = chosen
        c["rank"].max = count
        c["rank"].value = round(0.9 * count) if place is None else self.rank_of(place)
        c["cut"].max = loaded.test["score"].nunique()
        c["threshold"].value = self.promised()

    def fill_strip(self) -> None:
        """The thumbnails: a selection from the lowest score to the highest, or the most disputed images."""
        c, loaded = self.controls, self.loaded
        count = len(loaded.order)
        if c["sort"].value == "score":
            label = loaded.test["label"].to_numpy()[loaded.order]
            worst = [1 + label.argmax(), count - (label[::-1] == NORMAL).argmax()]  # lowest anomalous, highest normal
            evenly = np.linspace(1, count, min(count, SHOWN)).round()
            self.ranks = np.unique(np.append(evenly, worst)).astype(int)
            which = "at equal steps from the lowest score to the highest, with the worst miss and the worst false alarm"
        else:
            self.ranks = np.array([self.rank_of(place) for place in most_disputed(self.compared)[:SHOWN]])
            which = "those on which the models disagree most"
        self.alone = detected_by_one(self.compared)
        self.guides[ALONE].description = f"Try: {ALONE} ({len(self.alone)} images)"
        self.guides[ALONE].disabled = not self.alone
        words = f"{len(self.ranks)} of the {count} test images" + (f": {which}." if len(self.ranks) < count else ".")
        self.which.value = f"<p>{words}</p>"
        places = loaded.order[self.ranks - 1]
        samples = [loaded.dataset.test[int(place)] for place in places]
        c["thumb"].sheet = contact_sheet(tuple(s.path for s in samples), tuple(s.label for s in samples))
        apart = disagreement(self.compared)[places]
        rows = zip(self.ranks, loaded.test["score"][places], apart, samples, strict=True)
        c["thumb"].names = [
            f"rank {rank}, score {plain(score)}, {NAMES[sample.label]}, ranks differ by {100 * share:.0f} %"
            for rank, score, share, sample in rows
        ]

    def draw_map(self) -> None:
        """The test images in latent space, if the map is wanted."""
        dots, about, run = self.controls["map"], "", self.loaded
        dots.behind = points = []
        if self.controls["plane"].value:
            self.about.value = "<p role='status'>Computing z of all images …</p>"
            train, test, share = plane(run)
            dots.behind, points, outside = framed(train, test, run.dataset.test.labels)
            about = (
                f"{run.name}: the two directions of z, averaged over the views, in which normal training images vary "
                f"most (principal components with {100 * share[0]:.0f} and {100 * share[1]:.0f} % of their variance). "
                "Grey: training images, circles: normal, squares: anomalous test images. The axes show the range of "
                f"the normal images; {outside} test images outside of it are drawn at the edge. Hover or use the "
                "arrow keys to see an image, click or press Enter to choose it."
            )
        samples = zip(run.dataset.test, run.test["score"], strict=True)
        dots.names = [f"{one.path.name}, {NAMES[one.label]}, score {plain(score)}" for one, score in samples]
        dots.label = "Map of the test images in latent space"
        dots.points = [[*at, int(one.label)] for at, one in zip(points, run.dataset.test, strict=bool(points))]
        dots.hover = self.place
        self.look(dots.hover)
        self.about.value = f"<p>{html.escape(about)}</p>" if about else ""

    def look(self, place: int) -> None:
        """Shows the image of a point of the map."""
        if 0 <= place < len(self.controls["map"].points):
            self.controls["map"].picture = small_picture(self.loaded, place)
