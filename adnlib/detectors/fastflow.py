"""FastFlow: a convolutional flow over the whole feature map of each stage."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from FrEIA.framework import SequenceINN
from FrEIA.modules import AllInOneBlock
from torch import Tensor, nn

from adnlib.detectors.base import Detector, Maps, batches, gather, minimise
from adnlib.system.seeds import seeded


class FastFlow(Detector):
    """Yu, Zheng, Wang, Li, Wu, Zhao, Wu, "FastFlow: Unsupervised Anomaly Detection and Localization via 2D Normalizing
    Flows", 2021, https://arxiv.org/abs/2111.07677

        y_k       = LayerNorm of the maps of stage k, (C_k, h_k, w_k)
        z_k       = flow_k(y_k) with convolutional sub-networks, 3 x 3 and 1 x 1 alternating
        loss      = sum over k of the mean over images of |z_k|^2 / 2 - log|det dz_k/dy_k|
        map       = - mean over k of exp(- mean over channels of z_k^2 / 2), resized to the image
        score     = the largest value of the map

    Deviations: the map and the score are those of anomalib, because the authors published no code. As in
    anomalib, the LayerNorms are trained, and the loss leaves out their determinant: it is the NLL of their output. The
    learning rate falls to zero along half a cosine, because the default has few epochs.
    Options, default; paper's value: steps (4; 8 for ResNet-18, 20 for transformers), hidden (width of a
    sub-network's hidden layer, in multiples of its input: 0.16; anomalib: 1.0 for ResNets, 0.16 for transformers),
    only_3x3 (False: 3 x 3 and 1 x 1 alternate), clamp (2.0), epochs (10; 500), lr (2e-3; 1e-3), batch (32).
    """

    title = "FastFlow"

    def __init__(
        self,
        backbone: nn.Module,
        image_size: int = 256,
        seed: int = 0,
        *,
        steps: int = 4,
        hidden: float = 0.16,
        only_3x3: bool = False,
        clamp: float = 2.0,
        epochs: int = 10,
        lr: float = 2e-3,
        batch: int = 32,
    ):
        super().__init__(backbone, image_size, seed)
        self.epochs, self.lr, self.batch = epochs, lr, batch
        shapes = self.map_shapes()
        with seeded(seed):
            self.norms = nn.ModuleList(nn.LayerNorm(shape) for shape in shapes)
            self.flows = nn.ModuleList()
            for shape in shapes:
                flow = SequenceINN(*shape)
                for step in range(steps):
                    subnet = convolutions(1 if step % 2 and not only_3x3 else 3, hidden)
                    flow.append(AllInOneBlock, subnet_constructor=subnet, affine_clamping=clamp, permute_soft=False)
                self.flows.append(flow)

    def transform(self, maps: Maps) -> tuple[Maps, Maps]:
        """Maps -> latents z_k (B, C_k, h_k, w_k) and log-determinants (B,), a list of each."""
        pairs = [flow(norm(y)) for flow, norm, y in zip(self.flows, self.norms, maps, strict=True)]
        return [z for z, _ in pairs], [log_det for _, log_det in pairs]

    def loss(self, maps: Maps) -> Tensor:
        """Maps of a batch -> its negative log-likelihood without the constant, in nats per image."""
        pairs = zip(*self.transform(maps), strict=True)
        losses = [(0.5 * z.square().sum(dim=(1, 2, 3)) - log_det).mean() for z, log_det in pairs]
        return sum(losses, torch.tensor(0.0))

    def learn(self, chunks: Iterator[Maps]) -> None:
        maps = gather(chunks)
        rows = list(batches(len(maps[0]), self.batch, self.epochs))
        losses = (self.loss([y[i] for y in maps]) for i in rows)
        minimise(self.parameters(), losses, len(rows), lr=self.lr, weight_decay=1e-5)

    def judge(self, maps: Maps) -> tuple[Tensor, Tensor]:
        where = torch.tensor(0.0)
        for z in self.transform(maps)[0]:
            p = torch.exp(-0.5 * z.square().mean(dim=1, keepdim=True))  # (B, 1, h, w)
            where = where - F.interpolate(p, size=(self.image_size,) * 2, mode="bilinear") / len(maps)
        return where.amax(dim=(1, 2, 3)), where[:, 0]


def convolutions(kernel: int, hidden: float):
    """A constructor of sub-networks for FrEIA: two convolutions with a ReLU in between."""

    def subnet(c_in: int, c_out: int) -> nn.Sequential:
        width = max(1, int(hidden * c_in))
        return nn.Sequential(
            nn.Conv2d(c_in, width, kernel, padding="same"), nn.ReLU(), nn.Conv2d(width, c_out, kernel, padding="same")
        )

    return subnet
