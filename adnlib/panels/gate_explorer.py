"""Gate explorer: the gates for an image, and what happens when some are forced to a value."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import StepPatch
from matplotlib.text import Text
from torch import Tensor, nn

from adnlib.differnet import DifferNet
from adnlib.errors import AdnError, check_choice
from adnlib.panels.judging import scores, seen
from adnlib.panels.loaded_run import category_names, load_run, overlay, runs_in
from adnlib.panels.panel import row
from adnlib.panels.pictures import WIDTH, Plate, sheet
from adnlib.panels.selection import ImagePanel
from adnlib.panels.thresholds import plain
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR

EVERYWHERE = "all of them"  # insertion points


@contextmanager
def forced(model: DifferNet, place: str, channels: Sequence[int], value: float) -> Iterator[None]:
    """Inside the block, the channel gates `channels` after layer `place` ("pool1", …) are `value`, at all scales."""
    from adnlib.explain.maps import LAYERS  # slow to import

    attention = model.features.attention
    modules = {name: attention[str(index)] for name, index in LAYERS.items() if str(index) in attention}
    check_choice("place", place, modules)
    module: Any = modules[place]
    rows = list(channels)

    def force(gate: Tensor) -> Tensor:
        """Gates (B, C, 1, 1) -> the same gates with some channels forced."""
        if rows and not 0 <= min(rows) <= max(rows) < gate.shape[1]:
            raise AdnError(f"{place} has the channels 0 to {gate.shape[1] - 1}: choose among them.")
        return gate.index_fill(1, torch.as_tensor(rows, dtype=torch.long, device=gate.device), value)

    if hasattr(module, "channel"):  # CBAM
        hook = module.channel.register_forward_hook(lambda _, inputs, gate: force(gate))
        try:
            yield
        finally:
            hook.remove()
    else:
        gate = module.gate
        module.gate = lambda x: force(gate(x))  # overrides the method for this instance
        try:
            yield
        finally:
            del module.gate


@contextmanager
def forced_all(model: DifferNet, channels: Sequence[tuple[str, int]], value: float) -> Iterator[None]:
    """`forced` for channels (layer, index) after several layers."""
    with ExitStack() as stack:
        for place in dict.fromkeys(place for place, _ in channels):
            stack.enter_context(forced(model, place, [channel for p, channel in channels if p == place], value))
        yield


@contextmanager
def without(model: DifferNet, place: str) -> Iterator[None]:
    """Inside the block, the attention after layer `place`, or EVERYWHERE, changes nothing."""
    from adnlib.explain.maps import LAYERS  # slow to import

    attention = model.features.attention
    keys = [str(index) for name, index in LAYERS.items() if place in (name, EVERYWHERE) and str(index) in attention]
    modules = {key: attention[key] for key in keys}
    attention.update({key: nn.Identity() for key in keys})
    try:
        yield
    finally:
        attention.update(modules)


def _gates(run: str, index: int) -> dict[str, dict[str, Any]]:
    from adnlib.explain.maps import gates  # slow to import

    loaded = load_run(run)

    def make():
        batch = gates(loaded.model, loaded.image(index)[None])
        return {
            place: {k: None if v is None else v[0].cpu().numpy() for k, v in one.items()}
            for place, one in batch.items()
        }

    return loaded.once(("gates", index), make)


def _sorted(run: str, index: int, place: str) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """The channel gates (C,) after a layer, or after all layers, in ascending order, and their channels."""
    gates = {name: gate["channel"] for name, gate in _gates(run, index).items() if place in (name, EVERYWHERE)}
    values = np.concatenate(list(gates.values()))
    channels = [(name, channel) for name, gate in gates.items() for channel in range(len(gate))]
    order = values.argsort(kind="stable")
    return values[order], [channels[i] for i in order]


def judge(run: str, index: int, channels: tuple[tuple[str, int], ...], value: float) -> tuple[float, np.ndarray]:
    """Score and heat map of a test image with these gates forced; without channels, of the unchanged model."""
    loaded, image = load_run(run), load_run(run).image(index)

    def make():
        with forced_all(loaded.model, channels, value):
            return seen([loaded.model], image)[0]

    return loaded.once(("forced", index, channels, value if channels else 0), make)


def score_without(run: str, index: int, place: str) -> float:
    """The score of a test image without the attention after a layer, or EVERYWHERE."""
    loaded = load_run(run)

    def make():
        with without(loaded.model, place):
            return scores([loaded.model], loaded.image(index)[None])[0].item()

    return loaded.once(("without", index, place), make)


def chosen(run: str, index: int, place: str, ranks: tuple[int, int], force: bool) -> tuple[tuple[str, int], ...]:
    """The channels of the gates with `ranks` (from, to; 1: the smallest), or none if `force` is False."""
    return tuple(_sorted(run, index, place)[1][ranks[0] - 1 : ranks[1]]) if force else ()


def bars_picture(
    run: str, image: int, other: int, place: str, ranks: tuple[int, int], force: bool, value: float
) -> bytes:
    """The channel gates from the smallest to the largest, with the forced ones in orange.

    The gates of the same channels for another image are dots.
    """
    key = ("bars", image, other, place)
    plate, forced_bars, title = load_run(run).once(key, lambda: _bars(run, image, other, place))
    first, last = ranks if force else (1, 0)
    forced_bars.set_data(np.full(last - first + 2, value), np.arange(first, last + 3) - 0.5)
    forced_bars.set_visible(force)
    name = f"{load_run(run).name}: gates after {place}"
    title.set_text(f"{name}, {last - first + 1} forced to {value:.2f}" if force else name)
    return plate.png()


def _bars(run: str, image: int, other: int, place: str) -> tuple[Plate, StepPatch, Text]:
    """The sorted gates, and what moves on them: the forced ones and the title."""
    gate, channels = _sorted(run, image - 1, place)
    figure = sheet(WIDTH, 2.4, (0.6, 0.45, WIDTH - 0.75, 1.6))
    (axis,) = figure.axes
    axis.stairs(gate, np.arange(len(gate) + 1) + 0.5, fill=True, color=NORMAL_COLOUR, alpha=0.6, label="unchanged")
    forced_bars = axis.stairs([0.0], [0, 1], fill=True, hatch="//", color=ANOMALOUS_COLOUR, alpha=0.6, label="forced")
    if other:
        gates = _gates(run, other - 1)
        values = np.array([gates[name]["channel"][channel] for name, channel in channels])
        label = f"image {other}: differs by {np.abs(values - gate).mean():.2g} (mean)"
        axis.plot(np.arange(1, len(gate) + 1), values, ".", markersize=3, color="black", label=label)
    axis.axhline(gate.mean(), color="black", linestyle=":", label=f"mean {gate.mean():.2f}")
    axis.set(xlim=(0.5, len(gate) + 0.5), ylim=(0, 1.15), xlabel="channel (rank of its gate)", ylabel="gate (0 to 1)")
    title = axis.set_title("", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    return Plate(figure, forced_bars, title), forced_bars, title


def places_picture(run: str, image: int) -> Figure:
    """CBAM's spatial gates over the image, and the range of the channel gates, at every insertion point."""
    loaded, modules = load_run(run), _gates(run, image - 1)
    side = WIDTH / 3
    boxes = [(side * i + 0.03, 0.35, side - 0.06, side - 0.06) for i in range(3)]
    figure = sheet(WIDTH, side + 0.75, *boxes)
    for axis, (place, gate) in zip(figure.axes, modules.items(), strict=False):
        axis.set_axis_off()
        axis.imshow(loaded.image(image - 1).permute(1, 2, 0).numpy(), extent=(0, 1, 0, 1))
        title = f"{place}: channels {gate['channel'].min():.2f}–{gate['channel'].max():.2f}"
        if gate["spatial"] is not None:
            low, high = gate["spatial"].min(), gate["spatial"].max()
            axis.imshow(gate["spatial"], extent=(0, 1, 0, 1), cmap="viridis", alpha=0.75)
            axis.text(0.5, -0.03, f"yellow {high:.2f}, dark {low:.2f}", ha="center", va="top", fontsize=8)
        else:
            axis.text(0.5, -0.03, "no spatial gate", ha="center", va="top", fontsize=8)
        axis.set_title(title, fontsize=8)
    figure.text(0.5, 0.97, "Gates at the three insertion points", ha="center", va="top", fontsize=10)
    return figure


