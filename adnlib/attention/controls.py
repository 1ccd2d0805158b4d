"""The control for attention: a constant gate."""

from torch import Tensor, nn

from adnlib.errors import AdnError


class ConstantGate(nn.Module):
    """One fixed gate for every channel, position and image: it attends to nothing.

    No paper. An untrained gate is near one half whatever the image shows, so attention is shown to help only if it
    outperforms this control. With `value` 1 it is the identity. It has no parameters to train. Lesson:
    notebooks/06_attentdiffernet.
    `channels` is unused and only keeps the signature the same as for the other modules.
    """

    def __init__(self, channels: int, value: float = 0.5):
        super().__init__()
        if not isinstance(value, int | float):
            raise AdnError(f"value={value!r} is not a number: choose one such as 0.5, or 1 for the identity.")
        self.value = value

    def extra_repr(self) -> str:
        """The options that are not tensors, see CBAM."""
        return f"value={self.value}"

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return x * self.value
