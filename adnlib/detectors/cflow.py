"""CFLOW-AD: a flow for the features of one position, conditioned on the position."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from FrEIA.framework import SequenceINN
from FrEIA.modules import AllInOneBlock
from torch import Tensor, nn

from adnlib.detectors.base import Detector, Maps, batches, gather, minimise, vectors
from adnlib.errors import AdnError
from adnlib.models.backbones import Backbone
from adnlib.system.seeds import seeded


class CFLOW(Detector):
    """Gudovskiy, Ishizaka, Kozuka, "CFLOW-AD: Real-Time Unsupervised Anomaly Detection with Localization via
    Conditional Normalizing Flows", WACV 2022, https://arxiv.org/abs/2107.12571

        c         = sines and cosines of the position (i, j): the condition
        z         = flow_k(x | c) for the features x of one position at stage k, D_k values
        log p     = -D_k / 2 log(2 pi) - |z|^2 / 2 + log|det dz/dx|
        loss      = -log sigmoid(log p / D_k)                            as in the authors' code
        P_k       = exp(log p / D_k - its largest value), resized to the image
        map       = number of stages - sum over k of P_k;  score = the largest value of the map

    Deviations: "its largest value" is the largest over the training images, which makes the score of an image
    independent of the other test images (the authors' code takes the whole test set, anomalib the batch). An epoch uses
    `places` random positions of each image instead of all. The learning rate falls to zero along half a cosine.
    Options, default; authors' value: blocks (4; 8), hidden (1.0; 2.0: width of a sub-network's hidden layer, in
    multiples of its input), condition (32; 128 values), clamp (1.9), places (64; all), epochs (20; 25 x 8),
    lr (2e-3; 2e-4), batch (1024; 256 positions).
    """

    title = "CFLOW-AD"
    highest: Tensor

    def __init__(
        self,
        backbone: Backbone,
        image_size: int = 256,
        seed: int = 0,
        *,
        blocks: int = 4,
        hidden: float = 1.0,
        condition: int = 32,
        clamp: float = 1.9,
        places: int = 64,
        epochs: int = 20,
        lr: float = 2e-3,
        batch: int = 1024,
    ):
        super().__init__(backbone, image_size, seed)
        if condition % 4 or condition < 4:
            raise AdnError(f"condition={condition} cannot be split into two sines and two cosines: choose 4, 8, 12, ….")
        self.condition, self.places, self.epochs, self.lr, self.batch = condition, places, epochs, lr, batch

        def subnet(dims_in: int, dims_out: int) -> nn.Sequential:
            width = int(hidden * dims_in)
            return nn.Sequential(nn.Linear(dims_in, width), nn.ReLU(), nn.Linear(width, dims_out))

        self.flows = nn.ModuleList()
        with seeded(seed):
            for channels in backbone.channels:
                flow = SequenceINN(channels)
                for _ in range(blocks):
                    flow.append(
                        AllInOneBlock,
                        cond=0,
                        cond_shape=(condition,),
                        subnet_constructor=subnet,
                        affine_clamping=clamp,
                        permute_soft=False,
                    )
                self.flows.append(flow)
        self.register_buffer("highest", torch.zeros(len(self.flows)))  # largest log p / D_k of the training images

    def log_p(self, stage: int, x: Tensor, c: Tensor) -> Tensor:
        """Features x (Q, D) of positions with the conditions c (Q, condition) -> log p(x | c) / D, (Q,)."""
        z, log_det = self.flows[stage](x, [c])
        return (log_det - 0.5 * z.square().sum(dim=1)) / x.shape[1] - 0.5 * math.log(2 * math.pi)

    def learn(self, chunks: Iterator[Maps]) -> None:
        maps = gather(chunks)
        for stage, y in enumerate(maps):
            x = y.movedim(1, -1).flatten(1, 2)  # (N, P, D)
            c = vectors(encode_places(self.condition, *y.shape[-2:])[None]).to(x.device)  # (P, condition)
            steps = self.epochs * math.ceil(min(self.places, x.shape[1]) * len(x) / self.batch)
            losses = self._losses(stage, x, c)
            minimise(self.flows[stage].parameters(), losses, steps, lr=self.lr)
            with torch.no_grad():
                tops = [self.log_p(stage, one, c).max() for one in x]
            self.highest[stage] = torch.stack(tops).max()

    def _losses(self, stage: int, x: Tensor, c: Tensor) -> Iterator[Tensor]:
        """The loss of each minibatch of positions from all images: x (N, P, D), c (P, condition)."""
        images, places = x.shape[:2]
        shown = min(self.places, places)
        for _ in range(self.epochs):
            at = torch.rand(images, places).argsort(dim=1)[:, :shown].flatten()  # (N * shown,)
            of = torch.arange(images).repeat_interleave(shown)
            for rows in batches(len(at), self.batch, epochs=1):
                yield -F.logsigmoid(self.log_p(stage, x[of[rows], at[rows]], c[at[rows]])).mean()

    def judge(self, maps: Maps) -> tuple[Tensor, Tensor]:
        where = torch.full((len(maps[0]), self.image_size, self.image_size), float(len(maps)), device=maps[0].device)
        for stage, y in enumerate(maps):
            c = vectors(encode_places(self.condition, *y.shape[-2:])[None]).repeat(len(y), 1).to(y.device)
            p = (self.log_p(stage, vectors(y), c) - self.highest[stage]).exp().view(len(y), 1, *y.shape[-2:])
            where -= F.interpolate(p, size=where.shape[-2:], mode="bilinear", align_corners=True)[:, 0]
        return where.amax(dim=(1, 2)), where


def encode_places(values: int, height: int, width: int) -> Tensor:
    """The condition of each position, (values, height, width): sines and cosines of the column, then of the row.

    This is the positional encoding of Vaswani et al., "Attention Is All You Need", https://arxiv.org/abs/1706.03762.
    """
    half = values // 2
    rates = torch.exp(torch.arange(0, half, 2) * (-math.log(10000.0) / half))  # (values / 4,)
    c = torch.empty(values, height, width)
    for first, length, shape in ((0, width, (-1, 1, width)), (half, height, (-1, height, 1))):
        angle = rates[:, None] * torch.arange(length)  # (values / 4, length)
        c[first : first + half : 2] = angle.sin().view(shape)
        c[first + 1 : first + half : 2] = angle.cos().view(shape)
    return c
