"""Small parts for lessons 05 and 06: a toy flow and training steps for the checks, gates without their image."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from adnlib.attention import CBAM


class ToyFlow(nn.Module):
    """A bend, a scale and a shift for each dimension: the smallest trainable flow with a log_det for each row."""

    def __init__(self, s: Sequence[float] = (0.3, -0.2, 0.5)):
        super().__init__()
        self.s = nn.Parameter(torch.tensor(s))
        self.t = nn.Parameter(torch.tensor([1.0, -1.0, *[0.5] * (len(s) - 2)]))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        bent = y + 0.2 * y.sin()
        return bent * self.s.exp() + self.t, self.s.sum() + (1 + 0.2 * y.cos()).log().sum(dim=1)


def toy_steps(step: Callable, y: Tensor, count: int, flow: ToyFlow | None = None) -> tuple[Any, Tensor, bool]:
    """The result of the last of `count` steps, the parameters after it, and whether any gradient is left."""
    flow = flow or ToyFlow()
    optimizer = torch.optim.SGD(flow.parameters(), lr=0.1, momentum=0.5)
    for _ in range(count):
        loss = step(lambda y: flow(y), y, optimizer)  # a function, as the lesson's model.transform
    left = any(p.grad is not None and p.grad.any() for p in flow.parameters())
    return loss, torch.cat([flow.s, flow.t]).detach(), left


def with_loss(of: Callable, zero: bool = True, steps: int = 1) -> Callable:
    """A training step with another loss, without zero_grad, or with several steps."""

    def step(flow: Callable, y: Tensor, optimizer: torch.optim.Optimizer) -> float:
        for _ in range(steps):
            z, log_det = flow(y)
            loss = of(z, log_det, y.shape[1])
            if zero:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss.item()

    return step


def loss_of(z: Tensor, log_det: Tensor, dims: int) -> Tensor:
    return ((0.5 * z.square().sum(dim=1) - log_det) / dims).mean()


class MeanGates(nn.Module):
    """A CBAM whose gates are averaged over the first images that it receives at each size: the same for every image."""

    def __init__(self, cbam: CBAM):
        super().__init__()
        self.cbam, self.known = cbam, {}

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        size = tuple(x.shape[2:])
        if size not in self.known:
            channel = self.cbam.channel(x)  # (B, C, 1, 1)
            spatial = self.cbam.spatial(x * channel)  # (B, 1, H, W)
            self.known[size] = channel.mean(dim=0, keepdim=True), spatial.mean(dim=0, keepdim=True)
        channel, spatial = self.known[size]
        return x * channel * spatial