def effect_picture(run: str, image: int, place: str, ranks: tuple[int, int], force: bool, value: float) -> bytes:
    """Score and heat map without and with the forced gates."""
    loaded, index = load_run(run), image - 1
    plate, shown, title = loaded.once(("effect", image), lambda: _effect(run, index))
    score, heat = judge(run, index, chosen(run, index, place, ranks, force), value)
    shown.set_data(overlay(loaded.image(index), heat))
    title.set_text(_verdict("forced" if force else "no gate forced", score, loaded.threshold))
    return plate.png()


def _effect(run: str, index: int) -> tuple[Plate, AxesImage, Text]:
    """The unchanged map, and what moves: the map beside it and its title."""
    loaded, side = load_run(run), WIDTH / 2
    figure = sheet(WIDTH, side + 0.4, *((side * i + 0.03, 0.03, side - 0.06, side - 0.06) for i in range(2)))
    score, heat = judge(run, index, (), 0.0)
    for axis in figure.axes:
        axis.set_axis_off()
        shown = axis.imshow(overlay(loaded.image(index), heat))
        title = axis.set_title(_verdict("unchanged", score, loaded.threshold), fontsize=10)
    return Plate(figure, shown, title), shown, title


def _verdict(words: str, score: float, threshold: float) -> str:
    sign = ">" if score > threshold else "≤"
    return f"{words}: score {score:.3g}\n{sign} threshold {threshold:.3g}"


