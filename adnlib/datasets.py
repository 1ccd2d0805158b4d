"""Inspection images: normal ones to train on, normal and anomalous ones to test on.

A data set is a name in data/registry.toml ("elpv", "wild_parts", "mvtec_ad", …) or "folder:PATH".
adnlib.imagesets.layouts describes the folders that are understood, adnlib.imagesets.sources where images come from.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from adnlib.errors import AdnError
from adnlib.imagesets.layouts import find_categories, pick_category, read_category
from adnlib.imagesets.reading import ANOMALOUS, NORMAL, Sample, image_size
from adnlib.imagesets.sources import dataset_entry, locate_dataset


@dataclass(frozen=True)
class Split(Sequence):
    """A sequence of samples that decodes nothing before it is asked to."""

    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index):
        return Split(self.samples[index]) if isinstance(index, slice) else self.samples[index]

    @property
    def labels(self) -> np.ndarray:
        """(N,) int: 0 normal, 1 anomalous."""
        return np.array([sample.label for sample in self.samples])

    def images(self, size: int) -> Tensor:
        """All images as one uint8 tensor (N, 3, size, size)."""
        return torch.stack([sample.read(size) for sample in self.samples])


@dataclass(frozen=True)
class Dataset:
    """One category of one data set. `train` and `validation` hold normal images only; no choice looks at `test`."""

    name: str
    category: str
    train: Split
    validation: Split
    test: Split
    licence: str = "the owner's"
    citation: str = "none"
    left_out: dict[str, int] = field(default_factory=dict)  # images of the source that no split holds, by reason

    def __str__(self) -> str:
        return f"{self.name} / {self.category}: " + ", ".join(f"{count} {what}" for what, count in self.counts.items())

    @property
    def counts(self) -> dict[str, int]:
        """How many images each part holds."""
        anomalous = int(self.test.labels.sum())
        return {
            "train normal": len(self.train),
            "validation normal": len(self.validation),
            "test normal": len(self.test) - anomalous,
            "test anomalous": anomalous,
            **{f"left out ({reason})": count for reason, count in self.left_out.items()},
        }

    @property
    def image_sizes(self) -> Counter:
        """How many images have which (H, W) in px, most frequent first; reads every header."""
        sizes = Counter(
            image_size(sample.path) for split in (self.train, self.validation, self.test) for sample in split
        )
        return Counter(dict(sizes.most_common()))


def load_dataset(name: str, category: str | None = None, *, validation: float = 0.15, seed: int = 0) -> Dataset:
    """One category of a data set, downloaded or made first where that is needed and possible.

    name: a table of data/registry.toml that has categories ("elpv"), or "folder:PATH" for images of your own.
    category: a folder inside the set; None where there is only one.
    validation: the share of the normal training images that is set apart, drawn with `seed`; a set that has normal
    validation images of its own (CATEGORY/validation/good) is left as it is.
    """
    if not name.startswith("folder:") and (known := dataset_entry(name)["categories"]):
        category = pick_category(known, category, name)  # before anything is downloaded
    root, facts = locate_dataset(name)
    categories = find_categories(root)
    found = pick_category(categories, category, root)
    folder = categories[found]
    category = found if name.startswith("folder:") else category or found
    left_out = facts.pop("left_out", {}).get(category, {})
    contents = read_category(folder)
    if len(contents.train) < 2:
        raise AdnError(f"The category {folder} is empty: {folder / 'train' / 'good'} needs two normal images or more.")
    for label, what, where in ((NORMAL, "normal", "test/good"), (ANOMALOUS, "anomalous", "test/NAME_OF_DEFECT")):
        if not any(sample.label == label for sample in contents.test):
            raise AdnError(f"There are no {what} test images in {folder}: AUROC needs both kinds, put some in {where}.")
    train, held_out = contents.train, contents.validation
    if not held_out:
        train, held_out = _hold_out(train, validation, seed, folder)
    splits = (Split(tuple(samples)) for samples in (train, held_out, contents.test))
    return Dataset(name, category, *splits, left_out=left_out, **facts)


def _hold_out(normal: list[Sample], share: float, seed: int, folder: Path) -> tuple[list[Sample], list[Sample]]:
    """(the rest, `share` of the samples drawn with `seed`), each in the given order."""
    if not 0 < share < 1 or not 0 < (held := round(share * len(normal)) or 1) < len(normal):
        raise AdnError(
            f"validation={share} of {len(normal)} normal images in {folder / 'train' / 'good'} leaves "
            "nothing to train on or to validate with: add images or choose another share."
        )
    order = np.random.default_rng(seed).permutation(len(normal))
    return [normal[i] for i in sorted(order[held:])], [normal[i] for i in sorted(order[:held])]


def category_names(name: str) -> list[str]:
    """The categories of a data set, fetched where it is missing."""
    return list(find_categories(locate_dataset(name)[0]))
