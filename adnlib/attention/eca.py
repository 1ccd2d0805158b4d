"""Efficient channel attention."""

import math

import torch
from torch import Tensor, nn

from adnlib.attention.parts import check_odd


class ECA(nn.Module):
    """Efficient channel attention: each channel is gated by the means of k neighbouring channels; k weights in total.

    Wang, Wu, Zhu, Li, Zuo, Hu, "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks",
    CVPR 2020, https://arxiv.org/abs/1910.03151
        z = mean of x over space,  s = sigmoid(conv1d_k(z)) along the channels,  s_c * x_c
        k = the odd number nearest to |log2(C) / 2 + 1 / 2|, at least 3
    kernel_size: k; None for the paper's rule. Deviations: none known; k is rounded as in timm.
    """

    def __init__(self, channels: int, kernel_size: int | None = None):
        super().__init__()
        if kernel_size is None:
            near = int((math.log2(channels) + 1) / 2)
            kernel_size = max(3, near + 1 - near % 2)
        self.conv = nn.Conv1d(1, 1, check_odd(kernel_size), padding=kernel_size // 2, bias=False)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1), each in (0, 1)."""
        z = x.mean(dim=(2, 3))[:, None]  # (B, 1, C)
        return torch.sigmoid(self.conv(z))[:, 0, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return x * self.gate(x)
