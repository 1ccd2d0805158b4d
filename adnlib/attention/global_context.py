"""Global context."""

import torch
from torch import Tensor, nn

from adnlib.attention.parts import reduced
from adnlib.errors import AdnError


class GlobalContext(nn.Module):
    """Global context block: squeeze-and-excitation with a learned attention pooling as its squeeze.

    Cao, Xu, Lin, Wei, Hu, "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond", ICCV workshops
    2019, https://arxiv.org/abs/1904.11492
        z = sum over positions of softmax(w_k x) x     context
        s = w_2 relu(LayerNorm(w_1 z))                 transform
        x * sigmoid(s)                                 fusion
    Deviation: the paper's block adds s to x; here s is a gate, as in all modules here and by default in timm. The
    default reduction is also timm's.
    """

    def __init__(self, channels: int, reduction: int = 8):
        super().__init__()
        hidden = reduced(channels, reduction)
        if hidden < 2:
            raise AdnError(
                f"reduction={reduction} leaves one hidden channel for {channels} channels, which LayerNorm turns "
                f"into a constant: choose 1 to {channels // 2}."
            )
        self.w_k = nn.Conv2d(channels, 1, 1)
        self.w1 = nn.Linear(channels, hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-6)
        self.w2 = nn.Linear(hidden, channels)

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1), each in (0, 1)."""
        where = self.w_k(x).flatten(2).softmax(dim=2)  # (B, 1, H * W)
        z = (x.flatten(2) * where).sum(dim=2)  # context: (B, C)
        s = self.w2(torch.relu(self.norm(self.w1(z))))
        return torch.sigmoid(s)[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return x * self.gate(x)
