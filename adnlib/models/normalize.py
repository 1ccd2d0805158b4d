"""The normalisation of images for networks trained on ImageNet."""

import torch
from torch import Tensor, nn

from adnlib.errors import AdnError

IMAGENET_MEAN, IMAGENET_STD = (
    (0.485, 0.456, 0.406),
    (0.229, 0.224, 0.225),
)  # of RGB in [0, 1] over ImageNet's training images


class Normalize(nn.Module):
    """ImageNet's normalisation: uint8 RGB, or float in [0, 1], (B, 3, H, W) -> float32, (x - mean) / std.

    min_size: the smallest side in px that `network` accepts. AdnError: another shape, or a smaller image.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, min_size: int, network: str):
        super().__init__()
        self.min_size, self.network = min_size, network
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != 3:
            raise AdnError(f"Images have the shape {tuple(images.shape)}: pass RGB images of the shape (B, 3, H, W).")
        height, width = images.shape[-2:]
        if min(height, width) < self.min_size:
            raise AdnError(
                f"Images of {height} x {width} px are too small for {self.network}: "
                f"resize them to {self.min_size} px per side or more."
            )
        x = images.float() / 255 if images.dtype == torch.uint8 else images
        return (x - self.mean) / self.std
