"""Pooling: from the maps of all scales to one feature vector, by a plain or an attentive mean over space."""

import torch
from torch import Tensor, nn

POOLINGS = ("mean", "surprise")


def pool(maps: list[Tensor]) -> Tensor:
    """The maps of all scales, (B, C, h, w) each -> their spatial means, concatenated, (B, S C): DifferNet's pooling."""
    return torch.cat([x.float().mean(dim=(2, 3)) for x in maps], dim=1)


class MeanPooling(nn.Module):
    """`pool` as a module."""

    def forward(self, maps: list[Tensor]) -> Tensor:
        return pool(maps)


class SurprisePooling(nn.Module):
    """A spatial mean with weights: positions that are unusual for normal images count more. Nothing is trained.

    For each scale, with the mean mu_c and the standard deviation sigma_c of channel c over the positions of normal
    images (`fit`), the surprise of a position and its weight are

        s_ij = log(mean_c ((x_cij - mu_c) / sigma_c)^2),  w = softmax_ij((s - m) / d),

    where m and d are the mean and standard deviation of s over normal images. The feature of channel c is
    sum_ij w_ij x_cij. Before `fit`, mu is 0 and sigma is 1. (Introduced in this suite, not in a paper. The idea that a
    mean over space hides small defects, and that deviations from normal features show where to look, is that of PaDiM,
    https://arxiv.org/abs/2011.08785.)
    """

    mean: Tensor
    std: Tensor
    centre: Tensor
    width: Tensor

    def __init__(self, channels: int, scales: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(scales, channels))
        self.register_buffer("std", torch.ones(scales, channels))
        self.register_buffer("centre", torch.zeros(scales))
        self.register_buffer("width", torch.ones(scales))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """The maps of all scales, (B, C, h, w) each -> weighted means, concatenated, (B, S C)."""
        pooled = []
        for scale, x in enumerate(maps):
            x = x.float().flatten(2)  # (B, C, P)
            w = self.weights(scale, x)[:, None]  # (B, 1, P)
            pooled.append((w * x).sum(dim=2))
        return torch.cat(pooled, dim=1)

    def weights(self, scale: int, x: Tensor) -> Tensor:
        """The weights of the positions at one scale: (B, C, P) -> (B, P), each row with the sum 1."""
        return torch.softmax((self.surprise(scale, x) - self.centre[scale]) / self.width[scale], dim=1)

    def surprise(self, scale: int, x: Tensor) -> Tensor:
        """The surprise of each position at one scale: (B, C, P) -> (B, P)."""
        z = (x - self.mean[scale, :, None]) / self.std[scale, :, None]
        return (z.square().mean(dim=1) + 1e-6).log()

    @torch.no_grad()
    def fit(self, maps: list[Tensor]) -> None:
        """Sets mean, deviation and the scale of the surprise from the maps (N, C, h, w) of normal images."""
        for scale, x in enumerate(maps):
            x = x.float().flatten(2)  # (N, C, P)
            self.mean[scale] = x.mean(dim=(0, 2))
            self.std[scale] = x.transpose(0, 1).flatten(1).std(dim=1) + 1e-3  # some channels are always zero
            s = self.surprise(scale, x)
            self.centre[scale], self.width[scale] = s.mean(), s.std() + 1e-6


def build_pooling(name: str, channels: int, scales: int) -> nn.Module:
    """The pooling of this name, one of POOLINGS."""
    return SurprisePooling(channels, scales) if name == "surprise" else MeanPooling()
