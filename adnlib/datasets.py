"""Inspection images: normal ones to train on, normal and anomalous ones to test on.

A data set is a name of data/registry.toml ("elpv", "wild_parts", "mvtec_ad", …) or "folder:PATH"; adnlib.layouts says
which folders are understood. A registered set lies in `home()/data/NAME`; the file dataset.json there says that the
copy is whole, or that it lies in a folder of the user's.
"""

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import filelock
import numpy as np
import torch
from torch import Tensor

from adnlib.archives import unpack
from adnlib.elpv import lay_out_elpv
from adnlib.errors import AdnError, check_choice
from adnlib.fetch import fetch_package, fetch_url, home, registry
from adnlib.files import sha256, whole_folder
from adnlib.images import ANOMALOUS, NORMAL, Sample, image_size
from adnlib.layouts import find_categories, pick_category, read_category


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
        raise AdnError(f"validation={share} of {len(normal)} normal images in {folder / 'train' / 'good'} leaves "
                       "nothing to train on or to validate with: add images or choose another share.")  # fmt: skip
    order = np.random.default_rng(seed).permutation(len(normal))
    return [normal[i] for i in sorted(order[held:])], [normal[i] for i in sorted(order[:held])]


def category_names(name: str) -> list[str]:
    """The categories of a data set, fetched where it is missing."""
    return list(find_categories(locate_dataset(name)[0]))


def locate_dataset(name: str) -> tuple[Path, dict]:
    """The folder of a data set, fetched where it is missing, and what its registry says of licence and citation."""
    if name.startswith("folder:"):
        return Path(name.removeprefix("folder:")).expanduser(), {}
    entry = dataset_entry(name)
    folder = fetch_dataset(name)
    made = json.loads((home() / "data" / name / "dataset.json").read_text(encoding="utf-8"))
    return folder, {"licence": entry["licence"], "citation": entry["citation"], "left_out": made.get("left_out", {})}


def dataset_entry(name: str) -> dict:
    """The registry's table of a data set."""
    if name.startswith("folder:"):
        raise AdnError(f"{name} is yours, nothing is to be fetched: `adn data check PATH` looks at it.")
    known = {key: entry for key, entry in registry().items() if "categories" in entry}
    check_choice("dataset", name, [*known, "folder:PATH"])
    return known[name]


def present_dataset(name: str) -> Path | None:
    """The folder of a registered data set that is at hand, or None; AdnError where the user's folder is gone."""
    marker = home() / "data" / name / "dataset.json"
    if not marker.exists():
        return None
    try:
        elsewhere = json.loads(marker.read_text(encoding="utf-8")).get("folder")
    except ValueError as error:
        raise AdnError(f"{marker} is damaged ({error}): delete the folder {marker.parent} and fetch again.") from error
    folder = Path(elsewhere) if elsewhere else marker.parent
    if not folder.is_dir():
        raise AdnError(
            f"The folder {folder} of the data set {name} is gone: bring it back, or delete {marker.parent} and name "
            "another with `adn data fetch`."
        )
    return folder


def fetch_dataset(name: str, source: Path | None = None, *, accept_licence: bool = False) -> Path:
    """The folder of a registered data set, fetched where it is missing; a good copy is never touched.

    source: an archive that the user downloaded, which is unpacked, or a folder of theirs, which stays where it is;
    refused where another copy is present.
    accept_licence: the user accepts what the registry's `accept` says; without it such a set is not downloaded.
    AdnError says which steps only a person can take; nothing half-written is left.
    """
    entry = dataset_entry(name)
    if folder := present_dataset(name):
        if source is not None and source.expanduser().resolve() != folder.resolve():
            raise AdnError(f"{name} is already in {folder}, so {source} is not used: delete {home() / 'data' / name} "
                           "first if it is to take its place.")  # fmt: skip
        return folder
    automatic = entry.get("made") or "package" in entry or "url" in entry and (accept_licence or "accept" not in entry)
    if source is None and not automatic:
        raise AdnError(by_hand(name))
    facts, target = {}, home() / "data" / name
    lock = Path(tempfile.gettempdir()) / f"adn-{hashlib.sha256(str(target).encode()).hexdigest()[:12]}.lock"
    with filelock.FileLock(lock):  # two processes of a sweep may want it at once
        if folder := present_dataset(name):
            return folder
        with whole_folder(target) as new:
            if source is not None and (source := source.expanduser()).is_dir():
                facts["folder"] = str(source.resolve())
            elif source is not None:
                _unpack_known(source, entry, new)
            elif entry.get("made"):
                from adnlib.wild_parts import make_wild_parts  # scikit-image: slow to import, seldom needed

                make_wild_parts(new)
            elif "package" in entry:
                facts["left_out"] = lay_out_elpv(
                    fetch_package(entry["package"], entry["file"], entry["sha256"], new.parent), new
                )
            else:
                _download_and_unpack(entry, new)
            _check_categories(name, find_categories(source if "folder" in facts else new), entry)
            (new / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    return present_dataset(name)


def by_hand(name: str) -> str:
    """What a person must do to have the data set `name`."""
    entry = dataset_entry(name)
    steps = [*entry["steps"], f"Then: adn data fetch {name} --from THE_FILE_OR_ITS_FOLDER"]
    if "accept" in entry:
        steps.append(f"Or, if you accept {entry['accept']}: adn data fetch {name} --accept-licence")
    return f"{name} cannot be had without you. " + " ".join(f"({n}) {step}" for n, step in enumerate(steps, 1)) + "."


def _download_and_unpack(entry: dict, new: Path) -> None:
    """The archive stays for the next call after Ctrl-C or on a full disk, and goes where it was unpacked or is bad."""
    archive, wanted = home() / "downloads" / entry["file"], entry.get("sha256", "")
    archive.parent.mkdir(parents=True, exist_ok=True)
    if not (archive.exists() and sha256(archive).startswith(wanted)):
        fetch_url(entry["url"], archive, wanted)
    try:
        unpack(archive, new)
    except AdnError:
        archive.unlink()  # or, without a known sha256, it would be tried again and again
        raise
    archive.unlink()


def _unpack_known(archive: Path, entry: dict, new: Path) -> None:
    """Unpacks an archive after its sha256, where that is known, is found right."""
    if not archive.exists():
        raise AdnError(f"There is no file or folder {archive}: check the path.")
    if "sha256" in entry and sha256(archive) != entry["sha256"]:
        raise AdnError(
            f"{archive} is not the published {entry['file']} (its sha256 is another): download it again, or unpack it "
            "yourself and name its folder if you trust it."
        )
    unpack(archive, new)


def _check_categories(name: str, found: dict[str, Path], entry: dict) -> None:
    """At least one category must be the data set's; what is missing is `adn data check`'s to say."""
    if entry["categories"] and not any(_is_in(category, found) for category in entry["categories"]):
        raise AdnError(f"This holds {', '.join(found)} and no category of {name}: it is another data set.")


def _is_in(category: str, found: dict[str, Path]) -> bool:
    try:
        return bool(pick_category(found, category, ""))
    except AdnError:
        return False
