"""PatchCore: a memory of normal patches, reduced to a coreset that covers all of them."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adnlib.detectors.base import Detector, Maps, nearest, stack, to_image, vectors
from adnlib.errors import AdnError


class PatchCore(Detector):
    """Roth, Pemula, Zepeda, Schölkopf, Brox, Gehler, "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022,
    https://arxiv.org/abs/2106.08265

        patch     = the mean over 3 x 3 neighbouring positions, in all stages
        coreset   = chosen greedily: always the patch that is farthest from all patches chosen so far
        s(p)      = min over m in the coreset of |p - m|                                           the map
        p*, m*    = the patch of the image with the largest s and its nearest m
        score     = (1 - exp|p* - m*| / sum over the b nearest neighbours m of m* of exp|p* - m|) s(p*)

    Deviations: as in the authors' code, the coreset is chosen with distances after a random projection (the paper cites
    Johnson and Lindenstrauss for this), and its first patch is random. As in anomalib, the authors' further averaging
    of the channels is left out, and the map is enlarged without interpolation.
    Options: coreset (0.01: the share of patches that is stored; the paper: 0.25, 0.1 and 0.01), neighbours b (9),
    projection (64 dimensions; the authors' code: 128).
    """

    title = "PatchCore"

    def __init__(
        self,
        backbone: nn.Module,
        image_size: int = 256,
        seed: int = 0,
        *,
        coreset: float = 0.01,
        neighbours: int = 9,
        projection: int = 64,
    ):
        super().__init__(backbone, image_size, seed)
        if not 0 < coreset <= 1:
            raise AdnError(f"coreset={coreset} is out of range: choose more than 0 and at most 1.")
        if min(neighbours, projection) < 1:
            raise AdnError(f"neighbours={neighbours} and projection={projection} must be 1 or more.")
        self.coreset, self.neighbours, self.projection = coreset, neighbours, projection
        self.register_buffer("bank", torch.empty(0))  # (M, D)

    def embed(self, maps: Maps) -> Tensor:
        """Maps -> patches (B, D, h, w)."""
        return stack([F.avg_pool2d(y, 3, stride=1, padding=1) for y in maps], mode="bilinear")

    def learn(self, chunks: Iterator[Maps]) -> None:
        patches = torch.cat([vectors(self.embed(maps)) for maps in chunks])  # (N * h * w, D)
        first = int(torch.randint(len(patches), ()))
        directions = torch.randn(patches.shape[1], self.projection, device=patches.device) / self.projection**0.5
        count = max(1, int(self.coreset * len(patches)))
        self.bank = patches[greedy_coreset(patches @ directions, count, first)]

    def judge(self, maps: Maps) -> tuple[Tensor, Tensor]:
        patches = self.embed(maps)  # (B, D, h, w)
        distance, index = nearest(vectors(patches), self.bank)  # (B * h * w, 1) each
        distance, index = distance.view(len(patches), -1), index.view(len(patches), -1)  # (B, P)
        s, at = distance.max(dim=1)
        scores = s * self.weight(patches.flatten(2)[range(len(at)), :, at], index.gather(1, at[:, None])[:, 0])
        where = distance.view(len(patches), *patches.shape[-2:])
        return scores, to_image(where, self.image_size, mode="nearest")

    def weight(self, patch: Tensor, index: Tensor) -> Tensor:
        """The factor of s: near 1 if m* is isolated, 1 - 1/b if its neighbours are equally near to the patch.

        patch: p* (B, D); index: that of m* in the bank (B,) -> (B,)
        """
        b = min(self.neighbours, len(self.bank))
        if b == 1:
            return torch.ones(len(patch), device=patch.device)
        around = self.bank[nearest(self.bank[index], self.bank, b)[1]]  # (B, b, D), m* itself first
        return 1 - (patch[:, None] - around).norm(dim=2).softmax(dim=1)[:, 0]


def greedy_coreset(x: Tensor, count: int, first: int = 0) -> Tensor:
    """Indices (count,) of rows of x (N, D): `first`, then always the row that is farthest from all chosen rows."""
    chosen = torch.empty(count, dtype=torch.long, device=x.device)
    chosen[0] = first
    norms = x.square().sum(dim=1)
    distance = torch.full((len(x),), torch.inf, device=x.device)  # squared, to the nearest chosen row
    for i in range(1, count):
        newest = chosen[i - 1 : i]  # one element: indexing with a single number would wait for the device
        last = x[newest][0]
        distance = torch.minimum(distance, norms - 2 * (x @ last) + last.square().sum())
        distance[newest] = -torch.inf  # never chosen twice
        chosen[i] = distance.argmax()
    return chosen
