"""Training: maximise the likelihood of the normal features; normal validation images say when to stop."""

import sys
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from adnlib.datasets import Dataset
from adnlib.differnet import DifferNet
from adnlib.errors import AdnError, check_choice
from adnlib.flow import nll
from adnlib.speed import autocast
from adnlib.views import View

CHUNK = 32  # images whose features are computed at once; bounds memory, changes nothing else


@dataclass(frozen=True)
class History:
    """What `fit` saw. `epochs` has a row each: epoch, train_nll, validation_nll (nats per dimension), seconds."""

    epochs: pd.DataFrame
    chosen_epoch: int  # the model holds the weights of this epoch: the lowest validation_nll
    seconds: float


def pick_device(device: str = "auto") -> torch.device:
    """ "auto": the first CUDA GPU if there is one, else the processor."""
    check_choice("device", device, ["auto", "cpu", "cuda"])
    if device == "cuda" and not torch.cuda.is_available():
        raise AdnError("device='cuda' but torch sees no GPU: choose 'auto' or 'cpu'.")
    return torch.device("cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu"))


@torch.inference_mode()
def extract(model: DifferNet, images: Tensor, views: tuple[View, ...]) -> Tensor:
    """Features of every view: uint8 (N, 3, S, S) -> (N, V, 768) float32, on the model's device, computed with the
    preset's precision."""
    device = model.feature_mean.device
    y = []
    with autocast(model.preset.precision, device):
        for chunk in images.split(CHUNK):
            x = chunk.to(device)
            y.append(torch.stack([model.features(view(x)) for view in views], dim=1))
    return torch.cat(y)


def fit(
    model: DifferNet,
    dataset: Dataset,
    *,
    seed: int = 0,
    epochs: int | None = None,
    device: str = "auto",
    progress: bool = True,
) -> History:
    """Trains the flow (and the attention, if the model says so) on `dataset.train`; leaves the best epoch in `model`.

    Best: the lowest median, over the images of `dataset.validation`, of the NLL averaged over the test views. (The
    mean is useless here: a flow can give one unusual normal image a score of many powers of ten.) The test images
    are not touched. Optimiser as in DifferNet's published code: Adam, betas (0.8, 0.8), eps 1e-4, weight decay 1e-5.
    The same seed gives the same result to the last bit on one machine.

    seed: of the order of the images; epochs: the preset's unless given; progress: a bar on standard output.
    """
    start = time.perf_counter()
    preset, epochs = model.preset, epochs or model.preset.epochs
    model.to(pick_device(device)).train()
    device_ = model.feature_mean.device
    attention = list(model.features.attention.parameters())
    trained_attention = any(p.requires_grad for p in attention)
    learned = [p for p in model.parameters() if p.requires_grad]
    images = dataset.train.images(preset.image_size)  # (N, 3, S, S)
    held_out = dataset.validation.images(preset.image_size)

    y = extract(model, images, preset.views("train"))  # (N, V, 768)
    if preset.rescale:
        model.feature_mean.copy_(y.mean())
        model.feature_std.copy_(y.std())
    y_held_out = extract(model, held_out, preset.views("test"))

    optimizer = torch.optim.Adam(learned, lr=preset.lr, betas=(0.8, 0.8), eps=1e-4, weight_decay=1e-5, fused=True)
    steps = epochs * -(-len(images) // preset.batch_images)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps) if preset.lr_decay else None
    order = torch.Generator().manual_seed(seed)
    rows, best, best_state = [], np.inf, None
    bar = tqdm(range(1, epochs + 1), desc="epoch", file=sys.stdout, leave=False, disable=not progress, mininterval=1)
    for epoch in bar:
        views = preset.views("train", epoch)
        if preset.fresh_views and not trained_attention and epoch > 1:
            y = extract(model, images, views)
        total = 0.0
        for batch in torch.randperm(len(images), generator=order).split(preset.batch_images):
            if trained_attention:
                x = images[batch].to(device_)
                y_batch = torch.stack([model.features(view(x)) for view in views], dim=1)
            else:
                y_batch = y[batch]
            loss = nll(*model.transform(y_batch.flatten(0, 1))).mean()  # (B * V, 768) -> ()
            if not torch.isfinite(loss):
                raise AdnError(f"Training diverged in epoch {epoch} (loss {loss.item()}): lower lr in the preset.")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if decay:
                decay.step()
            total += loss.item() * len(batch)
        if trained_attention:
            y_held_out = extract(model, held_out, preset.views("test"))
        validation_nll = _median_nll(model, y_held_out)
        rows.append(
            {
                "epoch": epoch,
                "train_nll": total / len(images),
                "validation_nll": validation_nll,
                "seconds": time.perf_counter() - start,
            }
        )
        bar.set_postfix(nll=f"{total / len(images):.2f}", validation=f"{validation_nll:.2f}")
        if validation_nll < best:
            best, chosen = validation_nll, epoch
            best_state = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    if best_state is None:
        raise AdnError("No epoch gave a finite validation loss: lower lr in the preset.")
    model.load_state_dict(best_state, strict=False)
    model.eval()
    return History(pd.DataFrame(rows), chosen, time.perf_counter() - start)


@torch.inference_mode()
def _median_nll(model: DifferNet, y: Tensor) -> float:
    """(N, V, 768) -> the median over images of the NLL averaged over views."""
    return nll(*model.transform(y.flatten(0, 1))).view(y.shape[:2]).mean(dim=1).median().item()