def remaining(run: str, image: int, place: str, ranks: tuple[int, int], force: bool, value: float) -> str:
    """The score with the module, with forced gates and without the module, and the effect that remains, as HTML."""
    if not force:
        return "<p>Force some gates to see how much of the module's effect on the score remains.</p>"
    loaded, index = load_run(run), image - 1
    own, _ = judge(run, index, (), 0.0)
    forced_score, _ = judge(run, index, chosen(run, index, place, ranks, force), value)
    none = score_without(run, index, place)
    known = {"with its own gates": own, "with forced gates": forced_score, f"without the module ({place})": none}
    rows = "".join(
        f"<tr><th scope='row'>{name}</th><td>{plain(score)}</td><td>{plain(score / loaded.threshold)}</td>"
        f"<td>{'anomalous' if score > loaded.threshold else 'normal'}</td></tr>"
        for name, score in known.items()
    )
    flips = (own > loaded.threshold) != (forced_score > loaded.threshold)
    words = f"The verdict {'<b>flips</b>' if flips else 'does not flip'}."
    if own != none:
        with_, forced_, without_ = np.log(np.clip([own, forced_score, none], 1e-300, 1e300))
        words = (
            f"{100 * (forced_ - without_) / (with_ - without_):.3g} % of the effect on the score remains: "
            f"(forced − without) / (with − without), of the logarithms of the scores. {words}"
        )
    return (
        "<table class='adn-effect'><tr><th></th><th scope='col'>score</th><th scope='col'>score / threshold</th>"
        f"<th scope='col'>verdict</th></tr>{rows}</table><p>{words}</p>"
    )


class GateExplorer(ImagePanel):
    """A run with SE or CBAM, a test image, and gates to force: 0 switches a channel off, 1 passes it unchanged."""

    def __init__(self, root: Path | str):
        runs = [run for run in runs_in(root) if run.parameters["attention"] in ("se", "cbam")]
        if not runs:
            raise AdnError(
                f"There is no run with SE or CBAM in {root} yet: train one with `make run` or "
                "`adn train --attention se`, then execute this cell again."
            )
        named = zip(runs, category_names(runs), strict=True)
        options = [(f"{r.variant} · {name} · seed {r.parameters['seed']}", str(r.folder)) for r, name in named]
        tip = "The range of gates to force; 1 is the smallest"
        super().__init__(
            [bars_picture, effect_picture, places_picture],
            run=ipywidgets.Dropdown(options=options, description="run"),
            image=ipywidgets.IntSlider(1, 1, 1, description="test image (number)"),
            other=ipywidgets.IntSlider(0, 0, 1, description="compare with image (0: none)"),
            place=ipywidgets.ToggleButtons(options=[""], description="after", tooltip="The layer before the module"),
            force=ipywidgets.Checkbox(False, description="force these gates", indent=False),
            ranks=ipywidgets.IntRangeSlider(value=(1, 1), min=1, max=1, description="gates (rank)", tooltip=tip),
            value=ipywidgets.FloatSlider(0, min=0, max=1, step=0.05, description="force to (0 off, 1 open)"),
            words=remaining,
            tries={"two images": self.two_images, "all gates at one half": self.one_half, "flip a verdict": self.flip},
        )

    def rows(self):
        first, second = (row(*list(self.controls.values())[part], kind="controls") for part in (slice(4), slice(4, 7)))
        return [first, second, self.tries, self.message, self.named, row(*self.images), self.text]

    def two_images(self) -> None:
        """Compares the lowest score with the highest."""
        c, order = self.controls, load_run(self.controls["run"].value).order
        c["force"].value = False
        c["other"].value = int(order[0]) + 1
        c["image"].value = int(order[-1]) + 1

    def one_half(self) -> None:
        c = self.controls
        c["other"].value, c["place"].value = 0, EVERYWHERE
        c["ranks"].value = (1, c["ranks"].max)
        c["value"].value = 0.5

    def flip(self) -> None:
        """Takes the image with the highest score below the threshold and forces the larger half of its gates."""
        c, loaded = self.controls, self.loaded
        score = loaded.test["score"]
        self.show(int(score.where(score <= loaded.threshold, -1).argmax()))
        c["place"].value = EVERYWHERE
        c["ranks"].value = (c["ranks"].max // 2 + 1, c["ranks"].max)
        c["value"].value = 0.5
        c["force"].value = True

    def follow(self, name):
        c = self.controls
        loaded = load_run(c["run"].value)
        if name in (None, "run"):
            c["image"].max = c["other"].max = len(loaded.dataset.test)
            c["image"].value = int(loaded.order[round(0.9 * len(loaded.order)) - 1]) + 1
            places = [*_gates(c["run"].value, c["image"].value - 1), EVERYWHERE]
            if c["place"].options != tuple(places):
                c["place"].options = places
                c["place"].value = places[-2]
        if name in (None, "run", "place"):
            count = len(_sorted(c["run"].value, c["image"].value - 1, c["place"].value)[0])
            c["ranks"].max = count
            c["ranks"].value = (count // 2 + 1, count)
        elif name in ("ranks", "value"):
            c["force"].value = True
