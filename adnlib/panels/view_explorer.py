"""View explorer: the views of an image, their scores, and how many of them are enough."""

import html
from collections.abc import Iterator
from pathlib import Path

import ipywidgets
import numpy as np
import torch
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import LogLocator
from PIL import Image, ImageOps

from adnlib.panels.loaded_run import category_names, load_run, runs_in
from adnlib.panels.panel import Work, row
from adnlib.panels.pictures import WIDTH, Plate, encode, sheet
from adnlib.panels.selection import ImagePanel, distance
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR
from adnlib.views import View, quarter_turns, random_turns

TURNS = {"random angles": random_turns(64, seed=0), "quarter turns, mirrored": quarter_turns(8)}
OWN = "the run's own"  # views on which the run is scored
FIRST, CHUNK = 4, 16  # views before the first update, and between two others
DRAWS = 1000
SURE = 0.95  # of the draws: enough views
SIDE = 58  # px, of a view in the mosaic


def views_of(run: str, turns: str) -> tuple[View, ...]:
    """The views that the control `turns` names."""
    return load_run(run).model.preset.views("test") if turns == OWN else TURNS[turns]


def score_view(run: str, index: int, view: View) -> float:
    """The score of a test image in one view: the mean of z^2 over dimensions."""
    loaded = load_run(run)
    image = loaded.image(index)[None]
    return loaded.once(("view", index, view), lambda: loaded.model.anomaly_score(image, (view,)).item())


def agreement(scores: np.ndarray, threshold: float, seed: int = 0) -> np.ndarray:
    """Scores of views (V,) -> the share (V,) of DRAWS random selections of 1, 2, …, V of them that give the same
    verdict as all."""
    draws = np.random.default_rng(seed).permuted(np.tile(scores, (DRAWS, 1)), axis=1)
    means = draws.cumsum(axis=1) / np.arange(1, len(scores) + 1)  # (DRAWS, V)
    shares = ((means > threshold) == (scores.mean() > threshold)).mean(axis=0)
    return np.append(shares[:-1], 1.0)  # all views are all views, however their mean is rounded


