"""What a training or a scoring will do, and roughly how long it will take, without doing it."""

import os
import time
from pathlib import Path

import torch

from adnlib.datasets import load_dataset
from adnlib.engine.extraction import CHUNK_BYTES, IMAGE_BYTES, extract
from adnlib.errors import AdnError
from adnlib.experiments.config import RunConfig
from adnlib.experiments.runs import build_model
from adnlib.flow import nll
from adnlib.inspection.scoring import Scorer, model_input
from adnlib.system.device import pick_device

BASE_BYTES = 0.9 * 2**30  # of Python with PyTorch and its libraries
TRIED = 4  # images


def describe(config: RunConfig) -> str:
    """The images that a training would use for what, its output, time and memory, measured on a few images."""
    config = config.canonical()
    dataset, model = load_dataset(config.dataset, config.category), build_model(config)
    preset = model.preset
    model.to(pick_device(config.device))
    images = torch.stack([sample.read(preset.image_size) for sample in dataset.train[:TRIED]])
    view = fastest(lambda: extract(model, images, preset.views("test")[:1])) / len(images)
    rows = min(preset.batch_images, len(dataset.train)) * preset.train_views
    step = fastest(lambda: nll(*model.transform(torch.randn(rows, 768, device=model.device))).mean().backward())
    held_out = len(dataset.validation) + len(dataset.calibration) + len(dataset.test)
    extra = preset.epochs if preset.fresh_views else 1
    views = extra * len(dataset.train) * (preset.view_pool or preset.train_views) + held_out * preset.test_views
    batches = preset.epochs * -(-len(dataset.train) // preset.batch_images)
    seconds = view * views + step * batches
    if model.trains_jointly:
        seconds += 2 * view * preset.epochs * len(dataset.train) * preset.train_views
    stored = len(dataset.train) * 3 * preset.image_size**2
    memory = BASE_BYTES + min(CHUNK_BYTES, 96 * stored) + min(IMAGE_BYTES, stored)
    return "\n".join(
        [
            f"images     {dataset}",
            f"model      {config.variant}, preset {config.preset}, seed {config.seed}, on {model.device.type}",
            f"run        {config.folder_name}",
            f"time       about {duration(seconds)} ({batches} batches, {views} views of an image)",
            f"memory     about {memory / 2**30:.1f} GiB",
            "nothing was written",
        ]
    )


def describe_scoring(scorer: Scorer, files: list[Path]) -> str:
    """How many files a scoring would read and how long it would take, measured on the first few images."""
    good, seconds = 0, 0.0
    for path in files:
        start = time.perf_counter()
        try:
            scorer.judge(model_input(path, scorer.model.preset.image_size)[None])
        except AdnError:  # such files will be skipped
            continue
        seconds = time.perf_counter() - start  # of the last one: the first one warms up
        good += 1
        if good == TRIED:
            break
    lines = [f"files      {len(files)}", f"model      {scorer.run.variant}, run {scorer.run.folder}", str(scorer.rule)]
    lines += [scorer.note] if scorer.note else []
    lines += [f"time       at most about {duration(seconds * len(files))}", "nothing was written"]
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """95 -> "95 s", 600 -> "10 min", 9000 -> "2.5 h"."""
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def fastest(work) -> float:
    """The shortest time of four calls, after one to warm up."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
