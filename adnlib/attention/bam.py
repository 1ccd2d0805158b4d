"""BAM: the bottleneck attention module."""

import torch
from torch import Tensor, nn

from adnlib.attention.parts import FixedBatchNorm, reduced

DILATION = 4


class BAM(nn.Module):
    """Bottleneck attention module: a channel branch and a spatial branch, added before the sigmoid.

    Park, Woo, Lee, Kweon, "BAM: Bottleneck Attention Module", BMVC 2018, https://arxiv.org/abs/1807.06514
        M_c(F) = BatchNorm(MLP(mean of F over space))
        M_s(F) = BatchNorm(conv1x1(conv3x3(conv3x3(conv1x1(F)))))       the 3 x 3 convolutions dilated by 4
        F + F * sigmoid(M_c(F) + M_s(F))
    Each value is multiplied by a factor between 1 and 2. Deviations: a ReLU follows each convolution but the last, as
    in the authors' code, which otherwise departs from these equations (it multiplies M_c and M_s, and normalises
    the hidden layers, not the outputs of the branches); the BatchNorms have fixed statistics (`FixedBatchNorm`).
    """

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = reduced(channels, reduction)
        self.channel = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1), FixedBatchNorm(channels)
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=DILATION, dilation=DILATION),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=DILATION, dilation=DILATION),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1),
            FixedBatchNorm(1),
        )

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), each in (0, 1)."""
        m_c = self.channel(x.mean(dim=(2, 3), keepdim=True))  # (B, C, 1, 1)
        m_s = self.spatial(x)  # (B, 1, H, W)
        return torch.sigmoid(m_c + m_s)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return x + x * self.gate(x)
