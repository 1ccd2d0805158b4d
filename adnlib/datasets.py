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
from adnlib.imagesets.reading import NORMAL, Sample, image_size
from adnlib.imagesets.sources import dataset_entry, locate_dataset
from adnlib.system.files import file_sha256

if TYPE_CHECKING:
    from torch import Tensor

CALIBRATION = 0.25  # of the normal images of a data set without normal test images, held out for calibration
TEST = 0.15  # of the normal images of a data set that has only anomalous test images, held out for testing


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
    """One category of a data set. `train`, `validation` and `calibration` contain only normal images.

    `validation` selects the epoch. `calibration`, which may be empty, sets the threshold and the p-values: neither
    weights nor epoch depend on it. `test` is used for evaluation only; it is empty without anomalous images.
    """

    name: str
    category: str
    train: Split
    validation: Split
    test: Split
    calibration: Split = Split(())
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
            **({"calibration normal": len(self.calibration)} if self.calibration else {}),
            "test normal": len(self.test) - anomalous,
            "test anomalous": anomalous,
            **{f"left out ({reason})": count for reason, count in self.left_out.items()},
        }

    @cached_property
    def digest(self) -> str:
        """The sha256 of all images and masks: of their parts, names, labels and the content of their files."""
        hasher = hashlib.sha256()
        for part in ("train", "validation", "test", "calibration"):
            split = getattr(self, part)
            for sample in split:
                for path in filter(None, (sample.path, sample.mask_path)):
                    hasher.update(f"{part}/{sample.defect}/{path.name}/{sample.label}/{file_sha256(path)}\n".encode())
        return hasher.hexdigest()

    @property
    def image_sizes(self) -> Counter:
        """The number of images of each size (H, W) in px, most frequent first; reads the header of every file."""
        sizes = Counter(
            image_size(sample.path)
            for split in (self.train, self.validation, self.calibration, self.test)
            for sample in split
        )
        return Counter(dict(sizes.most_common()))


def load_dataset(
    name: str,
    category: str | None = None,
    *,
    validation: float = 0.15,
    calibration: float | None = None,
    seed: int = 0,
) -> Dataset:
    """Loads one category of a data set; if necessary and possible, the data set is first downloaded or rendered.

    name: a data set whose table in data/registry.toml has categories, such as "elpv", or "folder:PATH" for your images.
    category: the name of a category; None if the data set has only one.
    validation: the share of the normal training images held out for validation, drawn with `seed`. A data set with
    separate normal validation images (CATEGORY/validation/good) keeps its split.
    calibration: the share of the normal training images held out for calibration. By default CALIBRATION if the data
    set has no normal test images of its own, else none, because published splits are kept; then the validation images
    also set the threshold. Normal test images without anomalous ones are used for calibration. With anomalous but no
    normal test images, the share TEST of the normal images is held out for testing.
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
        where = folder / "train" / "good" if (folder / "train").is_dir() else folder
        raise AdnError(f"The category {folder} is empty: {where} needs at least two normal images.")
    train, held_out, test, calibrating = contents.train, contents.validation, contents.test, []
    own_test = any(sample.label == NORMAL for sample in test)
    if own_test and all(sample.label == NORMAL for sample in test):
        test, calibrating, calibration = [], test, 0.0
    elif test and not own_test:
        train, normal = _hold_out(train, "test", TEST, [seed, 1], folder)
        test = normal + test
    if calibration is None:
        calibration = 0.0 if own_test else CALIBRATION
    if calibration:
        train, calibrating = _hold_out(train, "calibration", calibration, [seed, 2], folder)
    if not held_out:
        train, held_out = _hold_out(train, "validation", validation, seed, folder)
    parts = {"train": train, "validation": held_out, "test": test, "calibration": calibrating}
    splits = {part: Split(tuple(samples)) for part, samples in parts.items()}
    return Dataset(name, category, **splits, left_out=left_out, **facts)


def _hold_out(
    normal: list[Sample], part: str, share: float, seed: int | list[int], folder: Path
) -> tuple[list[Sample], list[Sample]]:
    """Splits samples into (the rest, a random `share` of them for `part`), both in the original order."""
    if not 0 < share < 1 or not 0 < (count := round(share * len(normal)) or 1) < len(normal):
        raise AdnError(
            f"{part}={share} of {len(normal)} normal images in {folder} leaves nothing to train on or for {part}: add "
            "images or choose another share."
        )
    order = np.random.default_rng(seed).permutation(len(normal))
    return [normal[i] for i in sorted(order[count:])], [normal[i] for i in sorted(order[:count])]


def category_names(name: str) -> list[str]:
    """The categories of a data set, which is fetched if it is missing."""
    return list(find_categories(locate_dataset(name)[0]))
