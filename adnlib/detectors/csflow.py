"""CS-Flow: one flow over the maps of three scales, with sub-networks that connect the scales."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from FrEIA.framework import GraphINN, InputNode, Node, OutputNode
from FrEIA.modules import InvertibleModule
from torch import Tensor, nn

from adnlib.detectors.base import Detector, Maps, batches, gather, minimise
from adnlib.errors import AdnError
from adnlib.system.seeds import seeded

SCALES = 3  # full size, half, quarter


class CSFlow(Detector):
    """Rudolph, Wehrbein, Rosenhahn, Wandt, "Fully Convolutional Cross-Scale-Flows for Image-based Defect Detection",
    WACV 2022, https://arxiv.org/abs/2110.02855

        y_s       = the last stage's maps of the image at full, half and quarter size, (C, h / 2^s, w / 2^s)
        z         = flow(y_0, y_1, y_2), a chain of permutations and coupling blocks
        r(x)_s    = gamma_s (convolutions of x_s + upsampled convolutions of x_s+1 + strided convolutions of x_s-1)
        loss      = (|z|^2 / 2 - log|det dz/dy|) / number of values
        score     = the mean of z^2 / 2 over all values
        map       = the product over s of the mean over channels of z_s^2, resized to the image

    Deviations: the authors' backbone is EfficientNet-B5 at 768 px. Maps that cannot be halved exactly are resized
    first (bilinear). log|det| is computed per image (anomalib sums it over the batch). The map, Adam's betas and the
    permutation (the same one for all scales) are anomalib's. The learning rate falls to zero along half a cosine.
    Options, default; authors' value: blocks (4), hidden (32; 1024 channels), clamp (3.0), epochs (10; 240),
    lr (2e-3; 2e-4), batch (16).
    """

    title = "CS-Flow"

    def __init__(
        self,
        backbone: nn.Module,
        image_size: int = 256,
        seed: int = 0,
        *,
        blocks: int = 4,
        hidden: int = 32,
        clamp: float = 3.0,
        epochs: int = 10,
        lr: float = 2e-3,
        batch: int = 16,
    ):
        super().__init__(backbone, image_size, seed)
        self.epochs, self.lr, self.batch = epochs, lr, batch
        with seeded(seed):
            self.flow = cross_scale_flow(self.map_shapes(), blocks, hidden, clamp)

    def maps(self, images: Tensor) -> Maps:
        """Images (B, 3, S, S) -> maps (B, C, h / 2^s, w / 2^s) for s = 0, 1, 2."""
        step = 2 ** (SCALES - 1)
        try:
            y = [self.backbone(images[:, :, :: 2**s, :: 2**s])[-1] for s in range(SCALES)]  # every 2^s-th pixel
        except AdnError as error:  # the message of the backbone names the size of one scale
            raise AdnError(
                f"image_size={self.image_size} is too small for {SCALES} scales, since the last scale has 1/{step} of "
                "this size: choose a larger one."
            ) from error
        height, width = (side // step * step for side in y[0].shape[-2:])
        if not height or not width:
            raise AdnError(
                f"image_size={self.image_size} gives a map of {y[0].shape[-2]} x {y[0].shape[-1]} positions, which is "
                f"too small for {SCALES} scales: choose a larger one."
            )
        sizes = [(height // 2**s, width // 2**s) for s in range(SCALES)]
        return [
            x if x.shape[-2:] == size else F.interpolate(x, size, mode="bilinear")
            for x, size in zip(y, sizes, strict=True)
        ]

    def loss(self, maps: Maps) -> Tensor:
        """Maps of a batch -> its negative log-likelihood without the constant, in nats per value."""
        z, log_det = self.flow(maps)
        values = sum(z_s[0].numel() for z_s in z)
        return (0.5 * sum(z_s.square().sum(dim=(1, 2, 3)) for z_s in z) - log_det).mean() / values

    def learn(self, chunks: Iterator[Maps]) -> None:
        maps = gather(chunks)
        rows = list(batches(len(maps[0]), self.batch, self.epochs))
        losses = (self.loss([y[i] for y in maps]) for i in rows)
        minimise(
            self.flow.parameters(),
            losses,
            len(rows),
            clip=1.0,
            lr=self.lr,
            betas=(0.5, 0.9),
            eps=1e-4,
            weight_decay=1e-5,
        )

    def judge(self, maps: Maps) -> tuple[Tensor, Tensor]:
        z, _ = self.flow(maps)
        scores = torch.cat([z_s.flatten(1) for z_s in z], dim=1).square().mean(dim=1) / 2
        where = torch.tensor(1.0)
        for z_s in z:
            energy = z_s.square().mean(dim=1, keepdim=True)  # (B, 1, h, w)
            where = where * F.interpolate(energy, size=(self.image_size,) * 2, mode="bilinear")
        return scores, where[:, 0]


def cross_scale_flow(shapes: list[torch.Size], blocks: int, hidden: int, clamp: float) -> GraphINN:
    """A flow, maps -> (z of each scale, log_det (B,)). The sub-networks of the last block have 5 x 5 kernels."""
    nodes = [InputNode(*shape, name=f"scale {s}") for s, shape in enumerate(shapes)]
    ends = [node.out0 for node in nodes]
    for block in range(blocks):
        arguments = {"seed": block, "hidden": hidden, "kernel": 5 if block == blocks - 1 else 3, "clamp": clamp}
        nodes.append(Node(ends, CrossScaleCoupling, arguments, name=f"block {block}"))
        ends = [nodes[-1].out0, nodes[-1].out1, nodes[-1].out2]
    return GraphINN(nodes + [OutputNode(end, name=f"z {s}") for s, end in enumerate(ends)])


class CrossScaleCoupling(InvertibleModule):
    """A fixed permutation of the channels, the same at all scales, then an affine coupling of their two halves."""

    def __init__(self, dims_in: list[tuple], seed: int, hidden: int, kernel: int, clamp: float):
        super().__init__(dims_in)
        channels, self.clamp = dims_in[0][0], clamp
        self.half = channels // 2  # number of channels in x_1; x_2 has the others
        order = torch.from_numpy(np.random.default_rng(seed).permutation(channels))
        self.register_buffer("order", order)
        self.r1 = CrossConvolutions(self.half, 2 * (channels - self.half), hidden, kernel)
        self.r2 = CrossConvolutions(channels - self.half, 2 * self.half, hidden, kernel)

    def couple(self, x: Maps, s_and_t: Maps, rev: bool) -> tuple[Maps, Tensor]:
        """x -> exp(s) x + t at each scale, or its inverse; and the sum of s for each image (B,)."""
        out, log_det = [], torch.tensor(0.0)
        for x_s, both in zip(x, s_and_t, strict=True):
            s, t = both.tensor_split([x_s.shape[1]], dim=1)
            s = self.clamp * 0.636 * torch.atan(s / self.clamp)
            out.append((x_s - t) * (-s).exp() if rev else s.exp() * x_s + t)
            log_det = log_det + s.sum(dim=(1, 2, 3))
        return out, log_det

    def forward(self, x: Maps, rev: bool = False, jac: bool = True) -> tuple[Maps, Tensor]:
        if not rev:
            x = [x_s[:, self.order] for x_s in x]
        x1, x2 = [x_s[:, : self.half] for x_s in x], [x_s[:, self.half :] for x_s in x]
        if rev:
            x2, j2 = self.couple(x2, self.r1(x1), rev)
            x1, j1 = self.couple(x1, self.r2(x2), rev)
        else:
            x1, j1 = self.couple(x1, self.r2(x2), rev)
            x2, j2 = self.couple(x2, self.r1(x1), rev)
        x = [torch.cat(pair, dim=1) for pair in zip(x1, x2, strict=True)]
        if rev:
            x = [x_s[:, self.order.argsort()] for x_s in x]
        return x, -(j1 + j2) if rev else j1 + j2

    def output_dims(self, input_dims: list[tuple]) -> list[tuple]:
        return input_dims


class CrossConvolutions(nn.Module):
    """The sub-network: convolutions within each scale and between neighbours. With gamma 0, s and t are 0."""

    def __init__(self, c_in: int, c_out: int, hidden: int, kernel: int):
        super().__init__()

        def convolutions(c_in: int, c_out: int, count: int, stride: int = 1) -> nn.ModuleList:
            return nn.ModuleList(nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2) for _ in range(count))

        self.enter = convolutions(c_in, hidden, SCALES)
        self.leave = convolutions(hidden, c_out, SCALES)
        self.up = convolutions(hidden, c_out, SCALES - 1)  # from scale s + 1 to s
        self.down = convolutions(hidden, c_out, SCALES - 1, stride=2)  # from scale s to s + 1
        self.gamma = nn.Parameter(torch.zeros(SCALES))

    def forward(self, x: Maps) -> Maps:
        a = [F.leaky_relu(enter(x_s), 0.1) for enter, x_s in zip(self.enter, x, strict=True)]
        y = [leave(a_s) for leave, a_s in zip(self.leave, a, strict=True)]
        for s in range(SCALES - 1):
            y[s] = y[s] + self.up[s](F.interpolate(a[s + 1], size=a[s].shape[-2:], mode="bilinear"))
            y[s + 1] = y[s + 1] + self.down[s](a[s])
        return [gamma * y_s for gamma, y_s in zip(self.gamma, y, strict=True)]
