"""Reverse distillation: a student that reconstructs the teacher's feature maps from a compact summary."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, conv1x1, conv3x3

from adnlib.detectors.base import Detector, Maps, batches, gather, minimise, to_image
from adnlib.errors import AdnError
from adnlib.system.seeds import seeded


class ReverseDistillation(Detector):
    """Deng, Li, "Anomaly Detection via Reverse Distillation from One-Class Embedding", CVPR 2022,
    https://arxiv.org/abs/2201.10703

        E_k       = the teacher's feature maps, from the frozen backbone
        phi       = the bottleneck: all E_k fused at the size of the last, then halved
        D_k       = the student's maps, decoded from phi, the last stage first
        loss      = sum over k of 1 - cos(E_k, D_k), each flattened                as in the authors' code
        map       = sum over k of 1 - cos(E_k, D_k) at each position, resized to the image and smoothed
        score     = the largest value of the map

    This is plain reverse distillation; RD++ adds projections that are trained on images with artificial noise.
    Deviations: for ResNet-18 and width 1.0 the student is that of the authors (and of anomalib). Here a stage can have
    any number of channels and any size: the strides follow from the sizes, and maps that do not fit exactly are resized
    (bilinear). A `width` below 1 gives a narrower student with a 1 x 1 convolution to the teacher's channels. The
    learning rate falls to zero along half a cosine. Adam's betas (0.5, 0.99) are anomalib's.
    Options, default; authors' value: width (0.25; 1.0), epochs (10; 200), lr (5e-3), batch (16).
    """

    title = "reverse distillation"

    def __init__(
        self,
        backbone: nn.Module,
        image_size: int = 256,
        seed: int = 0,
        *,
        width: float = 0.25,
        epochs: int = 10,
        lr: float = 5e-3,
        batch: int = 16,
    ):
        super().__init__(backbone, image_size, seed)
        if not 0 < width <= 1:
            raise AdnError(f"width={width} is out of range: choose more than 0 and at most 1.")
        self.epochs, self.lr, self.batch = epochs, lr, batch
        with seeded(seed):
            self.student = Student(self.map_shapes(), width)

    def learn(self, chunks: Iterator[Maps]) -> None:
        maps = gather(chunks)
        rows = list(batches(len(maps[0]), self.batch, self.epochs))
        losses = (self.loss([y[i] for y in maps]) for i in rows)
        minimise(self.student.parameters(), losses, len(rows), lr=self.lr, betas=(0.5, 0.99))

    def loss(self, maps: Maps) -> Tensor:
        """Maps of a batch -> the sum over stages of 1 - cos between teacher and student."""
        pairs = zip(maps, self.student(maps), strict=True)
        losses = [(1 - F.cosine_similarity(e.flatten(1), d.flatten(1))).mean() for e, d in pairs]
        return sum(losses, torch.tensor(0.0))

    def judge(self, maps: Maps) -> tuple[Tensor, Tensor]:
        where = torch.tensor(0.0)
        for e, d in zip(maps, self.student(maps), strict=True):
            distance = 1 - F.cosine_similarity(e, d)[:, None]  # (B, 1, h, w)
            where = where + F.interpolate(distance, (self.image_size,) * 2, mode="bilinear", align_corners=True)
        where = to_image(where[:, 0], self.image_size)
        return where.amax(dim=(1, 2)), where


class Student(nn.Module):
    """Bottleneck and decoder: the teacher's maps (B, C_k, h_k, w_k) -> maps of the same shapes."""

    def __init__(self, shapes: list[torch.Size], width: float):
        super().__init__()
        self.sizes = [shape[1:] for shape in shapes]  # (h_k, w_k)
        channels = [shape[0] for shape in shapes]
        inner = [max(1, round(width * c)) for c in channels]
        steps = [max(1, round(a[0] / b[0])) for a, b in zip(self.sizes, self.sizes[1:], strict=False)]
        self.shrink = nn.ModuleList()  # stage k -> the size of the last stage, by strided convolutions
        for k in range(len(shapes) - 1):
            widths = [channels[k], *inner[k + 1 :]]
            chain = [convolution(a, b, step) for a, b, step in zip(widths, widths[1:], steps[k:], strict=False)]
            self.shrink.append(nn.Sequential(*chain))
        fused = inner[-1] * (len(shapes) - 1) + channels[-1]
        self.bottleneck = residual_blocks(fused, 2 * inner[-1], stride=2)
        self.grow, self.heads = nn.ModuleList(), nn.ModuleList()  # the last stage first
        c_in = 2 * inner[-1]
        for c_out, c_teacher, step in zip(inner[::-1], channels[::-1], [2, *steps[::-1]], strict=True):
            self.grow.append(nn.Sequential(Grow(c_in, c_out, step), Grow(c_out, c_out, 1)))
            self.heads.append(nn.Identity() if c_out == c_teacher else nn.Conv2d(c_out, c_teacher, 1))
            c_in = c_out
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, maps: Maps) -> Maps:
        fused = [fit_size(shrink(y), self.sizes[-1]) for shrink, y in zip(self.shrink, maps, strict=False)]
        x = self.bottleneck(torch.cat([*fused, maps[-1]], dim=1))
        out = []
        for grow, head, size in zip(self.grow, self.heads, self.sizes[::-1], strict=True):
            x = fit_size(grow(x), size)
            out.append(head(x))
        return out[::-1]


class Grow(nn.Module):
    """A residual block that upsamples by `step`: torchvision's BasicBlock with a transposed convolution first."""

    def __init__(self, c_in: int, c_out: int, step: int):
        super().__init__()

        def enlarge() -> nn.Module:
            return nn.ConvTranspose2d(c_in, c_out, kernel_size=step, stride=step, bias=False)

        self.conv1 = conv3x3(c_in, c_out) if step == 1 else enlarge()
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = conv3x3(c_out, c_out)
        self.bn2 = nn.BatchNorm2d(c_out)
        changes = step > 1 or c_in != c_out
        self.upsample = nn.Sequential(enlarge(), nn.BatchNorm2d(c_out)) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.upsample(x))


def convolution(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    """3 x 3 convolution, BatchNorm, ReLU."""
    return nn.Sequential(conv3x3(c_in, c_out, stride), nn.BatchNorm2d(c_out), nn.ReLU())


def residual_blocks(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    """Two of torchvision's BasicBlocks, the first one strided."""
    shortcut = nn.Sequential(conv1x1(c_in, c_out, stride), nn.BatchNorm2d(c_out))
    return nn.Sequential(BasicBlock(c_in, c_out, stride, shortcut), BasicBlock(c_out, c_out))


def fit_size(y: Tensor, size: torch.Size) -> Tensor:
    """y (B, C, h, w), resized if it does not have this size."""
    return y if y.shape[-2:] == size else F.interpolate(y, size=tuple(size), mode="bilinear")
