"""SimAM: attention without parameters."""

import torch
from torch import Tensor, nn


class SimAM(nn.Module):
    """SimAM: the gate grows with a value's distance from its channel's mean; there are no parameters.

    Yang, Zhang, Li, Xie, "SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks",
    ICML 2021, https://proceedings.mlr.press/v139/yang21o.html
        e = 4 (v + lam) / ((x - m)^2 + 2 v + 2 lam)    energy; m, v: mean and variance of a channel over space
        x * sigmoid(1 / e)
    Deviation from the authors' code: v is a sum divided by the number of positions, as in the paper, not by one less.
    `channels` is unused and only keeps the signature the same as for the other modules.
    """

    def __init__(self, channels: int, lam: float = 1e-4):
        super().__init__()
        self.lam = lam

    def extra_repr(self) -> str:
        """The options that are not tensors: the feature cache identifies a module by its repr and its tensors."""
        return f"lam={self.lam}"

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), each in (0.6, 1]."""
        squared = (x - x.mean(dim=(2, 3), keepdim=True)).square()
        v = squared.mean(dim=(2, 3), keepdim=True)
        return torch.sigmoid(squared / (4 * (v + self.lam)) + 0.5)  # 1 / e

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return x * self.gate(x)
