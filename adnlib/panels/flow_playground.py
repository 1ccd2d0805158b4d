"""Flow playground: points in the plane, a small normalizing flow, and its training, live."""

import html
from collections.abc import Callable, Iterator
from itertools import islice

import ipywidgets
import numpy as np
import torch
from FrEIA.framework import SequenceINN
from matplotlib.figure import Figure
from torch import Tensor, nn

from adnlib.flow import build_flow, nll
from adnlib.panels.flow_pictures import (
    REACH,
    curve_picture,
    density_plate,
    grabbed,
    points_plate,
    samples_of,
    show_density,
    way,
    way_plate,
)
from adnlib.panels.instruments import Chart
from adnlib.panels.panel import Panel, Work, row
from adnlib.panels.toy_densities import DENSITIES, IMPOSSIBLE, astray, lowest_nll, points

STEPS = 300  # that a press of the button adds
LONG = 4  # presses, until a gap between the rings and a bridge across it can be seen
EVERY = 30  # steps between two updates
BATCH = 256
HIDDEN = 32
STILL = 0.02  # nats per dimension: a training that gains less in its second half is not too short
CLOSE = 0.03  # nats per dimension above the density's own NLL: as good as it gets


def untrained(blocks: int, clamp: float) -> SequenceINN:
    """A small flow with the coupling blocks of DifferNet."""
    return build_flow(2, blocks=blocks, hidden=HIDDEN, layers=1, clamp=clamp)


