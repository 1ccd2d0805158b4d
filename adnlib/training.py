"""Training: maximise the likelihood of the normal features; normal validation images pick the epoch that is kept."""

import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from adnlib import cache
from adnlib.datasets import Dataset
from adnlib.differnet import PRETEXTS, DifferNet
from adnlib.errors import AdnError, check_choice
from adnlib.extraction import Stems, extract, features_of, read_images, transform_views
from adnlib.files import scratch_folder
from adnlib.flow import nll
from adnlib.pretext import learn_attention
from adnlib.speed import autocast, resolve

CHECKPOINT_S = 60.0
DIVERGED = 1e6  # nats per dimension; a sound training falls to single digits, wherever it starts


def spread(y: Tensor) -> Tensor:
    """Features (B, V, 768) -> (): the mean over dimensions of the log of their standard deviation.

    NLL in nats per dimension falls by exactly as much as `spread` does when features shrink, so attention that learns
    from it alone can win by dimming everything. NLL - spread is the NLL of the features standardised, which no scale
    changes: with train_attention="guarded" it is the loss. (This suite's own, no paper.)
    """
    return y.flatten(0, 1).std(dim=0).clamp_min(1e-6).log().mean()  # a feature that is always zero does not count


@dataclass(frozen=True)
class History:
    """What `fit` saw. `epochs` has a row each: epoch, train_nll, validation_nll (nats per dimension), seconds."""

    epochs: pd.DataFrame
    chosen_epoch: int  # the model holds the weights of this epoch: the lowest validation_nll
    seconds: float


def pick_device(device: str = "auto") -> torch.device:
    """ "auto": the first CUDA GPU if there is one, else the processor. On a GPU convolutions are then repeatable, and
    float32 means it: its shorter cousin TF32 is switched off."""
    check_choice("device", device, ["auto", "cpu", "cuda"])
    if device == "cuda" and not torch.cuda.is_available():
        raise AdnError("device='cuda' but torch sees no GPU: choose 'auto' or 'cpu'.")
    picked = "cuda" if device == "auto" and torch.cuda.is_available() else device.replace("auto", "cpu")
    if picked == "cuda":
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
    return torch.device(picked)


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
    """Trains the flow (and the attention, if the model says so) on `dataset.train`; leaves the best epoch in `model`.

    Best: the lowest median, over the images of `dataset.validation`, of the NLL averaged over the test views. (The
    mean is useless here: a flow can give one unusual normal image a score of many powers of ten.) The test images
    are not touched. Optimiser as in DifferNet's published code: Adam, betas (0.8, 0.8), eps 1e-4, weight decay 1e-5;
    that code limits no gradient, the preset's max_norm does.
    The same seed gives the same result to the last bit on one processor with the same number of threads. (On a GPU that
    holds where no attention is trained: CUDA adds up the gradient of max pooling in any order.)
    After an error or a stop the model is what it was before, or, where the loss diverged, the best epoch until then.

    seed: of the order of the images and of the views that each is shown; epochs: the preset's unless given;
    progress: a bar on standard output.
    checkpoint: a folder for the state of the training, written every `checkpoint_s` seconds, less often where that
    would take more than a tenth of the time, and at the end. A training that was stopped at any point goes on from
    there, and ends with the same weights to the last bit as one that was not; a second process in the same folder is
    refused.
    watch: called with the model and its epoch's number after each epoch (-1 after the last); the dict that it returns
    joins the epoch's row. It decides nothing.
    """
    start = time.perf_counter()
    epochs = model.preset.epochs if epochs is None else epochs
    if epochs < 1:
        raise AdnError(f"epochs={epochs} trains nothing: choose 1 or more.")
    model.to(pick_device(device)).train()
    with _Checkpoint(checkpoint, checkpoint_s) as kept, _undone_by_errors(model):
        state = kept.read(_fingerprint(model, dataset, seed, epochs)) if checkpoint else None
        if model.train_attention in PRETEXTS:
            if state:
                model.features.attention.load_state_dict(state["attention"])
            else:
                learn_attention(model, dataset, seed=seed, progress=progress)
        source = (_Trained if model.trains_jointly else _Frozen)(model, dataset, progress)
        training = _Training(model, dataset, source, seed, epochs)
        if state:
            training.restore(state)
        earlier = training.seconds
        bar = tqdm(total=training.epochs, initial=training.epoch, desc="epoch", file=sys.stdout, leave=False,
                   disable=not progress, mininterval=1)  # fmt: skip
        with bar:
            while training.epoch < training.epochs:
                epoch_ended = training.step()
                training.seconds = earlier + time.perf_counter() - start
                if epoch_ended:
                    row = training.end_epoch()
                    if watch:
                        seen = watch(model, row["epoch"] if training.epoch < training.epochs else -1)
                        row |= {name: float(value) for name, value in seen.items()}
                    bar.set_postfix(nll=f"{row['train_nll']:.2f}", validation=f"{row['validation_nll']:.2f}")
                    bar.update()
                kept.write_if_due(training)
        kept.write(training)
        if not training.best < DIVERGED:
            raise AdnError(f"No epoch gave a validation loss below {DIVERGED:.0e}: lower lr in the preset, or rescale.")
    model.load_state_dict(training.best_weights, strict=False)
    model.eval()
    return History(pd.DataFrame(training.rows), training.chosen, training.seconds)


