"""Modules for the checks of 03 that report what is wrong with their input."""

from torch import Tensor, nn

from adnlib.lessons.exercise import expect


class AskedMLP(nn.Sequential):
    """A shared MLP from 6 channels to 6 channels that reports what is wrong with its input."""

    def forward(self, z: Tensor) -> Tensor:
        expect(isinstance(z, Tensor), f"The MLP received {type(z).__name__}: amax returns a tensor, max a pair.")
        shape = tuple(z.shape)
        expect(shape != (2, 4, 5), "The MLP received (B, H, W): summarise space, axes 2 and 3, not the channels.")
        expect(
            shape != (2, 6, 1, 1),
            "The MLP received (B, C, 1, 1), but it works on the last axis: omit keepdim and add two axes at the end.",
        )
        expect(
            shape in ((2, 6), (4, 6), (2, 2, 6), (1, 6), (6,)),  # separately, concatenated, stacked, or image by image
            f"The MLP received the shape {shape}, not (B, C) = (2, 6): give it one number for each channel.",
        )
        return super().forward(z)


class AskedConv(nn.Conv2d):
    """A convolution over two maps that reports what is wrong with its input."""

    def forward(self, z: Tensor) -> Tensor:
        expect(
            isinstance(z, Tensor), f"The convolution received {type(z).__name__}, not a tensor: concatenate two maps."
        )
        shape = tuple(z.shape)
        expect(
            shape not in ((2, 12, 1, 1), (2, 12)),
            "The convolution received summaries over space, but this gate keeps the positions: summarise the channels.",
        )
        expect(shape != (2, 1, 4, 5), "The convolution received one map, but it needs two: join along axis 1.")
        expect(
            shape not in ((2, 8, 5), (4, 4, 5), (2, 4, 10)),
            f"The convolution received {shape}: an axis is lost before the concatenation. Keep it with keepdim=True.",
        )
        expect(
            shape in ((2, 2, 4, 5), (1, 2, 4, 5)),  # all images, or image by image
            f"The convolution received {shape}, not (B, 2, H, W) = (2, 2, 4, 5): concatenate along axis 1.",
        )
        return super().forward(z)
