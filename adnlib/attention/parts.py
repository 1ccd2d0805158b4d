"""What several attention modules share."""

from torch import nn

from adnlib.errors import AdnError


def reduced(channels: int, reduction: int) -> int:
    """The hidden width channels / reduction; AdnError where nothing would be left."""
    if not 1 <= reduction <= channels:
        raise AdnError(f"reduction={reduction} leaves no hidden channel of {channels}: choose 1 to {channels}.")
    return channels // reduction


def check_odd(kernel_size: int) -> int:
    """`kernel_size`; AdnError where it has no middle."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise AdnError(f"kernel_size={kernel_size} has no middle: choose an odd number.")
    return kernel_size


class FixedBatchNorm(nn.BatchNorm2d):
    """A BatchNorm whose statistics stay what they are (at the start mean 0, variance 1), also in training mode.

    A detector judges an image by itself: its gates must not depend on the other images of a batch.
    """

    def __init__(self, channels: int):
        super().__init__(channels)
        self.train()

    def train(self, mode: bool = True) -> "FixedBatchNorm":
        """Leaves it in evaluation mode, whatever `mode`."""
        return super().train(False)


def begin_as_identity(last: nn.Module) -> float:
    """Sets the layer before a gate's sigmoid to zero, so that it says one half everywhere, and returns 2.

    Twice such a gate is the identity: attention that begins there changes nothing before it has learned something,
    where one at its usual random start dims by about one half.
    """
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return 2.0
