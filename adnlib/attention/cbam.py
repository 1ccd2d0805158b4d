"""CBAM: a channel gate, then a spatial gate."""

import torch
from torch import Tensor, nn

from adnlib.attention.parts import begin_as_identity, check_odd, reduced


class ChannelGate(nn.Module):
    """CBAM's channel gate: one MLP applied to both the mean and the maximum over space (CBAM, eq. 2)."""

    def __init__(self, channels: int, reduction: int = 16, identity: bool = False):
        super().__init__()
        hidden = reduced(channels, reduction)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channels, bias=False)
        )
        self.top = begin_as_identity(self.mlp[-1]) if identity else 1.0

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1), each in (0, 1); in (0, 2) with `identity`."""
        mean, maximum = x.mean(dim=(2, 3)), x.amax(dim=(2, 3))  # (B, C) each
        return self.top * torch.sigmoid(self.mlp(mean) + self.mlp(maximum))[:, :, None, None]


class SpatialGate(nn.Module):
    """CBAM's spatial gate: one convolution of the mean and the maximum over channels (CBAM, eq. 3)."""

    def __init__(self, kernel_size: int = 7, identity: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, check_odd(kernel_size), padding=kernel_size // 2, bias=False)
        self.top = begin_as_identity(self.conv) if identity else 1.0

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1, H, W), each in (0, 1); in (0, 2) with `identity`."""
        mean, maximum = x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)  # (B, 1, H, W) each
        return self.top * torch.sigmoid(self.conv(torch.cat([mean, maximum], dim=1)))


class CBAM(nn.Module):
    """Convolutional Block Attention Module: channel gate, then spatial gate.

    Woo, Park, Lee, Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018, https://arxiv.org/abs/1807.06521
        F' = M_c(F) * F,  F'' = M_s(F') * F'                    eq. 1
    Lesson: notebooks/03_cbam. Deviations: this class follows the equations where the authors' code departs from them.
    That code has a BatchNorm after the 7x7 convolution (as has timm), biases in the MLP, and the maximum before the
    mean. `residual` adds the input to the output, as one public AttentDifferNet implementation does. `identity` is an
    addition of this suite: see `begin_as_identity`.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        kernel_size: int = 7,
        residual: bool = False,
        identity: bool = False,
    ):
        super().__init__()
        self.channel = ChannelGate(channels, reduction, identity)
        self.spatial = SpatialGate(kernel_size, identity)
        self.residual = residual

    def extra_repr(self) -> str:
        """The options that are not tensors: the feature cache identifies a module by its repr and its tensors."""
        return "residual=True" if self.residual else ""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        y = x * self.channel(x)
        y = y * self.spatial(y)
        return x + y if self.residual else y
