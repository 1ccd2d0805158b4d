"""Training: maximises the likelihood of normal features; the epoch is selected on normal validation images."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from adnlib.datasets import Dataset
from adnlib.differnet import PRETEXTS, DifferNet
from adnlib.engine.checkpoint import CHECKPOINT_S, Checkpoint, training_digest
from adnlib.engine.extraction import transform_views
from adnlib.engine.feature_sources import FeatureSource, FrozenFeatures, JointFeatures
from adnlib.engine.pretext import learn_attention
from adnlib.errors import AdnError
from adnlib.flow import nll
from adnlib.system.device import pick_device
from adnlib.system.precision import autocast
from adnlib.system.stops import deferred_stops

DIVERGED = 1e6  # nats per dimension; successful training reaches single digits, whatever the initial loss


@dataclass(frozen=True)
class History:
    """The record of a training run. `epochs` has a row per epoch: epoch, train_nll, validation_nll (nats per
    dimension), seconds."""

    epochs: pd.DataFrame
    chosen_epoch: int  # the epoch with the lowest validation_nll; the model holds its weights
    seconds: float


def fit(
    model: DifferNet,
    dataset: Dataset,
    *,
    seed: int = 0,
    epochs: int | None = None,
    device: str = "auto",
    progress: bool = True,
    checkpoint: Path | str | None = None,
    checkpoint_s: float = CHECKPOINT_S,
    watch: Callable[[DifferNet, int], dict] | None = None,
) -> History:
    """Trains the flow, and the attention as `model.train_attention` specifies, on `dataset.train`.

    Afterwards the model holds the weights of its best epoch. The NLL of each image of `dataset.validation` is averaged
    over the test views; the best epoch has the lowest median of these averages over the images. (Their mean is useless
    here: a flow can give a single unusual normal image a score that is many orders of magnitude too high.) The test
    images are not used. The optimiser is that of DifferNet's published code: Adam, betas (0.8, 0.8), eps 1e-4, weight
    decay 1e-5. Deviation: the preset may limit the gradient's norm and decay lr.
    The same seed gives the same result to the last bit on one processor with the same number of threads. (On a GPU
    this holds only if no attention is trained: CUDA sums the gradient of max pooling in no fixed order.)
    After an error or an interrupt the model is unchanged or, if the loss diverged, holds the weights of its best epoch.
    The losses are read at the end of each epoch, so that a GPU is never waited for in between.

    seed: for the order of the images and the views of each. epochs: by default, the preset's. progress: shows a bar on
    standard output.
    checkpoint: a folder for the state of the training, written every `checkpoint_s` seconds (less often if that would
    take more than a tenth of the time), at the end, and after the current batch if Ctrl-C or SIGTERM stops the
    training. Training resumes from this state and ends with the same weights, to the last bit, as uninterrupted
    training. A second process in the same folder is refused.
    watch: called after each epoch with the model and the epoch's number (-1 after the last epoch); the dict that it
    returns is added to the epoch's row. It does not influence the training.
    """
    start = time.perf_counter()
    epochs = model.preset.epochs if epochs is None else epochs
    if epochs < 1:
        raise AdnError(f"epochs={epochs} trains nothing: choose 1 or more.")
    model.to(pick_device(device)).train()
    with Checkpoint(checkpoint, checkpoint_s) as saved, restored_on_error(model):
        state = saved.read(training_digest(model, dataset, seed, epochs)) if checkpoint else None
        if model.train_attention in PRETEXTS:
            if state:
                model.features.attention.load_state_dict(state["attention"])
            else:
                learn_attention(model, dataset, seed=seed, progress=progress)
        source = (JointFeatures if model.trains_jointly else FrozenFeatures)(model, dataset, progress)
        loop = TrainingLoop(model, source, len(dataset.train), seed, epochs)
        if state:
            loop.restore(state)
        seconds_before = loop.seconds
        bar = tqdm(
            total=epochs,
            initial=loop.epoch,
            desc="epoch",
            file=sys.stdout,
            leave=False,
            disable=not progress,
            mininterval=1,
        )
        with bar, deferred_stops() as stop:
            while loop.epoch < epochs:
                row = loop.end_epoch() if loop.step() else None
                loop.seconds = seconds_before + time.perf_counter() - start
                if row:
                    row["seconds"] = loop.seconds
                    if watch:
                        values = watch(model, row["epoch"] if loop.epoch < epochs else -1)
                        row |= {name: float(value) for name, value in values.items()}
                    bar.set_postfix(nll=f"{row['train_nll']:.2f}", validation=f"{row['validation_nll']:.2f}")
                    bar.update()
                if stop.signal:
                    saved.write(loop.state())
                    stop.deliver()
                saved.write_if_due(loop.state)
        saved.write(loop.state())
        if not loop.best < DIVERGED:
            raise AdnError(
                f"No epoch reached a validation loss below {DIVERGED:.0e}: lower lr in the preset, or set rescale."
            )
    model.load_state_dict(model.state_dict() | loop.best_weights)
    model.eval()
    return History(pd.DataFrame(loop.rows), loop.chosen_epoch, loop.seconds)


class TrainingLoop:
    """One training run, batch by batch, with the full state from which another process can resume it exactly.

    No step waits for the device: the losses stay there and are read once per epoch, in `end_epoch`.
    """

    COUNTERS = ("epoch", "batch", "rows", "best", "chosen_epoch", "seconds")  # part of its state

    def __init__(self, model: DifferNet, source: FeatureSource, images: int, seed: int, epochs: int):
        self.model, self.source, self.preset = model, source, model.preset
        self.images, self.epochs, self.device = images, epochs, model.device
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.Adam(
            self.parameters.values(), lr=self.preset.lr, betas=(0.8, 0.8), eps=1e-4, weight_decay=1e-5, fused=True
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.epoch = self.batch = 0  # complete epochs; complete batches of the current one
        self.loss_sum = torch.zeros((), dtype=torch.double, device=self.device)  # of this epoch so far, over its images
        self.loss = self.loss_sum  # of the last batch or, if there is one, of the epoch's first that is not finite
        self.rows, self.best, self.chosen_epoch, self.best_weights, self.seconds = [], math.inf, 0, {}, 0.0

    def step(self) -> bool:
        """Trains on one batch; returns True if it was the last one of its epoch."""
        if not self.batch:
            self._begin_epoch()
        rows, views = self.batches[self.batch]
        y = self.source.batch(rows, views)  # (B, V, 768)
        with autocast(self.preset.flow_precision, self.device):
            loss = nll(*self.model.transform(y.flatten(0, 1))).mean()  # (B * V, 768) -> ()
        if self.model.train_attention == "guarded" and y[..., 0].numel() > 1:  # a single row has no spread
            loss = loss - spread(y)
        self.loss = torch.where(self.loss.isfinite(), loss.detach().double(), self.loss)
        self.loss_sum = self.loss_sum + self.loss * len(rows)
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr()
        self.optimizer.zero_grad()
        loss.backward()
        if self.preset.max_norm:
            nn.utils.clip_grad_norm_(self.parameters.values(), self.preset.max_norm)
        self.optimizer.step()
        self.batch += 1
        return self.batch == len(self.batches)

    @torch.inference_mode()
    def end_epoch(self) -> dict:
        """Evaluates the epoch on the validation images, stores its weights if it is the best so far; returns a row."""
        y = self.source.validation()
        z, log_det = transform_views(self.model, y)  # (N, V, 768), (N, V)
        validation = nll(z.flatten(0, 1), log_det.flatten()).view(log_det.shape).mean(dim=1).median().double()  # ()
        if self.model.train_attention == "guarded":
            validation = validation - spread(y).double()
        loss, loss_sum, validation_nll = torch.stack([self.loss, self.loss_sum, validation]).tolist()
        if not math.isfinite(loss):
            self._stop_diverged(loss)
        # without rescaling, the loss may start at 1e13 and fall: only a loss that has been low can diverge
        if self.best < DIVERGED and not validation_nll < DIVERGED:
            self._stop_diverged(validation_nll)
        self.epoch += 1
        row = {"epoch": self.epoch, "train_nll": loss_sum / self.images, "validation_nll": validation_nll}
        self.rows.append(row)
        self.batch, self.loss_sum = 0, torch.zeros_like(self.loss_sum)
        if validation_nll < self.best:
            self.best, self.chosen_epoch = validation_nll, self.epoch
            self.best_weights = {name: p.detach().clone() for name, p in self.parameters.items()}
        return row

    def state(self) -> dict:
        """The state that `restore` needs. DivergedError if a loss of the current epoch was not finite."""
        loss, loss_sum = torch.stack([self.loss, self.loss_sum]).tolist()
        if not math.isfinite(loss):
            self._stop_diverged(loss)
        return {
            "parameters": self.parameters,
            "best_weights": self.best_weights,
            "optimizer": self.optimizer.state_dict(),
            "attention": self.model.features.attention.state_dict(),
            "generator": self.epoch_generator if self.batch else self.generator.get_state(),
            "loss_sum": loss_sum,
            **{name: getattr(self, name) for name in self.COUNTERS},
        }

    @torch.no_grad()
    def restore(self, state: dict) -> None:
        """Continues from the `state` of another loop."""
        for name, parameter in self.parameters.items():
            parameter.copy_(state["parameters"][name])
        self.best_weights = {name: tensor.to(self.device) for name, tensor in state["best_weights"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.loss_sum = torch.tensor(state["loss_sum"], dtype=torch.double, device=self.device)
        for name in self.COUNTERS:
            setattr(self, name, state[name])
        if self.batch:
            self._begin_epoch()

    def _begin_epoch(self) -> None:
        """Draws the epoch's batches: the order of the images and the views of each."""
        self.epoch_generator = self.generator.get_state()  # draws the same batches again in `restore`
        order = torch.randperm(self.images, generator=self.generator)
        pool = self.preset.view_pool or self.preset.train_views
        views = torch.arange(pool).expand(self.images, pool)
        if self.preset.train_views < pool:
            views = torch.rand(views.shape, generator=self.generator).argsort(dim=1)[:, : self.preset.train_views]
        self.batches = [(rows, views[rows]) for rows in order.split(self.preset.batch_images)]
        self.source.begin_epoch(self.epoch + 1)

    def _lr(self) -> float:
        """The learning rate of this step: the preset's, or half a cosine from it to zero."""
        if not self.preset.lr_decay:
            return self.preset.lr
        progress = (self.epoch + self.batch / len(self.batches)) / self.epochs
        return self.preset.lr * (1 + math.cos(math.pi * progress)) / 2

    def _stop_diverged(self, loss: float):
        best = f"holds the weights of epoch {self.chosen_epoch}, the best so far"
        outcome = best if self.best_weights else "is unchanged"
        raise DivergedError(
            f"Training diverged in epoch {self.epoch + 1} (loss {loss:.3g}): lower lr in the preset; "
            f"the model {outcome}.",
            self.best_weights,
        )


