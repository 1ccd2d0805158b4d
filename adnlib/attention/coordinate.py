"""Coordinate attention."""

import torch
from torch import Tensor, nn

from adnlib.attention.parts import FixedBatchNorm, reduced


class CoordinateAttention(nn.Module):
    """Coordinate attention: a gate for each channel and row, times a gate for each channel and column.

    Hou, Zhou, Feng, "Coordinate Attention for Efficient Mobile Network Design", CVPR 2021,
    https://arxiv.org/abs/2103.02907
        z_h = mean of x over the columns, z_w = mean over the rows
        f = hardswish(BatchNorm(F1([z_h, z_w]))), split into f_h and f_w again
        x * sigmoid(F_h(f_h)) * sigmoid(F_w(f_w))
    Deviations: the 1 x 1 convolutions F have no biases, as in timm (the authors' code has them); the BatchNorm has
    fixed statistics (`FixedBatchNorm`); the default reduction is 16, as in SE, CBAM and BAM here (the authors' code:
    32, with at least 8 hidden channels).
    """

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = reduced(channels, reduction)
        self.f1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm = FixedBatchNorm(hidden)
        self.f_h = nn.Conv2d(hidden, channels, 1, bias=False)
        self.f_w = nn.Conv2d(hidden, channels, 1, bias=False)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), each in (0, 1)."""
        z_h = x.mean(dim=3, keepdim=True)  # (B, C, H, 1)
        z_w = x.mean(dim=2, keepdim=True).transpose(2, 3)  # (B, C, W, 1)
        f = nn.functional.hardswish(self.norm(self.f1(torch.cat([z_h, z_w], dim=2))))  # (B, C / r, H + W, 1)
        f_h, f_w = f.split([z_h.shape[2], z_w.shape[2]], dim=2)
        return torch.sigmoid(self.f_h(f_h)) * torch.sigmoid(self.f_w(f_w.transpose(2, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return x * self.gate(x)
