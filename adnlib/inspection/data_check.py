"""`adn data check`: what is in a folder of images, what is wrong with it, and what training on it would use.

Every image and mask is decoded once, in threads; only sizes and digests are kept, so that memory stays bounded.
"""

import hashlib
import os
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from adnlib.datasets import load_dataset
from adnlib.errors import AdnError
from adnlib.imagesets.layouts import find_categories, ignored_images, pick_category, read_category
from adnlib.imagesets.reading import ANOMALOUS, read_mask, read_picture
from adnlib.imagesets.registry import registry
from adnlib.imagesets.sources import locate_dataset

SHOWN = 3  # names in a line; the rest is counted
DARK = 4096  # a 16-bit image that never reaches this holds 12 bits or fewer and would be almost black


@dataclass
class Report:
    """One category's check. `problems` stop a training or spoil a result; `notes` are good to know."""

    category: str
    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{title:<11}{text}" for title, text in self.facts.items()]
        lines += [f"{'PROBLEM':<11}{text}" for text in self.problems] + [f"{'note':<11}{text}" for text in self.notes]
        return "\n  ".join([self.category, *lines])


def check_data(name: str, *, progress: bool = True) -> list[Report]:
    """Checks every category of a data set (a registered name, "folder:PATH" or a path); nothing is changed.

    AdnError where there is no category at all.
    """
    if not name.startswith("folder:") and name not in registry():
        name = f"folder:{name}"
    root, _ = locate_dataset(name)
    categories = find_categories(root)
    reports = [_check_category(name, category, folder, progress) for category, folder in categories.items()]
    if not name.startswith("folder:"):
        for missing in sorted(set(registry()[name]["categories"]) - {_published(name, c)[0] for c in categories}):
            reports.append(Report(missing, problems=[f"the category is missing in {root}: unpack the whole archive"]))
    return reports


def _check_category(name: str, category: str, folder: Path, progress: bool) -> Report:
    report = Report(category)
    contents = read_category(folder)
    samples = contents.samples
    masked = [sample for sample in samples if sample.mask_path]
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(samples), desc=category, unit="image", leave=False, disable=not progress) as bar,
    ):
        looks = []
        for look in pool.map(_check_file, (sample.path for sample in samples)):
            looks.append(look)
            bar.update()
        mask_looks = list(pool.map(_check_mask, (sample.mask_path for sample in masked)))
    look_of = dict(zip((sample.path for sample in samples), looks, strict=True))

    normal = sum(sample.label != ANOMALOUS for sample in contents.test)
    counts = [len(contents.train) + len(contents.validation), normal, len(contents.test) - normal]
    _, published = _published(name, category)
    report.facts["images"] = f"{counts[0]} train normal, {counts[1]} test normal, {counts[2]} test anomalous" + (
        "" if published is None else ", as published" if counts == published else ""
    )
    if published is not None and counts != published:
        report.problems.append(
            "the published counts are {} train normal, {} test normal, {} test anomalous".format(*published)
        )
    readable = [look for look in looks if look.problem is None]
    report.facts["size"] = _sizes({look.size for look in readable})
    report.facts["mode"] = ", ".join(f"{mode} {n}" for mode, n in Counter(look.mode for look in readable).most_common())
    anomalous = counts[2]
    if anomalous:
        report.facts["masks"] = f"{len(masked)} of {anomalous} anomalous images have one"
    defects = Counter(sample.defect for sample in contents.test if sample.label == ANOMALOUS)
    report.facts["defects"] = ", ".join(f"{defect} {n}" for defect, n in sorted(defects.items())) or "none"

    report.problems += _named(
        "cannot be read", [look.path for look in looks if look.problem], folder, "replace or remove"
    )
    report.problems += [f"{look.problem}" for look in looks if look.problem][:SHOWN]
    _check_masks(report, folder, masked, mask_looks, look_of)
    _check_duplicates(report, folder, contents, look_of)
    dark = [look.path for look in readable if look.mode.startswith("I") and look.top < DARK]
    report.problems += _named(
        f"hold 16 bits but stay below {DARK}, almost black", dark, folder, "stretch all images by one factor"
    )
    report.notes += _named("masks have no image", contents.lone_masks, folder, "they are ignored")
    report.notes += _named(
        "images lie in no folder that is read",
        ignored_images(folder, contents),
        folder,
        "they are ignored, see data/README.md for the folders",
    )
    report.notes += _named("files are no images by their ending", contents.other_files, folder, "they are ignored")
    if masked:
        bare = [s.path for s in contents.test if s.label == ANOMALOUS and not s.mask_path]
        report.notes += _named("anomalous images have no mask", bare, folder, "they count for image scores only")
    try:
        report.facts["it would"] = f"load {load_dataset(f'folder:{folder}')!s}".replace(f"folder:{folder} / ", "")
    except AdnError as error:
        report.problems.append(str(error))
    return report


