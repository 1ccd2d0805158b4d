"""Gather-excite."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adnlib.errors import check_choice


class GatherExcite(nn.Module):
    """Gather-excite without parameters: each position is gated by the mean of its neighbourhood.

    Hu, Shen, Albanie, Sun, Vedaldi, "Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks",
    NeurIPS 2018, https://arxiv.org/abs/1810.12348
        gather  = mean over a window of 2 e - 1 positions, at every e-th position
        excite  x * sigmoid(gather, resized to the size of x by nearest-neighbour interpolation)
    extent: e, one of 2, 4, 8, or 0 for the whole map. This is the paper's GE-theta^-; its variants with parameters are
    not included (with the whole map and an MLP, gather-excite is squeeze-and-excitation).
    `channels` is unused and only keeps the signature the same as for the other modules.
    """

    def __init__(self, channels: int, extent: int = 4):
        super().__init__()
        check_choice("extent", extent, [0, 2, 4, 8])
        self.extent = extent

    def extra_repr(self) -> str:
        """The options that are not tensors: the feature cache identifies a module by its repr and its tensors."""
        return f"extent={self.extent}"

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), or (B, C, 1, 1) for the whole map, each in (0, 1)."""
        if not self.extent:
            return torch.sigmoid(x.mean(dim=(2, 3), keepdim=True))
        e = self.extent
        gathered = F.avg_pool2d(x, 2 * e - 1, stride=e, padding=e - 1, count_include_pad=False)
        return torch.sigmoid(F.interpolate(gathered, size=x.shape[-2:]))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return x * self.gate(x)
