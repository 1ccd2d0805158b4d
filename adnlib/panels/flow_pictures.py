"""Pictures of the flow playground: points, densities, the way of a point through the blocks, the training."""

import math

import numpy as np
import torch
from FrEIA.framework import SequenceINN
from FrEIA.modules import PermuteRandom
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor, nn

from adnlib.panels.pictures import WIDTH, Plate, sheet
from adnlib.plots import ANOMALOUS_COLOUR, NORMAL_COLOUR
from adnlib.system.seeds import seeded

REACH = 2.6  # of the axes, in standard deviations of the points
LATENT = 4.0  # of the axes in latent space
POINTS = (WIDTH, 2.75), ((0.45, 0.4, 1.85, 1.85), (2.75, 0.4, 1.85, 1.85))  # size and axes of `points_plate`, inches
STAR = {"marker": "*", "markersize": 15, "color": "black", "markeredgecolor": "white"}


@torch.no_grad()
def samples_of(flow: nn.Module, count: int = 1000) -> Tensor:
    """(count, 2) samples of a flow, always from the same z."""
    with seeded(0):
        return flow(torch.randn(count, 2), rev=True)[0]


@torch.no_grad()
def points_plate(flow: nn.Module, y: Tensor) -> tuple[Plate, Line2D, Line2D]:
    """The points with samples of the flow over them, and the latent points; the stars of the grabbed point move."""
    size, boxes = POINTS
    figure = sheet(*size, *boxes)
    z, _ = flow(y[:1000])
    pairs = ((y[:1000], samples_of(flow), "y: data (blue), samples (orange)"), (z, None, "z: the data in latent space"))
    stars = []
    for axis, (dots, others, title) in zip(figure.axes, pairs, strict=True):
        axis.plot(*dots.T.numpy(), ".", markersize=2, color=NORMAL_COLOUR)
        if others is not None:
            axis.plot(*others.T.numpy(), ".", markersize=2, color=ANOMALOUS_COLOUR)
        reach = REACH if others is not None else LATENT
        axis.set(xlim=(-reach, reach), ylim=(-reach, reach))
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("first coordinate (sd of the data)", fontsize=8)
        stars += axis.plot([0], [0], linestyle="none", clip_on=True, **STAR)
    figure.axes[1].set_xlabel("first coordinate (ring: 2 sd)", fontsize=8)
    turn = np.linspace(0, 2 * np.pi, 60)
    figure.axes[1].plot(2 * np.cos(turn), 2 * np.sin(turn), color="black", linewidth=1)
    return Plate(figure, *stars), *stars


@torch.no_grad()
def grabbed(flow: nn.Module, at: list[float]) -> list[float] | None:
    """The point y at a position of `points_plate`, [x, y] as shares of the picture; None outside of both axes.

    In the right half, the position is a z, which is transformed to y.
    """
    (width, height), boxes = POINTS
    for (left, bottom, across, up), reach in zip(boxes, (REACH, LATENT), strict=True):
        x, y = (at[0] * width - left) / across, ((1 - at[1]) * height - bottom) / up
        if 0 <= x <= 1 and 0 <= y <= 1:
            point = torch.tensor([[(2 * x - 1) * reach, (2 * y - 1) * reach]])
            point = flow(point, rev=True)[0] if reach == LATENT else point
            return [round(value, 3) for value in point[0].clamp(-REACH, REACH).tolist()]
    return None


@torch.no_grad()
def way(flow: SequenceINN, y: Tensor) -> list[Tensor]:
    """Points (N, 2): as they are, and after each block, with their coordinates in the original order."""
    x, order, found = y, torch.arange(2), [y]
    for module in flow.module_list:
        (x,), _ = module([x])
        if isinstance(module, PermuteRandom):
            order = order[module.perm]
        else:
            found.append(x[:, order.argsort()])
    return found


def way_plate(flow: SequenceINN, y: Tensor) -> tuple[Plate, list[Line2D], list[Line2D]]:
    """The points after each block, and what moves: the grabbed point, and the line from where it was before."""
    stages, columns = way(flow, y[:400]), 5
    rows = math.ceil(len(stages) / columns)
    side, pitch = WIDTH / columns, WIDTH / columns + 0.22
    cells = [divmod(stage, columns) for stage in range(len(stages))]
    boxes = [(side * x + 0.03, pitch * (rows - 1 - y) + 0.03, side - 0.06, side - 0.06) for y, x in cells]
    figure = sheet(WIDTH, pitch * rows, *boxes)
    stars, lines = [], []
    for stage, (axis, dots) in enumerate(zip(figure.axes, stages, strict=True)):
        axis.plot(*dots.T.numpy(), ".", markersize=1.5, color=NORMAL_COLOUR)
        axis.set(xlim=(-LATENT, LATENT), ylim=(-LATENT, LATENT), xticks=[], yticks=[])
        last = " = z" if stage == len(stages) - 1 else ""
        axis.set_title(f"after block {stage}{last}" if stage else "y", fontsize=8)
        lines += axis.plot([0, 0], [0, 0], color="black", linewidth=1)
        stars += axis.plot([0], [0], linestyle="none", **{**STAR, "markersize": 11})
    return Plate(figure, *lines, *stars), lines, stars


@torch.no_grad()
def density_picture(flow: nn.Module) -> Figure:
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


def curve_picture(losses: list[float], bell: float, floor: float, lost: list[float], steps: int, every: int) -> Figure:
    """The NLL during the training, between that of a Gaussian without a flow and that of the density itself; below,
    the share of samples off the data."""
    figure = sheet(WIDTH, 3.1, (0.6, 1.55, WIDTH - 0.75, 1.2), (0.6, 0.45, WIDTH - 0.75, 0.8))
    axis, below = figure.axes
    axis.plot(np.arange(1, len(losses) + 1), losses, color=NORMAL_COLOUR)
    axis.axhline(bell, color="black", linestyle=":", label="Gaussian, no flow")
    axis.axhline(floor, color="black", linestyle="--", label="the density itself")
    axis.set(xlim=(0, steps), ylim=(floor - 0.3, 1.7), ylabel="NLL (nats / dim.)")
    axis.set_title(f"NLL {np.mean(losses[-20:]):.3f} after {len(losses)} steps" if losses else "untrained", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper right")
    below.plot(every * np.arange(1, len(lost) + 1), 100 * np.array(lost), color=ANOMALOUS_COLOUR)
    below.set(
        xlim=(0, steps), ylim=(0, 100 * max([0.1, *lost])), xlabel="training step", ylabel="samples off\nthe data (%)"
    )
    return figure