class _Diverged(AdnError):
    """The loss grew beyond all bounds; `best_weights` are those of the best epoch until then, if there was one."""

    def __init__(self, message: str, best_weights: dict[str, Tensor]):
        super().__init__(message)
        self.best_weights = best_weights


@contextmanager
def _undone_by_errors(model: DifferNet) -> Iterator[None]:
    """After any exception, also Ctrl-C, the model is what it was before: the same call again trains the same."""
    before = {name: x.clone() for name, x in model.state_dict().items() if not name.startswith("features.alexnet.")}
    try:
        yield
    except BaseException as error:
        last_good = error.best_weights if isinstance(error, _Diverged) else {}
        model.load_state_dict(last_good or before, strict=False)
        model.eval()
        raise


def _fingerprint(model: DifferNet, dataset: Dataset, seed: int, epochs: int) -> str:
    """A name for everything that a training's course depends on."""
    device = model.feature_mean.device
    images = [cache.file_digest(sample.path) for split in (dataset.train, dataset.validation) for sample in split]
    precisions = [resolve(p, device) for p in (model.preset.precision, model.preset.flow_precision)]
    return cache.digest(
        "training, version 2", images, asdict(model.preset), cache.module_digest(model), model.train_attention, seed,
        epochs, precisions, device.type, torch.__version__,
    )  # fmt: skip


class _Frozen:
    """Features of a network in which nothing is trained: computed once for each view, or anew for fresh views."""

    def __init__(self, model: DifferNet, dataset: Dataset, progress: bool):
        self.model, self.split, self.preset = model, dataset.train, model.preset
        _rescale(model, dataset, progress)
        self.y_validation = features_of(model, dataset.validation, self.preset.views("test"), progress=progress)
        if not self.preset.fresh_views:
            self.y = features_of(model, self.split, self.preset.views("train"), progress=progress)  # (N, P, 768)

    def begin_epoch(self, epoch: int) -> None:
        if self.preset.fresh_views:
            self.y = features_of(self.model, self.split, self.preset.views("train", epoch), keep=False)

    def batch(self, rows: Tensor, picked: Tensor) -> Tensor:
        """Features (B, V, 768) of the images `rows` (B,), each in its own views `picked` (B, V)."""
        return self.y[rows[:, None].to(self.y.device), picked.to(self.y.device)]

    def validation(self) -> Tensor:
        """Features (N, V, 768) of the validation images in the test views."""
        return self.y_validation


class _Trained:
    """Features through attention that is trained: what lies before it is computed once where it fits into memory."""

    def __init__(self, model: DifferNet, dataset: Dataset, progress: bool):
        self.model, self.preset = model, model.preset
        _rescale(model, dataset, progress)
        self.images = read_images(dataset.train, self.preset.image_size)  # (N, 3, S, S)
        self.images_validation = read_images(dataset.validation, self.preset.image_size)
        self.stems = Stems(model, self.images, self.preset.views("train"), keep=not self.preset.fresh_views)

    def begin_epoch(self, epoch: int) -> None:
        self.stems.views = self.preset.views("train", epoch)

    def batch(self, rows: Tensor, picked: Tensor) -> Tensor:
        """Features (B, V, 768) of the images `rows` (B,), all in the views of the first row of `picked` (B, V)."""
        return torch.stack([self.stems.features(rows, view) for view in picked[0].tolist()], dim=1)

    def validation(self) -> Tensor:
        return extract(self.model, self.images_validation, self.preset.views("test"))


