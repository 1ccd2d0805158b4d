"""Gather-excite."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adnlib.errors import check_choice


class GatherExcite(nn.Module):
    """Gather-excite without parameters: each place is gated by the mean of its surroundings.

    Hu, Shen, Albanie, Sun, Vedaldi, "Gather-Excite: Exploiting Feature Context in Convolutional Neural Networks",
    NeurIPS 2018, https://arxiv.org/abs/1810.12348
        gather  = mean over a window of 2 e - 1 places, at every e-th place
        excite  x * sigmoid(gather, brought back to the size of x by nearest neighbours)
    extent: e, one of 2, 4, 8, or 0 for the whole map. This is the paper's GE-theta^-; its forms with parameters are not
    here (with the whole map and an MLP it is squeeze-and-excitation).
    `channels`, there for the same call as its neighbours, is not used.
    """

    def __init__(self, channels: int, extent: int = 4):
        super().__init__()
        check_choice("extent", extent, [0, 2, 4, 8])
        self.extent = extent

    def extra_repr(self) -> str:
        """What tensors do not show: the cache of features knows a module by its repr and its tensors."""
        return f"extent={self.extent}"

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), for the whole map (B, C, 1, 1), each in (0, 1)."""
        if not self.extent:
            return torch.sigmoid(x.mean(dim=(2, 3), keepdim=True))
        e = self.extent
        gathered = F.avg_pool2d(x, 2 * e - 1, stride=e, padding=e - 1, count_include_pad=False)
        return torch.sigmoid(F.interpolate(gathered, size=x.shape[-2:]))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return x * self.gate(x)
