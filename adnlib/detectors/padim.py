"""PaDiM: one Gaussian for each position of the image."""

from collections.abc import Iterator

import torch
from torch import Tensor

from adnlib.detectors.base import Detector, Maps, stack, to_image
from adnlib.errors import AdnError
from adnlib.models.backbones import Backbone
from adnlib.system.seeds import seeded


class PaDiM(Detector):
    """Defard, Setkov, Loesch, Audigier, "PaDiM: a Patch Distribution Modeling Framework for Anomaly Detection and
    Localization", ICPR 2020, https://arxiv.org/abs/2011.08785

        x_ij      = the features of all stages at position (i, j), restricted to `dims` random channels
        mu_ij, Sigma_ij = mean and covariance of x_ij over the training images, + epsilon I
        M(x_ij)   = sqrt((x_ij - mu_ij)^T Sigma_ij^-1 (x_ij - mu_ij))      the Mahalanobis distance: the map
        score     = the largest value of the smoothed map

    Deviations: none in the mathematics. Sigma is inverted through its Cholesky factor. As in anomalib, coarser stages
    are resized to the finest by nearest neighbour, and the map is smoothed at the size of the image.
    Options: dims (100; the paper: 100 for ResNet-18, 550 for Wide-ResNet-50-2), epsilon (0.01, as in the paper).
    """

    title = "PaDiM"
    picked: Tensor
    mean: Tensor
    whitening: Tensor

    def __init__(
        self, backbone: Backbone, image_size: int = 256, seed: int = 0, *, dims: int = 100, epsilon: float = 0.01
    ):
        super().__init__(backbone, image_size, seed)
        total = sum(backbone.channels)
        if not 1 <= dims <= total:
            raise AdnError(f"dims={dims} is out of range: this backbone has {total} channels, choose 1 to {total}.")
        self.epsilon = epsilon
        with seeded(seed):
            self.register_buffer("picked", torch.randperm(total)[:dims])
        self.register_buffer("mean", torch.empty(0))  # (P, D) for P = h * w positions
        self.register_buffer("whitening", torch.empty(0))  # (P, D, D)

    def embed(self, maps: Maps) -> Tensor:
        """Maps -> the selected channels of all stages, (B, D, h, w)."""
        return stack(maps)[:, self.picked]

    def learn(self, chunks: Iterator[Maps]) -> None:
        x = torch.cat([self.embed(maps).flatten(2) for maps in chunks])  # (N, D, P)
        x = x.permute(2, 1, 0)  # (P, D, N)
        self.mean = x.mean(dim=2)
        x = x - self.mean[:, :, None]
        identity = torch.eye(x.shape[1], device=x.device)
        covariance = x @ x.mT / (x.shape[2] - 1) + self.epsilon * identity  # (P, D, D)
        root = torch.linalg.cholesky(covariance)  # covariance = root root^T
        self.whitening = torch.linalg.solve_triangular(root, identity.expand_as(root), upper=False)

    def judge(self, maps: Maps) -> tuple[Tensor, Tensor]:
        x = self.embed(maps)  # (B, D, h, w)
        delta = x.flatten(2).permute(2, 1, 0) - self.mean[:, :, None]  # (P, D, B)
        distance = (self.whitening @ delta).norm(dim=1)  # (P, B)
        where = to_image(distance.mT.reshape(len(x), *x.shape[-2:]), self.image_size)
        return where.amax(dim=(1, 2)), where
