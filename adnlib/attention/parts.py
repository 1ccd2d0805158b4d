"""Parts that several attention modules share."""

from torch import nn

from adnlib.errors import AdnError


def reduced(channels: int, reduction: int) -> int:
    """The number of hidden channels, channels // reduction; AdnError if reduction is out of range."""
    if not 1 <= reduction <= channels:
        raise AdnError(f"reduction={reduction} is out of range for {channels} channels: choose 1 to {channels}.")
    return channels // reduction


def check_odd(kernel_size: int) -> int:
    """`kernel_size` itself; AdnError unless it is a positive odd number."""
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise AdnError(f"kernel_size={kernel_size} is not a positive odd number: choose one such as 3 or 7.")
    return kernel_size


class FixedBatchNorm(nn.BatchNorm2d):
    """A BatchNorm with fixed statistics (mean 0 and variance 1 at initialisation), in training mode too.

    A detector scores each image independently: its gates must not depend on the other images in a batch.
    """

    def __init__(self, channels: int):
        super().__init__(channels)
        self.train()

    def train(self, mode: bool = True) -> "FixedBatchNorm":
        """Stays in evaluation mode, whatever `mode` is."""
        return super().train(False)


def begin_as_identity(last: nn.Module) -> float:
    """Zeroes the weights before a gate's sigmoid and returns 2, the factor by which the module multiplies its gate.

    With zero weights the gate is one half; twice this is 1, so the module is the identity until it has learned
    something. With the usual random initial weights, a gate scales its input by about one half.
    """
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return 2.0
