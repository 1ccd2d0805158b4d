"""Attention modules, one class per paper: (B, C, H, W) -> the same shape, each value times a gate in (0, 1) (BAM: 1 to
2); and the control without a paper, a constant gate.

Here are those of the AttentDifferNet paper, SE and CBAM, and the control; the others have a file each.
"""

import torch
from torch import Tensor, nn

from adnlib.attention.bam import BAM
from adnlib.attention.coordinate import CoordinateAttention
from adnlib.attention.eca import ECA
from adnlib.attention.gather_excite import GatherExcite
from adnlib.attention.global_context import GlobalContext
from adnlib.attention.parts import begin_as_identity, check_odd, reduced
from adnlib.attention.simam import SimAM
from adnlib.errors import AdnError, check_choice


class SqueezeExcitation(nn.Module):
    """Squeeze-and-Excitation block.

    Hu, Shen, Sun, "Squeeze-and-Excitation Networks", CVPR 2018, https://arxiv.org/abs/1709.01507
        squeeze     z = mean of x over space                    eq. 2
        excitation  s = sigmoid(W2 relu(W1 z))                  eq. 3
        scale       s_c * x_c                                   eq. 4
    Lesson: notebooks/02_squeeze_and_excitation. Deviation: W1 and W2 have biases, which eq. 3 does not write and
    torchvision and timm have too. `identity` is this suite's own: see `begin_as_identity`.
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


class ChannelGate(nn.Module):
    """CBAM's first half: which channels matter. One MLP reads the mean and the maximum over space (CBAM, eq. 2)."""

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
    """CBAM's second half: which places matter. A convolution reads the mean and maximum over channels (CBAM, eq. 3)."""

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
    Lesson: notebooks/03_cbam. Deviations: the equations are followed where the authors' code leaves them, which has a
    BatchNorm behind the 7x7 convolution (so has timm), biases in the MLP, and the maximum before the mean. `residual`
    adds the input to the output, as one public AttentDifferNet code does. `identity` is this suite's own: see
    `begin_as_identity`.
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
        """What tensors do not show: the cache of features knows a module by its repr and its tensors."""
        return "residual=True" if self.residual else ""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        y = x * self.channel(x)
        y = y * self.spatial(y)
        return x + y if self.residual else y


class ConstantGate(nn.Module):
    """One fixed gate for every channel, place and image: it attends to nothing.

    No paper: the control that any claim about attention must beat, since a fresh gate lies near one half whatever the
    image shows. `value` 1 is the identity. Lesson: notebooks/06_attentdiffernet. It has no parameters, so `channels`
    (there for the same call as its neighbours) is not used and there is nothing to train.
    """

    def __init__(self, channels: int, value: float = 0.5):
        super().__init__()
        if not isinstance(value, int | float):
            raise AdnError(f"value={value!r} is no number: choose one such as 0.5, or 1 for the identity.")
        self.value = value

    def extra_repr(self) -> str:
        """What tensors do not show, see CBAM."""
        return f"value={self.value}"

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return x * self.value


ATTENTION = {
    "se": SqueezeExcitation,
    "cbam": CBAM,
    "eca": ECA,
    "coordinate": CoordinateAttention,
    "simam": SimAM,
    "bam": BAM,
    "gather_excite": GatherExcite,
    "global_context": GlobalContext,
    "constant": ConstantGate,
}


def build_attention(name: str, channels: int, /, **options) -> nn.Module:
    """A module by its short name: a key of ATTENTION, with the options of its class."""
    check_choice("attention", name, [None, *ATTENTION])
    try:
        return ATTENTION[name](channels, **options)
    except TypeError as error:
        raise AdnError(f"attention={name!r} does not take the options {sorted(options)} ({error}).") from error