def mosaic_picture(run: str, image: int, turns: str, views: int, done: int) -> bytes:
    """The views scored so far, framed in the colour of their verdicts. Views that are not in use are pale."""
    loaded, total = load_run(run), len(views_of(run, turns))
    whole = Image.new("RGB", (8 * SIDE, -(-total // 8) * SIDE), "white")
    for place in range(done):
        tile = loaded.once(("tile", image, turns, place), lambda place=place: _tile(run, image, turns, place))
        whole.paste(tile[place >= views], (place % 8 * SIDE, place // 8 * SIDE))
    return encode(np.asarray(whole))


def _tile(run: str, image: int, turns: str, place: int) -> tuple[Image.Image, Image.Image]:
    """A framed view, in use and pale."""
    loaded, view = load_run(run), views_of(run, turns)[place]
    small = torch.nn.functional.interpolate(loaded.image(image - 1)[None].float(), SIDE - 6, mode="area")
    tile = Image.fromarray(view(small.round().to(torch.uint8))[0].permute(1, 2, 0).numpy())
    pale = Image.blend(tile, Image.new("RGB", tile.size, "white"), 0.6)
    colour = ANOMALOUS_COLOUR if score_view(run, image - 1, view) > loaded.threshold else NORMAL_COLOUR
    frame = tuple(round(255 * c) for c in colour)
    return ImageOps.expand(tile, 3, frame), ImageOps.expand(pale, 3, frame)


def mean_picture(run: str, image: int, turns: str, views: int, done: int) -> bytes:
    """The score of each view and the mean of the first views; below, how often a number of views gives the verdict of
    all."""
    loaded, total = load_run(run), len(views_of(run, turns))
    plate, mark, title, means = loaded.once(("means", image, turns, done), lambda: _means(run, image, turns, done))
    used = min(views, done)
    mark.set_data([used], [means[used - 1]])
    title.set_text(f"{used} of {total} views: score {means[used - 1]:.3g}")
    return plate.png()


def _means(run: str, image: int, turns: str, done: int) -> tuple[Plate, Line2D, Text, np.ndarray]:
    """The curve, what moves on it (the mark and the title), and the means of the first views (done,)."""
    loaded, shown = load_run(run), views_of(run, turns)
    scores = np.array([score_view(run, image - 1, view) for view in shown[:done]])
    counts = np.arange(1, done + 1)
    means = np.cumsum(scores) / counts
    figure = sheet(WIDTH, 4.5, (0.65, 1.75, WIDTH - 0.8, 2.3), (0.65, 0.45, WIDTH - 0.8, 0.95))
    axis, below = figure.axes
    axis.plot(counts, scores, ".", color="grey", label="one view")
    axis.plot(counts, means, color=NORMAL_COLOUR, linewidth=2, label="mean of the first views")
    axis.axhline(loaded.threshold, color="black", linestyle="--", label="the run's threshold")
    (mark,) = axis.plot([1], [means[0]], "o", color="black", markersize=8, label="mean of the views in use")
    axis.set(xlim=(0, len(shown) + 1), yscale="log", ylabel="anomaly score (mean of z²)")
    if done == len(shown):
        below.plot(counts, 100 * agreement(scores, loaded.threshold), color=NORMAL_COLOUR, linewidth=2)
    below.axhline(100 * SURE, color="black", linestyle=":")
    below.set(xlim=axis.get_xlim(), ylim=(0, 105), xlabel="views (count)")
    below.set_ylabel("same verdict\n(% of draws)", fontsize=8)
    axis.yaxis.set_major_formatter("{x:.3g}")
    axis.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axis.yaxis.set_minor_formatter("{x:.3g}")
    axis.tick_params(axis="y", which="minor", labelsize=7)
    title = axis.set_title("", fontsize=10)
    axis.legend(frameon=False, fontsize=8)
    return Plate(figure, mark, title), mark, title, means


def enough(run: str, image: int, turns: str, views: int, done: int) -> str:
    """Sentences on whether this number of views gives the verdict of all views."""
    loaded, shown = load_run(run), views_of(run, turns)
    total, own = len(shown), loaded.model.preset.views("test")
    known = len(set(own) & set(shown))
    if set(shown) == set(own):
        note = f"The run is scored on exactly these {total} views; its threshold is for their mean."
    else:
        among = f"{known} of the {total} views here {'is' if known == 1 else 'are'} among them"
        note = f"The run is scored on {len(own)} view{'s' * (len(own) > 1)}, and its threshold is for their mean. "
        note += f"{among if known else 'None of the views here is among them'}, so the threshold applies only roughly."
    note = f"<p>{html.escape(note)}</p>"
    note += "<p>Pale views are not in use.</p>" * (views < total)
    if done < total or total == 1:
        return note
    scores = np.array([score_view(run, image - 1, view) for view in shown])
    shares = agreement(scores, loaded.threshold)
    needed = 1 + int(np.flatnonzero(shares < SURE).max(initial=-1) + 1)
    where = f"from {needed} view{'s' * (needed > 1)} on" if needed < total else f"only with all {total} views"
    called = "anomalous" if scores.mean() > loaded.threshold else "normal"
    error = scores.std(ddof=1) / np.sqrt(views) * np.sqrt(1 - views / total)
    drawn = f"{views} views" if views > 1 else "a single view"
    result = (
        f"The mean of all {total} views calls the image {called}. So do {100 * shares[views - 1]:.1f} % of {DRAWS} "
        f"random draws of {drawn}, whose mean deviates by {error:.2g} from the mean of all (standard error). At least "
        f"{100 * SURE:g} % of the draws agree {where}."
    )
    return f"{note}<p>{result}</p>"


class ViewExplorer(ImagePanel):
    """A run, a test image, and the number of its views in use. Scoring runs in the background and can be stopped."""

    def __init__(self, root: Path | str):
        runs = runs_in(root)
        named = zip(runs, category_names(runs), strict=True)
        options = [(f"{r.variant} · {name} · seed {r.parameters['seed']}", str(r.folder)) for r, name in named]
        self.work = Work()
        super().__init__(
            [mosaic_picture, mean_picture],
            words=enough,
            run=ipywidgets.Dropdown(options=options, description="run"),
            image=ipywidgets.IntSlider(1, 1, 1, description="test image (number)", continuous_update=False),
            turns=ipywidgets.ToggleButtons(options=[*TURNS, OWN], description="views"),
            views=ipywidgets.IntSlider(4, 1, 64, description="views in use"),
            done=ipywidgets.IntProgress(0, 0, 64, description="views scored"),
            tries={"far from the threshold": self.far},
        )

    def rows(self):
        c = self.controls
        above = row(c["run"], c["image"], c["turns"], c["views"], c["done"], self.work, kind="controls")
        return [above, self.tries, self.message, self.named, row(*self.images), self.text]

    def far(self) -> None:
        self.show(int(distance(self.loaded).argmax()))

    def follow(self, name):
        c = self.controls
        if name in (None, "run"):
            loaded = load_run(c["run"].value)
            c["image"].max = len(loaded.dataset.test)
            c["image"].value = int(loaded.order[len(loaded.order) // 2]) + 1
            c["turns"].value = next(turns for turns in TURNS if turns.startswith(loaded.run.facts["preset"]["turns"]))
        if name in (None, "run", "image", "turns"):
            views = views_of(c["run"].value, c["turns"].value)
            c["views"].max = c["done"].max = len(views)
            if name != "image":
                c["views"].value = min(4, len(views))
            if name is None:  # readers without a kernel see all views
                c["done"].value = len(views)
            else:
                self.start()

    def start(self) -> None:
        """Scores the first views immediately and the others in the background."""
        c = self.controls
        c["done"].value = min(FIRST, c["done"].max)
        self.work.run(self.score())

    def score(self) -> Iterator[None]:
        c = self.controls
        run, index = c["run"].value, c["image"].value - 1
        views = views_of(run, c["turns"].value)
        for count, view in enumerate(views, 1):
            score_view(run, index, view)
            yield
            if count % CHUNK == 0 or count == len(views):
                c["done"].value = count
