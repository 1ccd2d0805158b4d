"""Flow playground: points in the plane, a small normalizing flow, and its training, live."""

from collections.abc import Iterator
from functools import lru_cache

import ipywidgets
import numpy as np
import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from sklearn.datasets import make_circles, make_moons
from torch import Tensor, nn

from adnlib.errors import check_choice
from adnlib.flow import build_flow, nll
from adnlib.panels.panel import Panel, Work, row
from adnlib.panels.pictures import WIDTH, sheet
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR
from adnlib.system.seeds import seeded

STEPS = 300  # of one training
EVERY = 20  # steps between two updates
BATCH = 256
HIDDEN = 32
REACH = 2.6  # of the axes, in standard deviations of the points
DENSITIES = ("two moons", "two rings", "three hills", "a square")


@lru_cache
def points(density: str, count: int = 2000) -> Tensor:
    """(count, 2) points of a density, with mean 0 and standard deviation 1."""
    check_choice("density", density, DENSITIES)
    rng = np.random.default_rng(0)
    if density == "two moons":
        y, _ = make_moons(count, noise=0.06, random_state=0)
    elif density == "two rings":
        y, _ = make_circles(count, noise=0.04, factor=0.45, random_state=0)
    elif density == "three hills":
        angle = 2 * np.pi * rng.integers(3, size=count) / 3
        y = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.2 * rng.normal(size=(count, 2))
    else:
        y = rng.uniform(-1, 1, (count, 2))
    y = rng.permutation(y)
    return torch.tensor((y - y.mean(0)) / y.std(0), dtype=torch.float32)


def untrained(blocks: int, clamp: float) -> nn.Module:
    """A small flow with the coupling blocks of DifferNet."""
    return build_flow(2, blocks=blocks, hidden=HIDDEN, layers=1, clamp=clamp)


def train(flow: nn.Module, y: Tensor, steps: int, seed: int = 0) -> Iterator[float]:
    """Trains a flow on points (N, 2) by maximum likelihood. Yields the NLL of each step (nats per dimension)."""
    generator = torch.Generator().manual_seed(seed)
    parameters = [p for p in flow.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=5e-3)
    for _ in range(steps):
        loss = nll(*flow(y[torch.randint(len(y), (BATCH,), generator=generator)])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.item()


@torch.no_grad()
def points_picture(flow: nn.Module, y: Tensor) -> Figure:
    """The points with samples of the flow over them, and the latent points."""
    with seeded(0):
        samples, _ = flow(torch.randn(1000, 2), rev=True)
    figure = sheet(WIDTH, 2.75, (0.45, 0.4, 1.85, 1.85), (2.75, 0.4, 1.85, 1.85))
    z, _ = flow(y[:1000])
    pairs = ((y[:1000], samples, "y: data (blue), samples (orange)"), (z, None, "z: the data in latent space"))
    for axis, (dots, others, title) in zip(figure.axes, pairs, strict=True):
        axis.plot(*dots.T.numpy(), ".", markersize=2, color=NORMAL_COLOUR)
        if others is not None:
            axis.plot(*others.T.numpy(), ".", markersize=2, color=ANOMALOUS_COLOUR)
        reach = REACH if others is not None else 4
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach))
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("first coordinate (sd of the data)", fontsize=8)
    figure.axes[1].set_xlabel("first coordinate (ring: 2 sd)", fontsize=8)
    turn = np.linspace(0, 2 * np.pi, 60)
    figure.axes[1].plot(2 * np.cos(turn), 2 * np.sin(turn), color="black", linewidth=1)
    return figure


