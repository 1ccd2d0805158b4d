"""Paint a defect: draw on a normal image and watch how DifferNet and AttentDifferNet react."""

import hashlib
import html
import io
from itertools import count
from pathlib import Path

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from adnlib.imagesets.reading import NORMAL
from adnlib.panels.loaded_run import by_category, choices, heat_map, load_run, overlay, runs_in
from adnlib.panels.panel import Panel, row
from adnlib.panels.pictures import encode, sheet
from adnlib.panels.widgets import Easel
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR
from adnlib.views import View

# The brush for each kind of defect: size (% of the image side), colour, blur (% of the image side), opacity.
KINDS = {
    "scratch": (0.8, "#d8d8d8", 0.2, 1.0),
    "stain": (14.0, "#6b4423", 2.4, 0.6),
    "hole": (7.0, "#000000", 0.0, 1.0),
}


def paint(image: Tensor, strokes: list[dict]) -> Tensor:
    """An image uint8 (3, S, S) with strokes painted over it in order.

    A stroke has points [[x, y], …] from the upper left corner, size, colour "#rrggbb", blur and opacity. Points, size
    and blur are fractions of the side, so runs of different image sizes get the same defect.
    """
    side = image.shape[-1]
    painted = Image.fromarray(image.permute(1, 2, 0).numpy())
    for stroke in strokes:
        points, size = [(x * side, y * side) for x, y in stroke["points"]], stroke["size"] * side
        mask = Image.new("L", painted.size)
        pen = ImageDraw.Draw(mask)
        if len(points) > 1:
            pen.line(points, fill=255, width=max(1, round(size)), joint="curve")
        for x, y in (points[0], points[-1]):
            pen.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size / 2), fill=255)
        if stroke["blur"]:
            mask = mask.filter(ImageFilter.GaussianBlur(stroke["blur"] * side))
        mask = mask.point(lambda value, opacity=stroke["opacity"]: value * opacity)
        painted.paste(Image.new("RGB", painted.size, stroke["colour"]), mask=mask)
    return torch.from_numpy(np.array(painted)).permute(2, 0, 1)


def moved(image: Tensor, angle: float, brightness: float) -> Tensor:
    """The image, rotated counter-clockwise by `angle` degrees and multiplied by a brightness factor."""
    return View(angle, brightness=brightness)(image[None])[0]


def judge(run: str, image: Tensor) -> tuple[float, np.ndarray]:
    """Score and heat map (S, S) of an image uint8 (3, S, S)."""
    loaded = load_run(run)
    key = hashlib.sha256(image.numpy().tobytes()).digest()
    return loaded.once(key, lambda: (loaded.model.anomaly_score(image[None]).item(), heat_map(loaded.model, image)))


def judged(run: str, place: int, strokes: list[dict], angle: float, brightness: float):
    """Test image `place` of a run after painting and moving: image, score before, score after, heat map."""
    clean = load_run(run).image(place)
    image = moved(paint(clean, strokes), angle, brightness)
    return image, judge(run, clean)[0], *judge(run, image)


def verdict(run: str, place: int, strokes: list[dict], angle: float, brightness: float) -> str:
    """The verdict of a run in words."""
    loaded, (_, before, score, _) = load_run(run), judged(run, place, strokes, angle, brightness)
    called = "anomalous" if score > loaded.threshold else "normal"
    return f"{loaded.name}: score {before:.4g} originally, {score:.4g} now (threshold {loaded.threshold:.4g}): {called}"


def verdict_picture(run: str, place: int, strokes: list[dict], angle: float, brightness: float) -> Figure:
    """The heat map of the painted image, and below it the scores before and after painting on one axis."""
    loaded, (image, before, score, heat) = load_run(run), judged(run, place, strokes, angle, brightness)
    figure = sheet(2.55, 3.35, (0.1, 0.8, 2.35, 2.35), (0.1, 0.38, 2.35, 0.3))
    seen, scale = figure.axes
    seen.set_axis_off()
    seen.imshow(overlay(image, heat))
    called = "ANOMALOUS" if score > loaded.threshold else "normal"
    seen.set_title(f"{loaded.name}: {called}", fontsize=10, weight="bold")
    normal = loaded.test["score"][loaded.test["label"] == NORMAL]
    low, high = 0.8 * min(normal.min(), score, before), 1.25 * max(score, before, loaded.threshold)
    scale.axvspan(low, loaded.threshold, color=NORMAL_COLOUR, alpha=0.15)
    scale.axvspan(loaded.threshold, high, color=ANOMALOUS_COLOUR, alpha=0.25)
    scale.axvline(loaded.threshold, color="black", linestyle="--")
    scale.plot([before], [0.5], "o", color="black", fillstyle="none", markersize=8)
    scale.plot([score], [0.5], "o", color="black", markersize=8)
    scale.set(xscale="log", xlim=(low, high), ylim=(0, 1), yticks=[])
    scale.minorticks_off()
    scale.set_xticks([before, score] if abs(np.log(score / before)) > 0.4 else [score])
    scale.xaxis.set_major_formatter("{x:.3g}")
    scale.set_xlabel(f"score (ring: original); threshold {loaded.threshold:.3g}", fontsize=8)
    return figure


