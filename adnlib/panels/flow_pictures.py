"""Pictures of the flow playground: points, densities, the way of a point through the blocks, the training."""

import math
from collections.abc import Callable

import numpy as np
import torch
from FrEIA.framework import SequenceINN
from FrEIA.modules import PermuteRandom
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
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


def way_plate(flow: SequenceINN, y: Tensor) -> tuple[Plate, Line2D, Line2D, Callable[[Tensor], np.ndarray]]:
    """The points after each block, and what moves: the grabbed point, and the line from where it was before.

    The last result converts stages (S, N, 2) to positions (S, N, 2) on the picture. All stages are drawn on one pair of
    axes, in inches: a pair for each of them takes several times as long.
    """
    stages, columns = torch.stack(way(flow, y[:400])), 5
    rows = math.ceil(len(stages) / columns)
    side, pitch = WIDTH / columns, WIDTH / columns + 0.22
    reach = side / 2 - 0.03
    down, across = np.divmod(np.arange(len(stages)), columns)
    centres = np.stack([side * (across + 0.5), pitch * (rows - 1 - down) + side / 2], axis=1)  # (S, 2)

    def placed(stages: Tensor) -> np.ndarray:
        inside = torch.where((stages.abs() <= LATENT).all(dim=2, keepdim=True), stages, torch.nan)
        return centres[:, None] + reach / LATENT * inside.numpy()

    figure = sheet(WIDTH, pitch * rows, (0, 0, WIDTH, pitch * rows))
    (axis,) = figure.axes
    axis.set_axis_off()
    axis.set(xlim=(0, WIDTH), ylim=(0, pitch * rows))
    corners = reach * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    axis.add_collection(LineCollection(list(centres[:, None] + corners), colors="black", linewidths=0.8))
    axis.plot(*placed(stages).reshape(-1, 2).T, ".", markersize=1.5, color=NORMAL_COLOUR)
    for stage, (x, height) in enumerate(centres):
        last = " = z" if stage == len(stages) - 1 else ""
        name = f"after block {stage}{last}" if stage else "y"
        axis.text(x, height + reach + 0.05, name, ha="center", fontsize=8)
    (lines,) = axis.plot([], [], color="black", linewidth=1)
    (stars,) = axis.plot([], [], linestyle="none", **{**STAR, "markersize": 11})
    return Plate(figure, lines, stars), lines, stars, placed


def density_plate() -> tuple[Plate, AxesImage, LineCollection]:
    """Axes for `show_density`, and what it sets: the density and the grid."""
    figure = sheet(WIDTH, 2.75, (0.45, 0.4, 1.85, 1.85), (2.75, 0.4, 1.85, 1.85))
    left, right = figure.axes
    extent, empty = (-REACH, REACH, -REACH, REACH), np.zeros((2, 2))
    density = left.imshow(
        empty, origin="lower", extent=extent, cmap="viridis", vmin=-7, vmax=0, interpolation="bilinear"
    )
    left.set_title("log density: dark −7, yellow 0 nats", fontsize=8.5)
    grid = LineCollection([], colors="black", linewidths=0.8)
    right.add_collection(grid)
    right.set_title("a square grid in z, mapped to y", fontsize=8.5)
    for axis in figure.axes:
        axis.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH))
        axis.set_xlabel("first coordinate (sd of the data)", fontsize=8)
    return Plate(figure, density, grid), density, grid


@torch.no_grad()
def show_density(flow: nn.Module, density: AxesImage, grid: LineCollection) -> None:
    """Sets the log density at each position, and a square grid in z after its transformation to y."""
    line, fine = torch.linspace(-2, 2, 9), torch.linspace(-2, 2, 60)
    lines = [torch.stack([fine, torch.full_like(fine, at)], 1) for at in line.tolist()]  # 9 lines (60, 2)
    lines += [one.flip(1) for one in lines]
    curved, _ = flow(torch.cat(lines), rev=True)
    side = 60
    at = torch.linspace(-REACH, REACH, side)
    y = torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1).view(-1, 2)
    z, log_det = flow(y)
    density.set_data((-0.5 * z.square().sum(1) + log_det - np.log(2 * np.pi)).view(side, side).numpy())
    grid.set_segments(list(curved.view(-1, 60, 2).numpy()))


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