@torch.no_grad()
def density_picture(flow: nn.Module, blocks: int, clamp: float) -> Figure:
    """The log density at each position, and a square grid in z after its transformation to y."""
    line, fine = torch.linspace(-2, 2, 9), torch.linspace(-2, 2, 60)
    grid = [torch.stack([fine, torch.full_like(fine, at)], 1) for at in line.tolist()]  # 9 lines (60, 2)
    grid += [lines.flip(1) for lines in grid]
    curved, _ = flow(torch.cat(grid), rev=True)
    side = 60
    at = torch.linspace(-REACH, REACH, side)
    y = torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1).view(-1, 2)
    z, log_det = flow(y)
    log_density = (-0.5 * z.square().sum(1) + log_det - np.log(2 * np.pi)).view(side, side)
    figure = sheet(WIDTH, 2.75, (0.45, 0.4, 1.85, 1.85), (2.75, 0.4, 1.85, 1.85))
    left, right = figure.axes
    extent = (-REACH, REACH, -REACH, REACH)
    left.imshow(
        log_density.numpy(), origin="lower", extent=extent, cmap="viridis", vmin=-7, vmax=0, interpolation="bilinear"
    )
    left.set_title("log density: dark −7, yellow 0 nats", fontsize=8.5)
    right.add_collection(LineCollection(list(curved.view(-1, 60, 2).numpy()), colors="black", linewidths=0.8))
    right.set_title("a square grid in z, mapped to y", fontsize=8.5)
    for axis in figure.axes:
        axis.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH))
        axis.set_xlabel("first coordinate (sd of the data)", fontsize=8)
    return figure


def curve_picture(losses: list[float], bell: float) -> Figure:
    """The NLL during the training, and for comparison that of a Gaussian without a flow."""
    figure = sheet(WIDTH, 1.9, (0.6, 0.45, WIDTH - 0.75, 1.1))
    (axis,) = figure.axes
    axis.plot(np.arange(1, len(losses) + 1), losses, color=NORMAL_COLOUR)
    axis.axhline(bell, color="black", linestyle=":", label="Gaussian, no flow")
    axis.set(xlim=(0, STEPS), ylim=(-0.6, 1.0), xlabel="training step", ylabel="NLL (nats / dim.)")
    axis.set_title(f"NLL {np.mean(losses[-20:]):.3f} after {len(losses)} steps" if losses else "untrained", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper right")
    return figure


class FlowPlayground(Panel):
    """A density, the number of blocks and the clamp. Every change resets the flow; Train shows its training live."""

    def __init__(self):
        self.work = Work()
        tip = "Limits how far a block can stretch: its log-scale stays between minus and plus this value"
        super().__init__(
            [self.draw_points, self.draw_density, self.draw_curve],
            density=ipywidgets.Dropdown(options=DENSITIES, description="density"),
            blocks=ipywidgets.IntSlider(5, 1, 12, description="coupling blocks (number)"),
            clamp=ipywidgets.FloatSlider(2, min=0.2, max=4, step=0.2, description="clamp (log-scale)", tooltip=tip),
            steps=ipywidgets.IntProgress(0, 0, STEPS, description="trained (steps)"),
        )

    def rows(self):
        c = self.controls
        self.button = ipywidgets.Button(description="Train", tooltip="Train this flow from the start")
        self.button.add_class("adn-train")
        self.button.on_click(lambda _: self.train())
        above = row(c["density"], c["blocks"], c["clamp"], c["steps"], self.button, self.work, kind="controls")
        return [above, self.message, row(*self.images)]

    def follow(self, name):
        c = self.controls
        if name != "steps":
            self.work.stop()
            self.flow, self.losses = untrained(c["blocks"].value, c["clamp"].value), []
            c["steps"].value = 0
        if name is None:  # readers without a kernel see a trained flow
            for _ in self.training():
                pass

    def train(self) -> None:
        """Resets the flow and trains it in the background."""
        with self.in_words():
            self.follow("start over")
            self.work.run(self.training())

    def training(self) -> Iterator[None]:
        flow, y = self.flow, points(self.controls["density"].value)
        for step, loss in enumerate(train(flow, y, STEPS), 1):
            if flow is not self.flow:  # a control was moved
                return
            self.losses.append(loss)
            if step % EVERY == 0:
                self.controls["steps"].value = step
                yield

    def draw_points(self, density: str, blocks: int, clamp: float, steps: int) -> Figure:
        return points_picture(self.flow, points(density))

    def draw_density(self, density: str, blocks: int, clamp: float, steps: int) -> Figure:
        return density_picture(self.flow, blocks, clamp)

    def draw_curve(self, density: str, blocks: int, clamp: float, steps: int) -> Figure:
        y = points(density)
        return curve_picture(self.losses, nll(y, torch.zeros(len(y))).mean().item())