def _rescale(model: DifferNet, dataset: Dataset, progress: bool) -> None:
    if model.preset.rescale:
        y = features_of(model, dataset.train, model.preset.views("train"), progress=progress)
        model.feature_mean.copy_(y.mean())
        model.feature_std.copy_(y.std())


class _Training:
    """One training and everything that a later process needs to go on with it exactly."""

    def __init__(self, model: DifferNet, dataset: Dataset, source: _Frozen | _Trained, seed: int, epochs: int):
        self.model, self.source, self.preset, self.epochs = model, source, model.preset, epochs
        self.images, self.device = len(dataset.train), model.feature_mean.device
        self.learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.optimizer = torch.optim.Adam(self.learned.values(), lr=self.preset.lr, betas=(0.8, 0.8), eps=1e-4,
                                          weight_decay=1e-5, fused=True)  # fmt: skip
        self.dice = torch.Generator().manual_seed(seed)
        self.epoch = self.done = 0  # epochs that ended; batches of the one that is under way
        self.total = 0.0  # the loss so far, summed over this epoch's images
        self.rows, self.best, self.chosen, self.best_weights, self.seconds = [], math.inf, 0, {}, 0.0

    def state(self) -> dict:
        return {
            "learned": self.learned, "best_weights": self.best_weights, "optimizer": self.optimizer.state_dict(),
            "attention": self.model.features.attention.state_dict(),
            "dice": self.dice_before if self.done else self.dice.get_state(),
            **{name: getattr(self, name) for name in PLAIN},
        }  # fmt: skip

    @torch.no_grad()
    def restore(self, state: dict) -> None:
        for name, parameter in self.learned.items():
            parameter.copy_(state["learned"][name])
        self.best_weights = {name: tensor.to(self.device) for name, tensor in state["best_weights"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.dice.set_state(state["dice"])
        for name in PLAIN:
            setattr(self, name, state[name])
        if self.done:
            self._begin_epoch()

    def _begin_epoch(self) -> None:
        """Draws the epoch's batches: the order of the images and the views of each; `dice_before` draws them again."""
        self.dice_before = self.dice.get_state()
        order = torch.randperm(self.images, generator=self.dice)
        pool = len(self.preset.views("train"))
        views = torch.arange(pool).expand(self.images, pool)
        if self.preset.train_views < pool:
            views = torch.rand(views.shape, generator=self.dice).argsort(dim=1)[:, : self.preset.train_views]
        self.batches = [(rows, views[rows]) for rows in order.split(self.preset.batch_images)]
        self.source.begin_epoch(self.epoch + 1)

    def step(self) -> bool:
        """Trains on one batch; True where it was the last one of its epoch."""
        if not self.done:
            self._begin_epoch()
        rows, views = self.batches[self.done]
        y = self.source.batch(rows, views)  # (B, V, 768)
        with autocast(self.preset.flow_precision, self.device):
            loss = nll(*self.model.transform(y.flatten(0, 1))).mean()  # (B * V, 768) -> ()
        if self.model.train_attention == "guarded" and y[..., 0].numel() > 1:  # a single row has no spread
            loss = loss - spread(y)
        if not math.isfinite(loss.item()):
            self._give_up(loss.item())
        for group in self.optimizer.param_groups:
            group["lr"] = self._lr()
        self.optimizer.zero_grad()
        loss.backward()
        if self.preset.max_norm:
            nn.utils.clip_grad_norm_(self.learned.values(), self.preset.max_norm)
        self.optimizer.step()
        self.total += loss.item() * len(rows)
        self.done += 1
        return self.done == len(self.batches)

    def _lr(self) -> float:
        """The learning rate of this step: the preset's, or half a cosine from it to zero."""
        if not self.preset.lr_decay:
            return self.preset.lr
        steps = len(self.batches)
        return self.preset.lr * (1 + math.cos(math.pi * (self.epoch + self.done / steps) / self.epochs)) / 2

    @torch.inference_mode()
    def end_epoch(self) -> dict:
        """Measures the epoch on the validation images and keeps its weights where it is the best; returns its row."""
        y = self.source.validation()
        z, log_det = transform_views(self.model, y)  # (N, V, 768), (N, V)
        validation_nll = nll(z.flatten(0, 1), log_det.flatten()).view(log_det.shape).mean(dim=1).median().item()
        if self.model.train_attention == "guarded":
            validation_nll -= spread(y).item()
        # on features as they come an untrained flow may start at 1e13 and fall: only what was lower can diverge
        if self.best < DIVERGED and not validation_nll < DIVERGED:
            self._give_up(validation_nll)
        self.epoch += 1
        row = {"epoch": self.epoch, "train_nll": self.total / self.images, "validation_nll": validation_nll,
               "seconds": self.seconds}  # fmt: skip
        self.rows.append(row)
        self.done, self.total = 0, 0.0
        if validation_nll < self.best:
            self.best, self.chosen = validation_nll, self.epoch
            self.best_weights = {name: p.detach().clone() for name, p in self.learned.items()}
        return row

    def _give_up(self, loss: float):
        held = f"holds epoch {self.chosen}, the best until then" if self.best_weights else "is as it was before"
        raise _Diverged(
            f"Training diverged in epoch {self.epoch + 1} (loss {loss:.3g}): lower lr in the preset; the model {held}.",
            self.best_weights,
        )


PLAIN = ("epoch", "done", "total", "rows", "best", "chosen", "seconds")  # of a training's state, beside its tensors


def drop_checkpoint(folder: Path) -> None:
    """Removes the state of a training that is no longer needed, unless another process goes on with it now."""
    with suppress(filelock.Timeout, FileNotFoundError), filelock.FileLock(folder / "lock", timeout=0):
        shutil.rmtree(folder, ignore_errors=True)


class _Checkpoint:
    """The state of a training in a folder, behind a lock; without a folder it does nothing."""

    def __init__(self, folder: Path | str | None, every_s: float):
        self.path = Path(folder).resolve() / "state.pt" if folder else None
        self.made_from, self.every_s = "", every_s
        self.written, self.took = time.perf_counter(), 0.0

    def __enter__(self):
        if self.path:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.lock = filelock.FileLock(self.path.with_name("lock"))
                self.lock.acquire(timeout=0)
            except filelock.Timeout as error:
                raise AdnError(
                    f"Another process trains in {self.path.parent}: wait for its end or choose another run."
                ) from error
            except OSError as error:
                raise AdnError(
                    f"Cannot write to {self.path.parent} ({error.strerror}): name another folder."
                ) from error
        return self

    def __exit__(self, *error) -> None:
        if self.path:
            if not self.path.exists():  # nothing was kept: leave no empty folder behind
                with suppress(OSError):
                    self.path.with_name("lock").unlink()  # still held, so that nobody else waits for this very file
            self.lock.release()
            with suppress(OSError):
                self.path.parent.rmdir()

    def read(self, made_from: str) -> dict | None:
        """The state that lies in the folder, if it is of the same training; one of another training is left aside."""
        self.made_from = made_from
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # unpickling damaged bytes raises whatever it likes
            raise AdnError(f"The state of the training in {self.path} is damaged: delete the file.") from error
        return state if state["made_from"] == made_from else None

    def write(self, training: _Training) -> None:
        if self.path:
            start = time.perf_counter()
            with scratch_folder(self.path.parent) as scratch:
                try:
                    with open(scratch / self.path.name, "wb") as file:
                        torch.save({"made_from": self.made_from, **training.state()}, file)
                except RuntimeError as error:  # torch's own complaint hides the system's, that the disk is full
                    raise error.__context__ if isinstance(error.__context__, OSError) else error from None
                (scratch / self.path.name).replace(self.path)
            self.written = time.perf_counter()
            self.took = self.written - start

    def write_if_due(self, training: _Training) -> None:
        if not self.every_s or time.perf_counter() - self.written >= max(self.every_s, 9 * self.took):
            self.write(training)
