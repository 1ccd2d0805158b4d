"""Paint a defect: draw on a normal image and watch how DifferNet and AttentDifferNet react."""

import html
import io
from collections.abc import Iterator
from pathlib import Path

import ipywidgets
import numpy as np
from PIL import Image
from torch import Tensor

from adnlib.imagesets.reading import NORMAL
from adnlib.panels.brush import KINDS, moved, paint
from adnlib.panels.instruments import Drop
from adnlib.panels.judging import heat_of, judge
from adnlib.panels.limit import OPACITIES, SIZES, limit_in_words, limit_picture, sweep
from adnlib.panels.loaded_run import LoadedRun, by_category, overlay, runs_in
from adnlib.panels.own_picture import own_image, received
from adnlib.panels.panel import Work, row
from adnlib.panels.pictures import Plate, encode, png, sheet
from adnlib.panels.selection import ImagePanel
from adnlib.panels.thresholds import plain
from adnlib.panels.variants import MOST, draw_ranks, family, family_choices, most_disputed, share_below, verdict_table
from adnlib.panels.widgets import Easel

TRIED = 12  # rows of the table of what has been tried
SIDE = 2.25  # of a heat map, in inches


class Painter(ImagePanel):
    """A normal test image to paint on, with brush controls, and the verdicts of all variants after every stroke.

    An anomalous image that is chosen in another panel is not shown here.
    """

    def __init__(self, root: Path | str):
        self.runs = by_category(runs_in(root))
        self.painted_on: dict = {}  # strokes by image
        self.last: tuple[list | None, list] = None, []  # the arguments and the result of `judged`
        self.found: list[str] = []  # what the last search for the limit has found
        self.history: dict[tuple, dict] = {}  # by image: the rows of `tried_table`
        super().__init__(
            [self.column(index) for index in range(MOST)],
            words=self.verdicts,
            category=ipywidgets.Dropdown(options=list(self.runs), description="data set · category"),
            run=ipywidgets.Dropdown(options=[("", "")], description="variants"),
            image=ipywidgets.IntSlider(1, 1, 1, description="normal image (number)", continuous_update=False),
            kind=ipywidgets.ToggleButtons(
                options=list(KINDS),
                description="defect",
                tooltip="Sets the whole brush",
                style={"button_width": "5.5rem"},
            ),
            size=ipywidgets.FloatSlider(
                0.8, min=0.4, max=24, step=0.2, description="brush size (% of side)", readout_format=".1f"
            ),
            colour=ipywidgets.ColorPicker(description="colour"),
            blur=ipywidgets.FloatSlider(
                0, min=0, max=5, step=0.1, description="blur (% of side)", readout_format=".1f"
            ),
            opacity=ipywidgets.FloatSlider(1, min=0.02, max=1, step=0.02, description="opacity (1: covers the image)"),
            angle=ipywidgets.IntSlider(0, -180, 180, 5, description="rotation (degrees)"),
            brightness=ipywidgets.FloatSlider(1, min=0.3, max=1.7, step=0.05, description="brightness (factor)"),
            strokes=Easel(label="The image to paint on"),
            own=Drop(),
            tries={
                "a long scratch": lambda: self.paint_one("scratch", [[0.2, 0.3], [0.8, 0.6]]),
                "a small hole": lambda: self.paint_one("hole", [[0.5, 0.45]]),
                "darken the clean image": lambda: self.move_clean(0, 0.7),
                "rotate the clean image": lambda: self.move_clean(45, 1),
                "the limit in the middle": lambda: self.limit_at([0.5, 0.5]),
                "the limit near the edge": lambda: self.limit_at([0.05, 0.5]),
            },
        )

    @property
    def loaded(self) -> LoadedRun:
        return self.family[0]

    @property
    def normal(self) -> np.ndarray:
        """The indices of the normal test images."""
        return np.flatnonzero(self.loaded.dataset.test.labels == NORMAL)

    @property
    def place(self) -> int:
        return int(self.normal[self.controls["image"].value - 1])

    def show(self, place: int) -> None:
        if place in self.normal:
            self.controls["image"].value = int(np.flatnonzero(self.normal == place)[0]) + 1

    def rows(self):
        c, self.buttons = self.controls, {}
        for name, text, tip, act in (
            ("undo", "Undo", "Remove the last stroke (Ctrl+Z in the image)", self.undo),
            ("clear", "Clear", "Remove all strokes", self.clear),
            ("save", "Save", "Download the image as a PNG file", self.save),
            ("limit", "Find the limit", "Try dots of many sizes and opacities where the pen is", self.find_limit),
            ("disputed", "Models disagree most", "The next normal image by difference of the ranks", self.dispute),
        ):
            self.buttons[name] = ipywidgets.Button(description=text, tooltip=tip, layout={"width": "auto"})
            self.buttons[name].add_class(f"adn-{name}")
            self.buttons[name].on_click(lambda _, act=act: act())
        choose = row(c["category"], c["run"], c["image"], self.buttons["disputed"], kind="controls")
        brush = row(*(c[name] for name in ("kind", "size", "colour", "blur", "opacity")), kind="controls")
        moving = row(c["angle"], c["brightness"], kind="controls")
        self.work, self.limit, self.remark = Work(), ipywidgets.Image(format="png"), ipywidgets.HTML()
        self.limits, self.tried = ipywidgets.HTML(), ipywidgets.HTML()
        buttons = row(*(self.buttons[name] for name in ("undo", "clear", "save", "limit")), self.work, kind="controls")
        pictures = row(c["strokes"], *self.images)
        tries = row(*list(self.guides.values())[:6], kind="tries")  # not those that choose an anomalous image
        above = [choose, brush, moving, tries, row(c["own"], kind="controls"), buttons, self.message, self.remark]
        return [*above, self.named, pictures, self.text, self.tried, row(self.limit), self.limits]

    def follow(self, name):
        c = self.controls
        easel = c["strokes"]
        if name in (None, "category"):
            c["run"].options = family_choices(self.runs[c["category"].value])
        if name in (None, "category", "run"):
            self.family = family(c["run"].value, self.runs[c["category"].value])
        if name in (None, "kind"):
            c["size"].value, c["colour"].value, c["blur"].value, c["opacity"].value = KINDS[c["kind"].value]
        loaded = self.family[0]
        c["image"].max = len(self.normal)
        if name in ("category", "image"):
            c["own"].value = b""
        if name not in ("strokes", "size", "opacity"):
            self.forget_limit()
        if name in (None, "category", "image", "run", "own"):
            self.remark.value = received(c["own"], loaded)
        key = c["category"].value, bytes(c["own"].value) or self.place
        if name == "strokes":
            self.painted_on[key] = easel.value
        elif name in ("category", "image", "own"):
            easel.value = self.painted_on.get(key, [])
        easel.size = loaded.size
        size, blur = c["size"].value / 100, c["blur"].value / 100
        easel.brush = {"size": size, "colour": c["colour"].value, "blur": blur, "opacity": c["opacity"].value}
        if name not in ("angle", "brightness"):
            self.painted = paint(self.clean(loaded), easel.value)
            easel.picture = encode(self.painted.permute(1, 2, 0).numpy())

    def redraw(self):
        """First the verdicts, which are faster than the heat maps."""
        try:
            if (text := self._new(self.verdicts)) is not None:
                self.text.value = text
        finally:
            self.controls["strokes"].judged = len(self.controls["strokes"].value)
        super().redraw()

    def paint_one(self, kind: str, points: list) -> None:
        """A single stroke of a kind of defect on the clean image."""
        c = self.controls
        c["angle"].value, c["brightness"].value, c["kind"].value = 0, 1, kind
        c["strokes"].value = [{**c["strokes"].brush, "points": points}]

    def move_clean(self, angle: int, brightness: float) -> None:
        self.clear()
        self.controls["angle"].value, self.controls["brightness"].value = angle, brightness

    def limit_at(self, place: list[float]) -> None:
        c = self.controls
        c["angle"].value, c["brightness"].value, c["kind"].value = 0, 1, "hole"
        c["strokes"].at = place
        self.find_limit()

    def undo(self) -> None:
        self.controls["strokes"].value = self.controls["strokes"].value[:-1]

    def clear(self) -> None:
        self.controls["strokes"].value = []

    def dispute(self) -> None:
        """Chooses the next image on which the variants disagree, beginning with the most disputed one."""
        self.next_of(most_disputed(self.family, NORMAL))

    def clean(self, run: LoadedRun) -> Tensor:
        """The image to paint on, at the size of a run."""
        own = self.controls["own"].value
        return own_image(own, run.size) if own else run.image(self.place)

    def judged(self, strokes: list[dict], angle: float, brightness: float) -> list[tuple[Tensor, float, float]]:
        """For each variant: the image as it is judged, its score, and the score of the clean image."""
        key = [self.family, self.place, self.controls["own"].value, strokes, angle, brightness]
        if self.last[0] != key:
            cleans = [self.clean(run) for run in self.family]
            done = {self.painted.shape[-1]: self.painted}
            for run, clean in zip(self.family, cleans, strict=True):
                if run.size not in done:
                    done[run.size] = paint(clean, strokes)
            images = [moved(done[run.size], angle, brightness) for run in self.family]
            pairs = zip(images, judge(self.family, images), judge(self.family, cleans), strict=True)
            self.last = key, list(pairs)
        return self.last[1]

    def find_limit(self) -> None:
        """Sweeps size and opacity of a dot where the pen is, and shows for each variant where it begins to see."""
        with self.in_words():
            self.work.run(self.limit_steps())

    def limit_steps(self) -> Iterator[None]:
        c, runs, place = self.controls, self.family, self.controls["strokes"].at
        dot, c["strokes"].mark = {**c["strokes"].brush, "points": [place]}, place
        at = f"at {100 * place[0]:.0f} % across, {100 * place[1]:.0f} % down"
        self.limits.value = f"<p role='status'>Judging {len(SIZES) * len(OPACITIES)} dots {at} …</p>"
        for ratios in sweep(runs, [self.clean(run) for run in runs], dot, c["angle"].value, c["brightness"].value):
            self.limit.value, self.limit.layout.display = png(limit_picture(runs, ratios)), None
            yield
        heading = f"Dots {at} (cross); numbers: score / threshold; orange: called anomalous."
        found, before = limit_in_words(runs, ratios), self.found
        self.found = [f"{at}: {sentence}" for sentence in found]
        sentences = [heading, *found, *(f"Before, {sentence}" for sentence in before)]
        self.limits.value = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)

    def forget_limit(self) -> None:
        """Removes what the sweep found on another image."""
        self.work.stop()
        self.limit.value, self.limit.layout.display, self.limits.value, self.found = b"", "none", "", []
        self.controls["strokes"].mark = []

    def column(self, index: int):
        """The function that draws one variant: the heat map, and its ranks before (ring) and now (dot)."""

        def draw(run, image, strokes, angle, brightness, own) -> bytes:
            if index >= len(self.family):
                return b""
            one, (seen, now, before) = self.family[index], self.judged(strokes, angle, brightness)[index]
            plate, title, picture, ring, dot = one.once("painter's plate", lambda: verdict_plate(one))
            title.set_text(f"{one.name}: {'ANOMALOUS' if now > one.threshold else 'normal'}")
            picture.set_data(overlay(seen, heat_of(one, seen)))
            ring.set_xdata([share_below(one, before)])
            dot.set_xdata([share_below(one, now)])
            return plate.png()

        return draw

    def verdicts(self, run, image, strokes, angle, brightness, own) -> str:
        _, now, before = zip(*self.judged(strokes, angle, brightness), strict=True)
        self.tried.value = self.tried_table(strokes, angle, brightness, now, before)
        return verdict_table(self.family, now, before)

    def tried_table(self, strokes: list[dict], angle: int, brightness: float, now: tuple, before: tuple) -> str:
        """What has been painted on this image so far, with score / threshold of all variants, as HTML.

        The same strokes with another rotation, another brightness, or both, have rows of their own, which follow the
        sliders.
        """
        image = bytes(self.controls["own"].value) or self.place
        tried = self.history.setdefault((tuple(self.family), image), {("[]", False, False): ("clean image", before)})
        turned = [f"rotated by {angle}°"] * bool(angle) + [f"brightness × {brightness:g}"] * (brightness != 1)
        key = str(strokes), angle != 0, brightness != 1
        tried[key] = ", ".join([in_words(strokes), *turned]), now
        names = "".join(f"<th scope='col'>{html.escape(run.name)}</th>" for run in self.family)
        rows = ""
        for at, (what, scores) in list(tried.items())[-TRIED:]:
            ratios = [plain(score / run.threshold) for run, score in zip(self.family, scores, strict=True)]
            now_shown = " aria-current='true'" * (at == key)
            rows += f"<tr{now_shown}><th scope='row'>{what}</th>{''.join(f'<td>{ratio}</td>' for ratio in ratios)}</tr>"
        caption = "Tried on this image: score / threshold (above 1: anomalous)"
        return f"<table class='adn-tried'><caption>{caption}</caption><tr><th>painted</th>{names}</tr>{rows}</table>"

    def save(self) -> None:
        """Sends the image as the models see it to the browser, which saves it as a file."""
        with self.in_words():
            angle, brightness = self.controls["angle"].value, self.controls["brightness"].value
            image = moved(self.painted, angle, brightness)
            buffer = io.BytesIO()
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "png")
            self.controls["strokes"].send({"download": "painted.png"}, buffers=[buffer.getvalue()])


