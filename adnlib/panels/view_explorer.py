"""View explorer: the views of an image, their scores, and how many of them are enough."""

import html
from collections.abc import Iterator
from pathlib import Path

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from adnlib.panels.loaded_run import category_names, load_run, runs_in
from adnlib.panels.panel import Panel, Work, row
from adnlib.panels.pictures import WIDTH, encode, sheet
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR
from adnlib.views import View, quarter_turns, random_turns

TURNS = {"random angles": random_turns(64, seed=0), "quarter turns, mirrored": quarter_turns(8)}
CHUNK = 4  # views between two updates
DRAWS = 1000
SIDE = 58  # px, of a view in the mosaic


def score_view(run: str, index: int, view: View) -> float:
    """The score of a test image in one view: the mean of z^2 over dimensions."""
    loaded = load_run(run)
    image = loaded.image(index)[None]
    return loaded.once(("view", index, view), lambda: loaded.model.anomaly_score(image, (view,)).item())


def agreement(scores: np.ndarray, count: int, threshold: float, seed: int = 0) -> float:
    """The share of DRAWS random selections of `count` views that give the same verdict as all views; scores: (V,)."""
    rng = np.random.default_rng(seed)
    draws = rng.permuted(np.tile(scores, (DRAWS, 1)), axis=1)[:, :count].mean(axis=1)
    return float(((draws > threshold) == (scores.mean() > threshold)).mean())


def mosaic_picture(run: str, image: int, turns: str, views: int, done: int) -> bytes:
    """The views scored so far, framed in the colour of their verdicts. Views that are not in use are pale."""
    loaded, shown = load_run(run), TURNS[turns]
    small = torch.nn.functional.interpolate(loaded.image(image - 1)[None].float(), SIDE - 6, mode="area")
    small = small.round().to(torch.uint8)
    whole = Image.new("RGB", (8 * SIDE, -(-len(shown) // 8) * SIDE), "white")
    for place, view in enumerate(shown[:done]):
        score = score_view(run, image - 1, view)
        tile = Image.fromarray(view(small)[0].permute(1, 2, 0).numpy())
        if place >= views:
            tile = Image.blend(tile, Image.new("RGB", tile.size, "white"), 0.6)
        colour = ANOMALOUS_COLOUR if score > loaded.threshold else NORMAL_COLOUR
        framed = ImageOps.expand(tile, 3, tuple(round(255 * c) for c in colour))
        whole.paste(framed, (place % 8 * SIDE, place // 8 * SIDE))
    return encode(np.asarray(whole))


def mean_picture(run: str, image: int, turns: str, views: int, done: int) -> Figure:
    """The score of each view, and the mean of the first views as a function of their number."""
    loaded, total = load_run(run), len(TURNS[turns])
    scores = np.array([score_view(run, image - 1, view) for view in TURNS[turns][:done]])
    counts = np.arange(1, done + 1)
    figure = sheet(WIDTH, 3.1, (0.65, 0.45, WIDTH - 0.8, 2.15))
    (axis,) = figure.axes
    axis.plot(counts, scores, ".", color="grey", label="one view")
    axis.plot(counts, np.cumsum(scores) / counts, color=NORMAL_COLOUR, linewidth=2, label="mean of the first views")
    axis.axhline(loaded.threshold, color="black", linestyle="--", label="the run's threshold")
    if views <= done:
        axis.plot([views], [scores[:views].mean()], "o", color=ANOMALOUS_COLOUR, markersize=9)
    axis.set(xlim=(0, total + 1), yscale="log", xlabel="views (count)", ylabel="anomaly score (mean of z²)")
    axis.yaxis.set_major_formatter("{x:.3g}")
    axis.yaxis.set_minor_formatter("{x:.3g}")
    axis.tick_params(axis="y", which="minor", labelsize=7)
    used = scores[: min(views, done)]
    axis.set_title(f"{len(used)} of {total} views: score {used.mean():.3g}", fontsize=10)
    axis.legend(frameon=False, fontsize=8)
    return figure


def enough(run: str, image: int, turns: str, views: int, done: int) -> str:
    """Sentences on whether this number of views gives the verdict of all views."""
    loaded, total = load_run(run), len(TURNS[turns])
    preset = loaded.run.facts["preset"]
    note = f"This run was trained with {preset['turns']} turns and is scored on {preset['test_views']} views."
    if not set(TURNS[turns]) <= {*loaded.model.preset.views("train"), *loaded.model.preset.views("test")}:
        note += " The views here are different, so its threshold does not apply to their scores."
    note = f"<p>{html.escape(note)}</p>"
    if done < total:
        return note
    scores = np.array([score_view(run, image - 1, view) for view in TURNS[turns]])
    share = agreement(scores, views, loaded.threshold)
    called = "anomalous" if scores.mean() > loaded.threshold else "normal"
    error = scores.std(ddof=1) / np.sqrt(views) * np.sqrt(1 - views / total)
    result = f"The mean of all {total} views calls it {called}. So do {share:.1%} of {DRAWS} draws of {views} views"
    return f"{note}<p>{result}. Their mean deviates by {error:.2g} from the mean of all (standard error).</p>"


class ViewExplorer(Panel):
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
            turns=ipywidgets.ToggleButtons(options=list(TURNS), description="views"),
            views=ipywidgets.IntSlider(4, 1, 64, description="views in use"),
            done=ipywidgets.IntProgress(0, 0, 64, description="views scored"),
        )

    def rows(self):
        c = self.controls
        above = row(c["run"], c["image"], c["turns"], c["views"], c["done"], self.work, kind="controls")
        return [above, self.message, row(*self.images), self.text]

    def follow(self, name):
        c = self.controls
        if name in (None, "run"):
            loaded = load_run(c["run"].value)
            c["image"].max = len(loaded.dataset.test)
            c["image"].value = int(loaded.order[len(loaded.order) // 2]) + 1
            c["turns"].value = next(turns for turns in TURNS if turns.startswith(loaded.run.facts["preset"]["turns"]))
        if name in (None, "run", "image", "turns"):
            views = TURNS[c["turns"].value]
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
        c["done"].value = min(CHUNK, c["done"].max)
        self.work.run(self.score())

    def score(self) -> Iterator[None]:
        c = self.controls
        run, index, views = c["run"].value, c["image"].value - 1, TURNS[c["turns"].value]
        for count in range(CHUNK, len(views) + 1, CHUNK):
            for view in views[count - CHUNK : count]:
                score_view(run, index, view)
                yield
            c["done"].value = count