@dataclass(frozen=True)
class _FileCheck:
    path: Path
    problem: str | None = None
    size: tuple[int, int] = (0, 0)  # (H, W) upright
    mode: str = ""  # Pillow's name of how the file stores its pixels
    top: int = 0  # the largest stored value
    digest: bytes = b""  # of the decoded pixels: the same picture in another format is found, too


def _check_file(path: Path) -> _FileCheck:
    try:
        picture = read_picture(path)
        with Image.open(path) as file:
            mode = file.mode
            top = int(np.asarray(file).max()) if mode.startswith("I") else 255
    except AdnError as error:
        return _FileCheck(path, str(error))
    digest = hashlib.blake2b(repr(picture.size).encode() + picture.tobytes(), digest_size=16).digest()
    return _FileCheck(path, None, picture.size[::-1], mode, top, digest)


def _check_mask(path: Path) -> _FileCheck:
    try:
        mask = read_mask(path)
    except AdnError as error:
        return _FileCheck(path, str(error))
    return _FileCheck(path, None, mask.shape, "", int(mask.any()))


def _check_masks(
    report: Report, folder: Path, masked: list, looks: list[_FileCheck], look_of: dict[Path, _FileCheck]
) -> None:
    report.problems += [look.problem for look in looks if look.problem]
    pairs = list(zip(masked, looks, strict=True))
    wrong = [
        look.path
        for sample, look in pairs
        if look.problem is None and look_of[sample.path].problem is None and look.size != look_of[sample.path].size
    ]
    report.problems += _named("masks have another size than their image", wrong, folder, "replace or remove")
    empty = [look.path for look in looks if look.problem is None and not look.top]
    report.notes += _named("masks are empty", empty, folder, "their images still count as anomalous")


def _check_duplicates(report: Report, folder: Path, contents, look_of: dict[Path, _FileCheck]) -> None:
    """The same picture in training and test: a leak, and the one kind of duplicate that makes a result wrong."""
    trained = defaultdict(list)
    for sample in contents.train + contents.validation:
        trained[look_of[sample.path].digest].append(sample.path)
    trained.pop(b"", None)
    leaks = [s.path for s in contents.test if look_of[s.path].digest in trained]
    report.problems += _named(
        "test images are also training images, pixel by pixel", leaks, folder, "remove one of each"
    )
    again = sum(len(paths) - 1 for paths in trained.values())
    if again:
        report.notes.append(f"{again} training images repeat another one, pixel by pixel")


def _published(name: str, category: str) -> tuple[str, list[int] | None]:
    """The registry's name and counts of a category; a folder's category is known by its name where one set has it."""
    entries = [registry()[name]] if name in registry() else list(registry().values())
    hits = []
    for entry in entries:
        try:
            hits.append((picked := pick_category(entry["categories"], category, ""), entry["categories"][picked]))
        except (KeyError, AdnError):
            continue
    return hits[0] if len(hits) == 1 else (category, None)


def _named(what: str, paths: list[Path], folder: Path, remedy: str) -> list[str]:
    """One line on a list of files, naming the first; no line for none."""
    if not paths:
        return []
    names = ", ".join(str(path.relative_to(folder)) for path in paths[:SHOWN]) + (", …" if len(paths) > SHOWN else "")
    return [f"{len(paths)} {what} ({names}): {remedy}"]


def _sizes(sizes: set[tuple[int, int]]) -> str:
    """Smallest and largest (H, W), by area."""
    low, *_, high = sorted(sizes, key=lambda size: size[0] * size[1]) * 2 or [(0, 0)] * 2
    text = f"{low[0]} x {low[1]}" + (f" to {high[0]} x {high[1]}" if len(sizes) > 1 else "")
    return f"{text} px" + (f", {len(sizes)} different" if len(sizes) > 1 else "")
