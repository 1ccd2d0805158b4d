"""The controls for attention: gates that attend to nothing."""

from contextlib import contextmanager

import torch
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

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)"""
        return x.new_full((*x.shape[:2], 1, 1), self.value)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        return x * self.gate(x)


class MatchedGate(nn.Module):
    """A constant gate with the mean factor of an attention module with the same initial weights.

    No paper. The mean gate of a module with random initial weights depends on its seed, that of CBAM strongly (lesson
    notebooks/06_attentdiffernet). A gate with one value for all seeds therefore also differs from the module in how
    much it dims; this one does not. While `measuring` is active, the network computes with `module`, and `value`
    becomes the sum of its outputs divided by the sum of its inputs. Otherwise the input is multiplied by `value`, which
    is 1 before the first measurement.
    """

    value: Tensor

    def __init__(self, module: nn.Module):
        super().__init__()
        self.like = (module,)  # in a tuple: its weights belong to neither the parameters nor the state
        self.register_buffer("value", torch.ones(()))
        self.sums = None

    def extra_repr(self) -> str:
        """The module that is replaced, see CBAM."""
        return f"like={self.like[0]}"

    @contextmanager
    def measuring(self):
        """In this context, every forward pass is measured."""
        self.sums = self.value.new_zeros(2, dtype=torch.float64)  # of outputs and of inputs
        try:
            yield
            self.value.copy_(self.sums[0] / self.sums[1])
        finally:
            self.sums = None

    def gate(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 1, 1)"""
        return self.value.expand(*x.shape[:2], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)"""
        if self.sums is None:
            return x * self.gate(x)
        y = self.like[0].to(x.device)(x)
        self.sums += torch.stack([y.double().sum(), x.double().sum()])
        return y
