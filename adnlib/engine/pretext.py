"""Pretext training: attention learns from pairs of images before the flow is trained on features that it weights.

Two pretexts show the gates what a defect looks like: they distinguish images with synthetic defects from the same
images without them. The defects are patches cut and pasted in the data set's normal images ("cutpaste"), or known
damage of rendered metal parts ("wild_parts", adnlib.imagesets.wild_parts). The third one shows what belongs to the
background: the gates learn to recognise the centre of a normal image in other surroundings ("background"). The test
images are not used.
"""

import sys
from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from adnlib.datasets import Dataset
from adnlib.differnet import DifferNet
from adnlib.engine.extraction import read_images
from adnlib.errors import AdnError
from adnlib.imagesets.wild_parts import DEFECTS, PARTS, render
from adnlib.system.precision import autocast
from adnlib.system.seeds import seeded

EPOCHS = 8
BATCH = 24  # pairs
RENDERED = 60  # pairs per part
TEMPERATURE = 0.1  # of the similarities in `Matching`
OTHER_SEED = 10_000  # for the rendered pairs: none of them is an image of the data set wild_parts


def learn_attention(
    model: DifferNet, dataset: Dataset, *, seed: int = 0, epochs: int = EPOCHS, progress: bool = False
) -> float:
    """Trains `model.features.attention` on pairs of the kind `model.train_attention`, one of
    adnlib.differnet.PRETEXTS, and freezes it; returns the share of right answers in the last epoch.

    What reads the features, `Classification` or `Matching`, is discarded afterwards. The flow is not changed. The same
    seed gives the same gates to the last bit on one machine.
    """
    device, how, size = model.device, model.train_attention, model.preset.image_size
    normal = rendered_pairs(size) if how == "wild_parts" else read_images(dataset.train, size)
    if len(normal) < 2:
        raise AdnError(f"train_attention={how!r} needs at least two training images: add some.")
    with seeded(seed):
        task = (Matching() if how == "background" else Classification()).to(device)
    attention = model.features.attention.requires_grad_(True)
    optimizer = torch.optim.Adam([*attention.parameters(), *task.parameters()], lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    views = model.preset.views("train")
    change = surrounded if how == "background" else cut_paste
    accuracy = float("nan")
    for _ in tqdm(range(epochs), desc="attention", file=sys.stdout, leave=False, disable=not progress):
        correct, total = torch.zeros((), dtype=torch.long, device=device), 0
        for pairs in _batches(normal, generator, change):  # uint8 (2, B, 3, S, S): as they are, changed
            view = views[int(torch.randint(len(views), (), generator=generator))]
            with autocast(model.preset.precision, device):
                y = model.features(view(pairs.flatten(0, 1).to(device, non_blocking=True)))  # (2 B, 768)
            loss, right = task(y.float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            correct += right.sum()
            total += len(right)
        accuracy = correct.item() / total
    attention.requires_grad_(False)
    return accuracy


class Classification(nn.Module):
    """A linear classifier of standardised features: is there a defect? Chance is 0.5."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Sequential(nn.BatchNorm1d(768, affine=False), nn.Linear(768, 1))

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Features (2 B, 768), the first half without a defect -> the loss (), whether each answer is right (2 B,)."""
        logit = self.classifier(y)[:, 0]
        label = torch.arange(2, device=y.device).repeat_interleave(len(y) // 2).float()
        return F.binary_cross_entropy_with_logits(logit, label), (logit > 0) == (label > 0)


class Matching(nn.Module):
    """Which of the changed images is this one? Chance is 1 / B.

    The loss is the NT-Xent loss of SimCLR (Chen, Kornblith, Norouzi, Hinton, https://arxiv.org/abs/2002.05709) on
    standardised features, in one direction.
    """

    def __init__(self):
        super().__init__()
        self.standardise = nn.BatchNorm1d(768, affine=False)

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Features (2 B, 768) of images and of their changed copies -> the loss (), is each match right (B,)."""
        images, copies = F.normalize(self.standardise(y)).chunk(2)  # (B, 768) each
        logits = images @ copies.T / TEMPERATURE  # (B, B)
        target = torch.arange(len(images), device=y.device)
        return F.cross_entropy(logits, target), logits.argmax(dim=1) == target


def _batches(
    images: Tensor, generator: torch.Generator, change: Callable[[Tensor, torch.Generator], Tensor]
) -> Iterator[Tensor]:
    """One epoch of batches (2, B, 3, S, S) of pairs (N, 2, 3, S, S), or of images (N, 3, S, S) and changed copies."""
    for rows in torch.randperm(len(images), generator=generator).split(BATCH):
        if len(rows) > 1:  # batch statistics need two
            yield (
                images[rows].transpose(0, 1)
                if images.ndim == 5
                else torch.stack([images[rows], change(images[rows], generator)])
            )


def cut_paste(images: Tensor, generator: torch.Generator) -> Tensor:
    """CutPaste: copies a random rectangle of each image (B, 3, S, S), 2 to 15 % of its area, to another position,
    slightly brighter or darker.

    Li, Sohn, Yoon, Pfister, "CutPaste", CVPR 2021, https://arxiv.org/abs/2104.04015. Deviations: only the
    brightness of the patch is jittered, and there are no scar-shaped and no rotated patches.
    """
    size = images.shape[-1]
    pasted = images.clone()
    for image in pasted:
        area, ratio, brightness, *position = torch.rand(7, generator=generator).tolist()
        area, ratio = (0.02 + 0.13 * area) * size**2, 0.3 * (1 / 0.3**2) ** ratio  # height / width: 0.3 to 3.3
        height, width = (min(size - 1, round(np.sqrt(area * r))) for r in (ratio, 1 / ratio))
        y, x, to_y, to_x = (int(p * (size - s)) for p, s in zip(position, [height, width] * 2, strict=True))
        patch = image[:, y : y + height, x : x + width].float() * (0.9 + 0.2 * brightness)
        image[:, to_y : to_y + height, to_x : to_x + width] = patch.clamp(0, 255).to(image.dtype)
    return pasted


def surrounded(images: Tensor, generator: torch.Generator) -> Tensor:
    """The centre of each image (B, 3, S, S) in front of the surroundings of the next one, mirrored or not.

    The centre is an ellipse with axes of 50 to 90 % of the side.
    """
    size = images.shape[-1]
    axis = torch.linspace(-1, 1, size)
    others, changed = images.roll(1, dims=0), images.clone()
    for image, other in zip(changed, others, strict=True):
        height, width, mirror = torch.rand(3, generator=generator).tolist()
        across, down = (axis / (0.5 + 0.4 * share) for share in (width, height))
        outside = down[:, None].square() + across.square() > 1  # (S, S)
        image[:, outside] = (other.flip(-1) if mirror < 0.5 else other)[:, outside]
    return changed


def rendered_pairs(size: int) -> Tensor:
    """Metal parts on wild backgrounds, intact and damaged: uint8 (N, 2, 3, size, size)."""
    pairs = []
    for part in PARTS:
        for index in range(RENDERED):
            defect = DEFECTS[index % len(DEFECTS)]
            scene = (part, "wild", "train", defect, index, OTHER_SEED)
            pairs.append(np.stack([render(*scene, damaged=False)[0], render(*scene)[0]]))
    x = torch.from_numpy(np.stack(pairs)).permute(0, 1, 4, 2, 3)  # (N, 2, 3, 256, 256)
    if x.shape[-1] == size:
        return x.contiguous()
    return F.interpolate(x.flatten(0, 1), size=size, mode="bilinear", antialias=True).view(len(x), 2, 3, size, size)
