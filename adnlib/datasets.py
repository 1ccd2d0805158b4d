"""Data sets of inspection images: normal images for training, normal and anomalous images for testing.

The name of a data set is that of its table in data/registry.toml ("elpv", "wild_parts", …), or "folder:PATH".
adnlib.imagesets.layouts describes the supported folder layouts, adnlib.imagesets.sources the sources of the images.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from adnlib.errors import AdnError
from adnlib.imagesets.layouts import find_categories, pick_category, read_category
from adnlib.imagesets.own_folder import is_own
from adnlib.imagesets.reading import ANOMALOUS, NORMAL, Sample, image_size
from adnlib.imagesets.sources import dataset_entry, locate_dataset
from adnlib.system.files import file_sha256

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Split(Sequence[Sample]):
    """A sequence of samples whose images are decoded only when they are read."""

    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Split": ...
    def __getitem__(self, index):
        return Split(self.samples[index]) if isinstance(index, slice) else self.samples[index]

    @property
    def labels(self) -> np.ndarray:
        """(N,) int: 0 normal, 1 anomalous."""
        return np.array([sample.label for sample in self.samples])

    def images(self, size: int) -> "Tensor":
        """All images as one uint8 tensor (N, 3, size, size)."""
        import torch  # here, because the ledger and finished sweeps need no images

        return torch.stack([sample.read(size) for sample in self.samples])


@dataclass(frozen=True)
class Dataset:
    """One category of a data set. `train` and `validation` contain only normal images.

    `test` is used for evaluation only: neither weights nor epoch nor threshold depend on it.
    """

    name: str
    category: str
    train: Split
    validation: Split
    test: Split
    licence: str = "the owner's"
    citation: str = "none"
    left_out: dict[str, int] = field(default_factory=dict)  # images of the source that are in no split, by reason

    def __str__(self) -> str:
        return f"{self.name} / {self.category}: " + ", ".join(f"{count} {part}" for part, count in self.counts.items())

    @property
    def counts(self) -> dict[str, int]:
        """The number of images in each part."""
        anomalous = int(self.test.labels.sum())
        return {
            "train normal": len(self.train),
            "validation normal": len(self.validation),
            "test normal": len(self.test) - anomalous,
            "test anomalous": anomalous,
            **{f"left out ({reason})": count for reason, count in self.left_out.items()},
        }

    @cached_property
    def digest(self) -> str:
        """The sha256 of all images and masks: of their parts, names, labels and the content of their files."""
        hasher = hashlib.sha256()
        for part, split in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            for sample in split:
                for path in filter(None, (sample.path, sample.mask_path)):
                    hasher.update(f"{part}/{sample.defect}/{path.name}/{sample.label}/{file_sha256(path)}\n".encode())
        return hasher.hexdigest()

    @property
    def image_sizes(self) -> Counter:
        """The number of images of each size (H, W) in px, most frequent first; reads the header of every file."""
        sizes = Counter(
            image_size(sample.path) for split in (self.train, self.validation, self.test) for sample in split
        )
        return Counter(dict(sizes.most_common()))


def load_dataset(name: str, category: str | None = None, *, validation: float = 0.15, seed: int = 0) -> Dataset:
    """Loads one category of a data set; if necessary and possible, the data set is first downloaded or rendered.

    name: a data set whose table in data/registry.toml has categories, such as "elpv", or "folder:PATH" for your images.
    category: the name of a category; None if the data set has only one.
    validation: the share of the normal training images held out for validation, drawn with `seed`. A data set with
    separate normal validation images (CATEGORY/validation/good) keeps its split.
    """
    published = {} if is_own(name) else dataset_entry(name)["categories"]
    if published:
        category = pick_category(published, category, name)  # checked before anything is downloaded
    root, facts = locate_dataset(name)
    categories = find_categories(root)
    folder_name = pick_category(categories, category, root)
    folder = categories[folder_name]
    category = category if published and category else folder_name
    left_out = facts.pop("left_out", {}).get(category, {})
    contents = read_category(folder)
    contents.require_usable()
    if len(contents.train) < 2:
        raise AdnError(f"The category {folder} is empty: {folder / 'train' / 'good'} needs at least two normal images.")
    for label, kind, place in ((NORMAL, "normal", "test/good"), (ANOMALOUS, "anomalous", "test/NAME_OF_DEFECT")):
        if not any(sample.label == label for sample in contents.test):
            raise AdnError(
                f"There are no {kind} test images in {folder}: AUROC needs both kinds, so put some in {place}."
            )
    train, held_out = contents.train, contents.validation
    if not held_out:
        train, held_out = _hold_out(train, validation, seed, folder)
    parts = Split(tuple(train)), Split(tuple(held_out)), Split(tuple(contents.test))
    return Dataset(name, category, *parts, left_out=left_out, **facts)


def _hold_out(normal: list[Sample], share: float, seed: int, folder: Path) -> tuple[list[Sample], list[Sample]]:
    """Splits samples into (the rest, a random `share` of them), both in the original order."""
    if not 0 < share < 1 or not 0 < (count := round(share * len(normal)) or 1) < len(normal):
        raise AdnError(
            f"validation={share} of {len(normal)} normal images in {folder / 'train' / 'good'} leaves "
            "nothing to train on or to validate on: add images or choose another share."
        )
    order = np.random.default_rng(seed).permutation(len(normal))
    return [normal[i] for i in sorted(order[count:])], [normal[i] for i in sorted(order[:count])]


def category_names(name: str) -> list[str]:
    """The categories of a data set, which is fetched if it is missing."""
    return list(find_categories(locate_dataset(name)[0]))
