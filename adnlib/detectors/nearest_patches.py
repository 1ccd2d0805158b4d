"""The plain nearest-neighbour detector: the distance of each patch to the nearest normal patch."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adnlib.detectors.base import Detector, Maps, nearest, stack, to_image, vectors
from adnlib.errors import AdnError


class NearestPatches(Detector):
    """The simplest patch memory, similar to Damm, Laszkiewicz, Lederer, Fischer, "AnomalyDINO",
    https://arxiv.org/abs/2405.14529

        p         = the features of one position, normalised to length 1
        s(p)      = min over normal patches m of 1 - cos(p, m)                     the map
        score     = the mean of the largest hundredth of s(p) over the image

    Deviations: AnomalyDINO uses DINOv2's features, rotated copies and masks. Here any backbone works, all stages are
    concatenated, and nothing is added. At most `bank` random training patches are stored; PatchCore selects them with a
    coreset instead.
    Options: bank (10000).
    """

    title = "nearest patches"

    def __init__(self, backbone: nn.Module, image_size: int = 256, seed: int = 0, *, bank: int = 10_000):
        super().__init__(backbone, image_size, seed)
        if bank < 1:
            raise AdnError(f"bank={bank} stores no patch: choose 1 or more.")
        self.size = bank
        self.register_buffer("bank", torch.empty(0))  # (M, D)

    def embed(self, maps: Maps) -> Tensor:
        """Maps -> patches of length 1, (B, D, h, w)."""
        return F.normalize(stack(maps), dim=1)

    def learn(self, chunks: Iterator[Maps]) -> None:
        patches = torch.cat([vectors(self.embed(maps)) for maps in chunks])
        self.bank = patches[torch.randperm(len(patches))[: self.size]]

    def judge(self, maps: Maps) -> tuple[Tensor, Tensor]:
        patches = self.embed(maps)
        distance = nearest(vectors(patches), self.bank)[0].square() / 2  # 1 - cos, of vectors of length 1
        where = distance.view(len(patches), *patches.shape[-2:])  # (B, h, w)
        top = max(1, where[0].numel() // 100)
        scores = where.flatten(1).topk(top, dim=1).values.mean(dim=1)
        return scores, to_image(where, self.image_size)