def spread(y: Tensor) -> Tensor:
    """Features (B, V, 768) -> (): the mean over dimensions of the log of their standard deviation.

    When features shrink, the NLL in nats per dimension falls by exactly as much as `spread` does; attention that is
    trained by the NLL alone can therefore lower the loss by scaling down all features. NLL - spread is the NLL of
    standardised features, which does not depend on a common scale. It is the loss with train_attention="guarded".
    (Introduced in this suite, not in a paper.)
    """
    return y.flatten(0, 1).std(dim=0).clamp_min(1e-6).log().mean()  # always-zero features add a constant


class DivergedError(AdnError):
    """Training diverged; `best_weights` are the weights of the best epoch so far, if there is one."""

    def __init__(self, message: str, best_weights: dict[str, Tensor]):
        super().__init__(message)
        self.best_weights = best_weights


@contextmanager
def restored_on_error(model: DifferNet) -> Iterator[None]:
    """Restores the model after any exception in the block, including Ctrl-C, so that the call can be repeated."""
    before = {name: x.clone() for name, x in model.own_state().items()}
    try:
        yield
    except BaseException as error:
        best_weights = error.best_weights if isinstance(error, DivergedError) else {}
        model.load_state_dict(model.state_dict() | (best_weights or before))
        model.eval()
        raise