class Painter(Panel):
    """A normal test image to paint on, with brush controls, and the verdicts of two runs after every stroke."""

    def __init__(self, root: Path | str):
        self.root = Path(root)
        self.runs = by_category(runs_in(root))
        super().__init__(
            [self.first, self.second],
            words=self.verdicts,
            category=ipywidgets.Dropdown(options=list(self.runs), description="data set · category"),
            run=ipywidgets.Dropdown(options=[("", "")], description="left run"),
            other=ipywidgets.Dropdown(options=[("", "")], description="right run"),
            image=ipywidgets.IntSlider(1, 1, 1, description="normal image (number)", continuous_update=False),
            kind=ipywidgets.ToggleButtons(options=list(KINDS), description="defect", tooltip="Sets brush and colour"),
            size=ipywidgets.FloatSlider(
                0.8, min=0.4, max=24, step=0.2, description="brush size (% of side)", readout_format=".1f"
            ),
            colour=ipywidgets.ColorPicker(description="colour"),
            blur=ipywidgets.FloatSlider(
                0, min=0, max=5, step=0.1, description="blur (% of side)", readout_format=".1f"
            ),
            angle=ipywidgets.IntSlider(0, -180, 180, 5, description="rotation (degrees)"),
            brightness=ipywidgets.FloatSlider(1, min=0.3, max=1.7, step=0.05, description="brightness (factor)"),
            strokes=Easel(
                label="The image: paint with the mouse, or move with the arrow keys; space starts and ends a stroke"
            ),
        )

    def rows(self):
        c = self.controls
        self.undo, self.clear, self.save = (
            ipywidgets.Button(description=text, tooltip=tip)
            for text, tip in (
                ("Undo", "Remove the last stroke"),
                ("Clear", "Remove all strokes"),
                ("Save", "Save the image as a PNG file"),
            )
        )
        for button in (self.undo, self.clear, self.save):
            button.add_class(f"adn-{button.description.lower()}")
        self.undo.on_click(lambda _: setattr(c["strokes"], "value", c["strokes"].value[:-1]))
        self.clear.on_click(lambda _: setattr(c["strokes"], "value", []))
        self.save.on_click(self.write)
        self.saved = ipywidgets.HTML()
        choose = row(c["category"], c["run"], c["other"], c["image"], kind="controls")
        brush = row(c["kind"], c["size"], c["colour"], c["blur"], c["angle"], c["brightness"], kind="controls")
        buttons = row(self.undo, self.clear, self.save, self.saved, kind="controls")
        return [choose, brush, buttons, self.message, row(c["strokes"], *self.images), self.text]

    def follow(self, name):
        c = self.controls
        if name in (None, "category"):
            runs = self.runs[c["category"].value]
            c["run"].options = c["other"].options = choices(runs)
            attending = [str(run.folder) for run in runs if run.parameters["attention"]]
            c["other"].value = (attending or [str(runs[-1].folder)])[0]
        if name in (None, "kind"):
            c["size"].value, c["colour"].value, c["blur"].value, self.opacity = KINDS[c["kind"].value]
        easel, loaded = c["strokes"], load_run(c["run"].value)
        normal = np.flatnonzero(loaded.dataset.test.labels == NORMAL)
        c["image"].max = len(normal)
        if name in ("category", "image"):
            easel.value = []
        self.place = int(normal[c["image"].value - 1])
        easel.size = loaded.size
        size, blur = c["size"].value / 100, c["blur"].value / 100
        easel.brush = {"size": size, "colour": c["colour"].value, "blur": blur, "opacity": self.opacity}
        self.painted = paint(loaded.image(self.place), easel.value)
        easel.picture = encode(self.painted.permute(1, 2, 0).numpy())

    def first(self, run, image, strokes, angle, brightness):
        return verdict_picture(run, self.place, strokes, angle, brightness)

    def second(self, other, image, strokes, angle, brightness):
        return verdict_picture(other, self.place, strokes, angle, brightness)

    def verdicts(self, run, other, image, strokes, angle, brightness):
        words = (verdict(one, self.place, strokes, angle, brightness) for one in (run, other))
        return "".join(f"<p>{html.escape(sentence)}</p>" for sentence in words)

    def write(self, _=None) -> Path:
        """Saves the image as the models see it, under a new name in the folder of runs."""
        with self.in_words():
            folder = self.root / "painted"
            folder.mkdir(parents=True, exist_ok=True)
            names = (folder / f"painted{number:03d}.png" for number in count(1))
            path = next(name for name in names if not name.exists())
            image = moved(self.painted, self.controls["angle"].value, self.controls["brightness"].value)
            buffer = io.BytesIO()
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "png")
            path.write_bytes(buffer.getvalue())
            self.saved.value = html.escape(f"saved as {path}")
        return path
