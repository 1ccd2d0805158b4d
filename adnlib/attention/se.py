"""Squeeze-and-excitation."""

import torch
from torch import Tensor, nn

from adnlib.attention.parts import begin_as_identity, reduced


class SqueezeExcitation(nn.Module):
    """Squeeze-and-Excitation block.

    Hu, Shen, Sun, "Squeeze-and-Excitation Networks", CVPR 2018, https://arxiv.org/abs/1709.01507
        squeeze     z = mean of x over space                    eq. 2
        excitation  s = sigmoid(W2 relu(W1 z))                  eq. 3
        scale       s_c * x_c                                   eq. 4
    Lesson: notebooks/02_squeeze_and_excitation. Deviation: W1 and W2 have biases, as in torchvision and timm;
    eq. 3 has none. `identity` is an addition of this suite: see `begin_as_identity`.
    """

    def __init__(self, channels: int, reduction: int = 16, identity: bool = False):
        super().__init__()
        hidden = reduced(channels, reduction)
        self.w1 = nn.Linear(channels, hidden)
        self.w2 = nn.Linear(hidden, channels)
        self.top = begin_as_identity(self.w2) if identity else 1.0

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1), each in (0, 1); in (0, 2) with `identity`."""
        z = x.mean(dim=(2, 3))  # squeeze: (B, C)
        s = torch.sigmoid(self.w2(torch.relu(self.w1(z))))  # excitation: (B, C)
        return self.top * s[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return x * self.gate(x)
