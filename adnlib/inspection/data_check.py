"""`adn data check`: reports the contents of a folder of images, its problems, and what training would use of it.

Every image and mask is decoded once, in threads. Only sizes and digests are stored, which bounds the memory.
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
from adnlib.errors import AdnError, printable
from adnlib.imagesets.layouts import find_categories, ignored_images, pick_category, read_category
from adnlib.imagesets.reading import ANOMALOUS, read_mask, read_picture
from adnlib.imagesets.registry import registry
from adnlib.imagesets.sources import locate_dataset

SHOWN = 3  # file names per line; the rest is only counted
DARK = 4096  # a 16-bit image with all values below this has 12 bits or fewer and would be almost black


@dataclass
class Report:
    """The check of one category. `problems` prevent training or spoil a result; `notes` are for information."""

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

    AdnError if there is no category at all.
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
        tqdm(total=len(samples), desc=printable(category), unit="image", leave=False, disable=not progress) as bar,
    ):
        checks = []
        for check in pool.map(_check_file, (sample.path for sample in samples)):
            checks.append(check)
            bar.update()
        mask_checks = list(pool.map(_check_mask, (sample.mask_path for sample in masked)))
    check_of = dict(zip((sample.path for sample in samples), checks, strict=True))

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
    readable = [check for check in checks if check.problem is None]
    report.facts["size"] = _sizes({check.size for check in readable})
    report.facts["mode"] = ", ".join(
        f"{mode} {n}" for mode, n in Counter(check.mode for check in readable).most_common()
    )
    anomalous = counts[2]
    if anomalous:
        report.facts["masks"] = f"{len(masked)} of {anomalous} anomalous images have one"
    defects = Counter(sample.defect for sample in contents.test if sample.label == ANOMALOUS)
    report.facts["defects"] = ", ".join(f"{defect} {n}" for defect, n in sorted(defects.items())) or "none"

    report.problems += _file_line(
        "cannot be read", [check.path for check in checks if check.problem], folder, "replace or remove"
    )
    report.problems += [f"{check.problem}" for check in checks if check.problem][:SHOWN]
    _check_masks(report, folder, masked, mask_checks, check_of)
    _check_duplicates(report, folder, contents, check_of)
    dark = [check.path for check in readable if check.mode.startswith("I") and check.top < DARK]
    report.problems += _file_line(
        f"have 16 bits but only values below {DARK}, almost black", dark, folder, "scale all images by one factor"
    )
    report.notes += _file_line("masks have no image", contents.lone_masks, folder, "they are ignored")
    report.notes += _file_line(
        "images are in folders that are not read",
        ignored_images(folder, contents),
        folder,
        "they are ignored, see data/README.md for the folders",
    )
    report.notes += _file_line("files have no image extension", contents.other_files, folder, "they are ignored")
    if masked:
        unmasked = [s.path for s in contents.test if s.label == ANOMALOUS and not s.mask_path]
        report.notes += _file_line(
            "anomalous images have no mask", unmasked, folder, "they count for image scores only"
        )
    try:
        report.facts["loads as"] = str(load_dataset(f"folder:{folder}")).replace(f"folder:{folder} / ", "")
    except AdnError as error:
        report.problems.append(str(error))
    return report


@dataclass(frozen=True)
class _FileCheck:
    path: Path
    problem: str | None = None
    size: tuple[int, int] = (0, 0)  # (H, W) upright
    mode: str = ""  # Pillow's mode of the stored pixels
    top: int = 0  # the largest stored value
    digest: bytes = b""  # of the decoded pixels, to find the same image in other formats, too


def _check_file(path: Path) -> _FileCheck:
    try:
        image = read_picture(path)
        with Image.open(path) as file:
            mode = file.mode
            top = int(np.asarray(file).max()) if mode.startswith("I") else 255
    except AdnError as error:
        return _FileCheck(path, str(error))
    digest = hashlib.blake2b(repr(image.size).encode() + image.tobytes(), digest_size=16).digest()
    return _FileCheck(path, None, (image.height, image.width), mode, top, digest)


def _check_mask(path: Path) -> _FileCheck:
    try:
        mask = read_mask(path)
    except AdnError as error:
        return _FileCheck(path, str(error))
    return _FileCheck(path, None, mask.shape, "", int(mask.any()))


def _check_masks(
    report: Report, folder: Path, masked: list, checks: list[_FileCheck], check_of: dict[Path, _FileCheck]
) -> None:
    report.problems += [check.problem for check in checks if check.problem]
    pairs = list(zip(masked, checks, strict=True))
    mismatched = [
        check.path
        for sample, check in pairs
        if check.problem is None and check_of[sample.path].problem is None and check.size != check_of[sample.path].size
    ]
    report.problems += _file_line("masks differ in size from their image", mismatched, folder, "replace or remove")
    empty = [check.path for check in checks if check.problem is None and not check.top]
    report.notes += _file_line("masks are empty", empty, folder, "their images still count as anomalous")


def _check_duplicates(report: Report, folder: Path, contents, check_of: dict[Path, _FileCheck]) -> None:
    """Reports test images that are also training images, which makes results wrong, and repeated training images."""
    trained = defaultdict(list)
    for sample in contents.train + contents.validation:
        trained[check_of[sample.path].digest].append(sample.path)
    trained.pop(b"", None)
    leaks = [s.path for s in contents.test if check_of[s.path].digest in trained]
    report.problems += _file_line(
        "test images are also training images, pixel by pixel", leaks, folder, "remove one of each"
    )
    repeats = sum(len(paths) - 1 for paths in trained.values())
    if repeats:
        report.notes.append(f"{repeats} training images repeat another one, pixel by pixel")


def _published(name: str, category: str) -> tuple[str, list[int] | None]:
    """The registry's name and counts of a category; for a folder, those of the only data set with such a category."""
    entries = [registry()[name]] if name in registry() else list(registry().values())
    matches = []
    for entry in entries:
        try:
            matches.append((key := pick_category(entry["categories"], category, ""), entry["categories"][key]))
        except (KeyError, AdnError):
            continue
    return matches[0] if len(matches) == 1 else (category, None)


def _file_line(statement: str, paths: list[Path], folder: Path, remedy: str) -> list[str]:
    """One line about a list of files, with the first names; no line if the list is empty."""
    if not paths:
        return []
    names = ", ".join(str(path.relative_to(folder)) for path in paths[:SHOWN]) + (", …" if len(paths) > SHOWN else "")
    return [f"{len(paths)} {statement} ({names}): {remedy}"]


def _sizes(sizes: set[tuple[int, int]]) -> str:
    """The smallest and largest (H, W), by area."""
    low, *_, high = sorted(sizes, key=lambda size: size[0] * size[1]) * 2 or [(0, 0)] * 2
    text = f"{low[0]} x {low[1]}" + (f" to {high[0]} x {high[1]}" if len(sizes) > 1 else "")
    return f"{text} px" + (f", {len(sizes)} different" if len(sizes) > 1 else "")