def in_words(strokes: list[dict]) -> str:
    """The number of strokes, and the size of the last one."""
    if not strokes:
        return "clean image"
    last, count = strokes[-1], len(strokes)
    length = np.linalg.norm(np.diff(last["points"], axis=0), axis=1).sum()
    line = f"line {length:.0%} long, {last['size']:.1%} wide" if length else f"dot of {last['size']:.1%}"
    faint = f", opacity {last['opacity']:g}" * (last["opacity"] != 1)
    return f"{f'{count} strokes, last: ' if count > 1 else ''}{line}{faint}".replace("%", " %")


def verdict_plate(run: LoadedRun) -> tuple:
    """A heat map above the ranks of a run's test images, and what moves: title, picture, ring and dot."""
    figure = sheet(SIDE + 0.2, SIDE + 0.95, (0.1, 0.65, SIDE, SIDE), (0.1, 0.28, SIDE, 0.3))
    seen, ranks = figure.axes
    seen.set_axis_off()
    picture = seen.imshow(np.zeros((run.size, run.size, 3), np.uint8), interpolation="nearest")
    title = seen.set_title("", fontsize=10, weight="bold")
    draw_ranks(ranks, run)
    ranks.set_xlabel("rank among the test images (ring: before)", fontsize=8)
    (ring,) = ranks.plot([0], [0.5], "o", color="black", markerfacecolor="white", markersize=9, clip_on=False)
    (dot,) = ranks.plot([0], [0.5], "o", color="black", markersize=6, clip_on=False)
    return Plate(figure, title, picture, ring, dot), title, picture, ring, dot
