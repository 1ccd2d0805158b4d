"""SPADE: the nearest normal images, then the nearest positions in them."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from adnlib.detectors.base import Detector, Maps, nearest, stack, to_image, vectors
from adnlib.errors import AdnError


class SPADE(Detector):
    """Cohen, Hoshen, "Sub-Image Anomaly Detection with Deep Pyramid Correspondences", 2020,
    https://arxiv.org/abs/2005.02357

        f_y     = mean over space of the last stage's features of image y
        d(y)    = mean over the K nearest training images f of |f_y - f|^2        the image's score
        F(y, p) = the features of all stages at position p
        d(y, p) = mean over the kappa nearest F, at any position in these images, of |F(y, p) - F|^2       the map

    Deviations: the map uses the `map_neighbours` nearest images instead of all K, because its cost grows with them (the
    paper: map_neighbours = neighbours). With fewer than K training images, all are used. The last stage is that of the
    given backbone; for a ResNet it can be layer3. As in the paper, features are not normalised.
    Options: neighbours K (50), map_neighbours (10; 0: no map), kappa (1).
    """

    title = "SPADE"

    def __init__(
        self,
        backbone: nn.Module,
        image_size: int = 256,
        seed: int = 0,
        *,
        neighbours: int = 50,
        map_neighbours: int = 10,
        kappa: int = 1,
    ):
        super().__init__(backbone, image_size, seed)
        if min(neighbours, kappa) < 1 or map_neighbours < 0:
            raise AdnError(
                f"neighbours={neighbours}, map_neighbours={map_neighbours}, kappa={kappa}: choose 1 or more "
                "(map_neighbours=0: no map)."
            )
        self.neighbours, self.map_neighbours, self.kappa = neighbours, map_neighbours, kappa
        self.register_buffer("images", torch.empty(0))  # (N, C), one row per training image
        self.register_buffer("places", torch.empty(0))  # (N, P, D), the positions of each

    def learn(self, chunks: Iterator[Maps]) -> None:
        images, places = [], []
        for maps in chunks:
            images.append(maps[-1].mean(dim=(2, 3)))
            if self.map_neighbours:
                places.append(stack(maps).flatten(2).mT)
        self.images = torch.cat(images)
        self.places = torch.cat(places) if places else self.images[:, None]

    def judge(self, maps: Maps) -> tuple[Tensor, Tensor | None]:
        distances, indices = nearest(maps[-1].mean(dim=(2, 3)), self.images, min(self.neighbours, len(self.images)))
        scores = distances.square().mean(dim=1)  # (B,)
        if not self.map_neighbours:
            return scores, None
        y = stack(maps)  # (B, D, h, w)
        where = []
        for one, rows in zip(y, indices[:, : self.map_neighbours], strict=True):
            gallery = self.places[rows].flatten(0, 1)  # (K * P, D)
            where.append(nearest(vectors(one[None]), gallery, self.kappa)[0].square().mean(dim=1))  # (P,)
        where = torch.stack(where).view(len(y), *y.shape[-2:])
        return scores, to_image(where, self.image_size)
