"""Checkpoints: the state of a training run in a folder, from which interrupted training resumes.

The state itself comes from `adnlib.training.TrainingLoop.state`.
"""

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import filelock
import torch

from adnlib.datasets import Dataset
from adnlib.differnet import DifferNet
from adnlib.errors import AdnError
from adnlib.system import cache
from adnlib.system.files import file_sha256, is_intact, scratch_folder, seal
from adnlib.system.precision import resolve

CHECKPOINT_S = 60.0  # seconds between two checkpoints


def training_digest(model: DifferNet, dataset: Dataset, seed: int, epochs: int) -> str:
    """A digest of everything that the result of a training run depends on."""
    device = model.device
    images = [file_sha256(sample.path) for split in (dataset.train, dataset.validation) for sample in split]
    precisions = [resolve(p, device) for p in (model.preset.precision, model.preset.flow_precision)]
    return cache.digest(
        "training, version 3",
        images,
        asdict(model.preset),
        cache.module_digest(model),
        model.train_attention,
        seed,
        epochs,
        precisions,
        device.type,
        torch.__version__,
    )


class Checkpoint:
    """The state of one training run in a folder, locked inside the `with` block; without a folder, it does nothing.

    every_s: seconds between two writes; 0 writes after every batch.
    AdnError: another process uses the folder, it cannot be written to, or its state is damaged.
    """

    def __init__(self, folder: Path | str | None, every_s: float = CHECKPOINT_S):
        self.path = Path(folder).resolve() / "state.pt" if folder else None
        self.digest, self.every_s = "", every_s
        self.written_at, self.write_seconds = time.perf_counter(), 0.0

    def __enter__(self):
        if self.path:
            folder = self.path.parent
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self.lock = filelock.FileLock(folder / "lock")
                self.lock.acquire(timeout=0)
            except filelock.Timeout as error:
                raise AdnError(
                    f"Another process is training in {folder}: wait for it to finish or choose another run."
                ) from error
            except OSError as error:
                raise AdnError(f"Cannot write to {folder} ({error.strerror}): choose another folder.") from error
        return self

    def __exit__(self, *error) -> None:
        if self.path:
            if not self.path.exists():  # nothing was written: leave no empty folder
                with suppress(OSError):
                    self.path.with_name("lock").unlink()  # before the release, so that no process waits for this file
            self.lock.release()
            with suppress(OSError):
                self.path.parent.rmdir()

    def read(self, digest: str) -> dict | None:
        """The state in the folder if it belongs to the training with this digest, else None."""
        self.digest = digest
        if not self.path or not self.path.exists():
            return None
        damaged = f"The checkpoint {self.path} is damaged: delete the file to start again."
        if not is_intact(self.path):
            raise AdnError(damaged)
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # unpickling can raise anything
            raise AdnError(damaged) from error
        return state if state.get("digest") == digest else None

    def write(self, state: dict) -> None:
        """Replaces the state in the folder, atomically."""
        if not self.path:
            return
        start = time.perf_counter()
        with scratch_folder(self.path.parent) as scratch:
            try:
                with open(scratch / self.path.name, "wb") as file:
                    torch.save({"digest": self.digest, **state}, file)
            except RuntimeError as error:  # torch hides the system's own error, such as a full disk
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None
            seal(scratch / self.path.name)
            (scratch / self.path.name).replace(self.path)
        self.written_at = time.perf_counter()
        self.write_seconds = self.written_at - start

    def write_if_due(self, state: Callable[[], dict]) -> None:
        """Calls `write` if the last write was long enough ago."""
        due = max(self.every_s, 9 * self.write_seconds)
        if not self.every_s or time.perf_counter() - self.written_at >= due:
            self.write(state())


def drop_checkpoint(folder: Path) -> None:
    """Removes a checkpoint that is no longer needed, unless another process is training there."""
    with suppress(filelock.Timeout, FileNotFoundError), filelock.FileLock(folder / "lock", timeout=0):
        shutil.rmtree(folder, ignore_errors=True)