def train(flow: nn.Module, y: Tensor, seed: int = 0) -> Iterator[float]:
    """Trains a flow on points (N, 2) by maximum likelihood, without end: each `next` is a step. Yields the NLL of each
    step (nats per dimension)."""
    generator = torch.Generator().manual_seed(seed)
    parameters = [p for p in flow.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=5e-3)
    while True:
        loss = nll(*flow(y[torch.randint(len(y), (BATCH,), generator=generator)])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


def diagnosis(density: str, losses: list[float], lost: float) -> str:
    """Whether a training was too short, and what no training can do, in sentences."""
    quarter = len(losses) // 4
    if quarter < EVERY:
        return "Untrained, or hardly trained."
    now = np.median(losses[-quarter:])  # single batches can have a high loss
    fell, left = np.median(losses[-2 * quarter : -quarter]) - now, now - lowest_nll(density)
    sentences = [
        f"In the last quarter of the {len(losses)} steps, the median NLL was {fell:.3f} lower than in the quarter "
        f"before, and {left:.3f} above that of the density itself."
    ]
    if left < CLOSE:
        sentences.append("This flow is as good as the data allow.")
    elif fell > STILL:
        sentences.append("The training was too short: train on.")
    else:
        sentences.append("More training hardly helps this flow; more blocks or a larger clamp may.")
    if density in IMPOSSIBLE:
        sentences.append(
            f"{IMPOSSIBLE[density]}; the Gaussian is one piece without a hole, and a flow can neither tear nor glue. "
            f"However long it trains, some samples lie between them, now {100 * lost:.0f} % off the data (about 1 % "
            "would be perfect); longer training makes the bridges thinner."
        )
    return " ".join(sentences)


class FlowPlayground(Panel):
    """A density, a flow and a point of the plane. Train continues the training and shows it live."""

    def __init__(self):
        self.work, self.density_plate = Work(), density_plate()
        tip = "Limits how far a block can stretch: its log-scale stays between minus and plus this value"
        first, second = (
            ipywidgets.FloatSlider(
                value, min=-REACH, max=REACH, step=0.02, description=f"point: {name} coordinate (sd)"
            )
            for name, value in (("first", 0.0), ("second", 0.0))
        )
        super().__init__(
            [self.draw_points, self.draw_density, self.draw_way, self.draw_curve],
            words=self.say,
            density=ipywidgets.Dropdown(options=DENSITIES, description="density"),
            blocks=ipywidgets.IntSlider(5, 1, 12, description="coupling blocks (number)"),
            clamp=ipywidgets.FloatSlider(2, min=0.2, max=4, step=0.2, description="clamp (log-scale)", tooltip=tip),
            steps=ipywidgets.IntProgress(0, 0, STEPS, description="trained (steps)"),
            first=first,
            second=second,
            tries={
                "1 block": lambda: self.try_out(1, 2.0, "two moons"),
                "5 blocks, clamp 0.2": lambda: self.try_out(5, 0.2, "two moons"),
                "two rings, clamp 2": lambda: self.try_out(5, 2.0, "two rings", LONG),
            },
        )

    def rows(self):
        c = self.controls
        self.buttons = [
            ipywidgets.Button(description=text, tooltip=tip)
            for text, tip in (("Train", f"{STEPS} more steps"), ("Start over", "An untrained flow"))
        ]
        for button, act in zip(self.buttons, (self.train, self.start_over), strict=True):
            button.add_class(f"adn-{button.description.split()[0].lower()}")
            button.on_click(lambda _, act=act: act())
        self.images[0] = Chart(label="Points and latent points: drag a point and see its way through the blocks")
        self.images[0].observe(lambda change: self.grab(change["new"]), "at")
        above = row(c["density"], c["blocks"], c["clamp"], c["steps"], *self.buttons, self.work, kind="controls")
        point = row(c["first"], c["second"], kind="controls")
        return [above, self.tries, point, self.message, row(*self.images), self.text]

    def follow(self, name):
        if name in (None, "density", "blocks", "clamp"):
            self.reset()
        if name is None:  # readers without a kernel see a trained flow
            for _ in self.training():
                pass

    def reset(self) -> None:
        c = self.controls
        self.work.stop()
        self.flow, self.losses, self.lost = untrained(c["blocks"].value, c["clamp"].value), [], []
        self.learning = train(self.flow, points(c["density"].value))
        self.plates = {}
        c["steps"].value, c["steps"].max = 0, STEPS

    def start_over(self) -> None:
        with self.in_words():
            with self.held():
                self.reset()
            self.redraw_all()

    def try_out(self, blocks: int, clamp: float, density: str, presses: int = 1) -> None:
        """Trains an untrained flow with these settings."""
        with self.in_words(), self.held():
            for name, value in (("blocks", blocks), ("clamp", clamp), ("density", density)):
                self.controls[name].value = value
            self.reset()
        self.train(presses)

    def redraw_all(self) -> None:
        """Draws everything, although no control has changed."""
        self._drawn.clear()
        self.redraw()

    def grab(self, at: list[float]) -> None:
        """Moves the point to a position of the first picture."""
        point = grabbed(self.flow, at)
        if point is None:
            return
        with self.in_words():
            with self.held():
                self.controls["first"].value, self.controls["second"].value = point
            self.redraw()

    def train(self, presses: int = 1) -> None:
        """Continues the training in the background."""
        with self.in_words():
            self.controls["steps"].max = len(self.losses) + presses * STEPS
            self.work.run(self.training(presses))

    def training(self, presses: int = 1) -> Iterator[None]:
        flow, density = self.flow, self.controls["density"].value
        for loss in islice(self.learning, presses * STEPS):
            self.losses.append(loss)
            if len(self.losses) % EVERY == 0:
                self.lost.append(astray(samples_of(flow), density))
                self.plates = {}
                self.controls["steps"].value = len(self.losses)
                yield
                if flow is not self.flow:  # a control was moved
                    return

    def plate(self, make: Callable, density: str) -> tuple:
        """`make(flow, points)`, once for each state of the flow."""
        if make not in self.plates:
            self.plates[make] = make(self.flow, points(density))
        return self.plates[make]

    def stages(self, first: float, second: float) -> list[list[float]]:
        """The grabbed point, and where it is after each block."""
        return [stage[0].tolist() for stage in way(self.flow, torch.tensor([[first, second]]))]

    def draw_points(self, density: str, blocks: int, clamp: float, steps: int, first: float, second: float) -> bytes:
        plate, star, latent = self.plate(points_plate, density)
        at, *_, z = self.stages(first, second)
        star.set_data([at[0]], [at[1]])
        latent.set_data([z[0]], [z[1]])
        return plate.png()

    def draw_density(self, density: str, blocks: int, clamp: float, steps: int) -> bytes:
        plate, image, grid = self.density_plate
        show_density(self.flow, image, grid)
        return plate.png()

    def draw_way(self, density: str, blocks: int, clamp: float, steps: int, first: float, second: float) -> bytes:
        plate, lines, stars, placed = self.plate(way_plate, density)
        stages = torch.tensor(self.stages(first, second))  # (S, 2)
        before = torch.cat([stages[:1], stages[:-1]])
        now = placed(stages[:, None])  # (S, 1, 2)
        gaps = np.full_like(now, np.nan)
        lines.set_data(*np.concatenate([placed(before[:, None]), now, gaps], axis=1).reshape(-1, 2).T)
        stars.set_data(*now[:, 0].T)
        return plate.png()

    def draw_curve(self, density: str, blocks: int, clamp: float, steps: int) -> Figure:
        y = points(density)
        bell = nll(y, torch.zeros(len(y))).mean().item()
        return curve_picture(self.losses, bell, lowest_nll(density), self.lost, self.controls["steps"].max, EVERY)

    def say(self, density: str, blocks: int, clamp: float, steps: int) -> str:
        return f"<p>{html.escape(diagnosis(density, self.losses, self.lost[-1] if self.lost else 0))}</p>"
