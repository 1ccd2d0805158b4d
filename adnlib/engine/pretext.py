"""Pretext training: attention learns to distinguish images with synthetic defects from the same images without them.

The gates learn what a defect looks like. Afterwards, the flow is trained on normal images only, on features weighted by
these gates. The pairs come from one of two sources: patches cut and pasted in the data set's normal images, or
rendered metal parts (adnlib.imagesets.wild_parts) with known damage. The test images are not used.
"""

import sys
from collections.abc import Iterator

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
OTHER_SEED = 10_000  # for the rendered pairs: none of them is an image of the data set wild_parts


def learn_attention(
    model: DifferNet, dataset: Dataset, *, seed: int = 0, epochs: int = EPOCHS, progress: bool = False
) -> float:
    """Trains `model.features.attention` on pairs of the kind `model.train_attention` ("cutpaste" or "wild_parts") and
    freezes it; returns the classification accuracy in the last epoch (0.5 is chance).

    A linear classifier reads the standardised features (B, 768) and is discarded afterwards. The flow is not changed.
    The same seed gives the same gates to the last bit on one machine.
    """
    device = model.device
    size = model.preset.image_size
    normal = read_images(dataset.train, size) if model.train_attention == "cutpaste" else rendered_pairs(size)
    if len(normal) < 2:
        raise AdnError("train_attention='cutpaste' needs at least two training images: add some.")
    with seeded(seed):
        classifier = nn.Sequential(nn.BatchNorm1d(768, affine=False), nn.Linear(768, 1)).to(device)
    attention = model.features.attention.requires_grad_(True)
    optimizer = torch.optim.Adam([*attention.parameters(), *classifier.parameters()], lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    views = model.preset.views("train")
    accuracy = float("nan")
    for _ in tqdm(range(epochs), desc="attention", file=sys.stdout, leave=False, disable=not progress):
        correct, total = torch.zeros((), dtype=torch.long, device=device), 0
        for pairs in _batches(normal, generator):  # uint8 (2, B, 3, S, S): without a defect, with one
            view = views[int(torch.randint(len(views), (), generator=generator))]
            with autocast(model.preset.precision, device):
                y = model.features(view(pairs.flatten(0, 1).to(device, non_blocking=True)))  # (2 B, 768)
            logit = classifier(y)[:, 0]
            label = torch.arange(2, device=device).repeat_interleave(pairs.shape[1]).float()
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(logit, label).backward()
            optimizer.step()
            correct += ((logit > 0) == (label > 0)).sum()
            total += len(label)
        accuracy = correct.item() / total
    attention.requires_grad_(False)
    return accuracy


def _batches(images: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """One epoch of batches (2, B, 3, S, S) of pairs (N, 2, 3, S, S), or of images and their cut-and-paste copies."""
    for rows in torch.randperm(len(images), generator=generator).split(BATCH):
        if len(rows) > 1:  # batch statistics need two
            yield (
                images[rows].transpose(0, 1)
                if images.ndim == 5
                else torch.stack([images[rows], cut_paste(images[rows], generator)])
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
