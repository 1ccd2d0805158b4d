"""Gate explorer: the gates for an image, and what happens when some are forced to a value."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from adnlib.differnet import DifferNet
from adnlib.errors import AdnError, check_choice
from adnlib.panels.loaded_run import category_names, heat_map, load_run, overlay, runs_in
from adnlib.panels.panel import Panel, row
from adnlib.panels.pictures import WIDTH, sheet
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR


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


def judge(run: str, index: int, place: str, channels: tuple[int, ...], value: float) -> tuple[float, np.ndarray]:
    """Score and heat map of a test image with these gates forced; without channels, of the unchanged model."""
    loaded, image = load_run(run), load_run(run).image(index)

    def make():
        with forced(loaded.model, place, channels, value):
            return loaded.model.anomaly_score(image[None]).item(), heat_map(loaded.model, image)

    return loaded.once(("forced", index, place if channels else "", channels, value), make)


def chosen(run: str, index: int, place: str, ranks: tuple[int, int], force: bool) -> tuple[int, ...]:
    """The channels of the gates with `ranks` (from, to; 1: the smallest), or none if `force` is False."""
    order = _gates(run, index)[place]["channel"].argsort(kind="stable")
    return tuple(int(channel) for channel in order[ranks[0] - 1 : ranks[1]]) if force else ()


def bars_picture(run: str, image: int, place: str, ranks: tuple[int, int], force: bool, value: float) -> Figure:
    """The channel gates from the smallest to the largest, with the forced ones in orange."""
    gate = np.sort(_gates(run, image - 1)[place]["channel"])
    figure = sheet(WIDTH, 2.4, (0.6, 0.45, WIDTH - 0.75, 1.6))
    (axis,) = figure.axes
    axis.stairs(gate, np.arange(len(gate) + 1) + 0.5, fill=True, color=NORMAL_COLOUR, alpha=0.6, label="unchanged")
    if force:
        first, last = ranks
        edges = np.arange(first, last + 2) - 0.5
        axis.stairs(
            np.full(last - first + 1, value),
            edges,
            fill=True,
            hatch="//",
            color=ANOMALOUS_COLOUR,
            alpha=0.6,
            label=f"forced to {value:.2f}",
        )
    axis.axhline(gate.mean(), color="black", linestyle=":", label=f"mean {gate.mean():.2f}")
    axis.set(xlim=(0.5, len(gate) + 0.5), ylim=(0, 1.15), xlabel="channel (rank of its gate)", ylabel="gate (0 to 1)")
    axis.set_title(f"{load_run(run).name}: {len(gate)} gates after {place}", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper left", ncols=3)
    return figure


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


def effect_picture(run: str, image: int, place: str, ranks: tuple[int, int], force: bool, value: float) -> Figure:
    """Score and heat map without and with the forced gates."""
    loaded, index, side = load_run(run), image - 1, WIDTH / 2
    figure = sheet(WIDTH, side + 0.4, *((side * i + 0.03, 0.03, side - 0.06, side - 0.06) for i in range(2)))
    before = judge(run, index, place, (), 0.0)
    after = judge(run, index, place, chosen(run, index, place, ranks, force), value)
    for axis, (score, heat), name in zip(figure.axes, (before, after), ("unchanged", "forced"), strict=True):
        axis.set_axis_off()
        axis.imshow(overlay(loaded.image(index), heat))
        sign = ">" if score > loaded.threshold else "≤"
        words = name if name == "unchanged" or force else "no gate forced"
        axis.set_title(f"{words}: score {score:.3g}\n{sign} threshold {loaded.threshold:.3g}", fontsize=10)
    return figure


class GateExplorer(Panel):
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
            place=ipywidgets.ToggleButtons(options=[""], description="after", tooltip="The layer before the module"),
            force=ipywidgets.Checkbox(False, description="force these gates", indent=False),
            ranks=ipywidgets.IntRangeSlider(value=(1, 1), min=1, max=1, description="gates (rank)", tooltip=tip),
            value=ipywidgets.FloatSlider(0, min=0, max=1, step=0.05, description="force to (0 off, 1 open)"),
        )

    def rows(self):
        first, second = (row(*list(self.controls.values())[part], kind="controls") for part in (slice(3), slice(3, 6)))
        return [first, second, self.message, row(*self.images)]

    def follow(self, name):
        c = self.controls
        loaded = load_run(c["run"].value)
        if name in (None, "run"):
            c["image"].max = len(loaded.dataset.test)
            c["image"].value = int(loaded.order[round(0.9 * len(loaded.order)) - 1]) + 1
            places = list(_gates(c["run"].value, c["image"].value - 1))
            if c["place"].options != tuple(places):
                c["place"].options = places
                c["place"].value = places[-1]
        if name in (None, "run", "place"):
            count = len(_gates(c["run"].value, c["image"].value - 1)[c["place"].value]["channel"])
            c["ranks"].max = count
            c["ranks"].value = (count // 2 + 1, count)
        elif name in ("ranks", "value"):
            c["force"].value = True
