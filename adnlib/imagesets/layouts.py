"""Folder layouts in which data sets are published, read without renaming anything.

MVTec AD's layout is the standard of the field (InsPLAD-fault and your own folders also have it):

    CATEGORY/train/good/*              normal, for training
    CATEGORY/validation/good/*         normal, for validation, if the data set has them (MVTec LOCO AD)
    CATEGORY/test/good/*               normal, for testing
    CATEGORY/test/DEFECT/*             anomalous
    CATEGORY/ground_truth/DEFECT/STEM_mask.png

Only train/good is necessary. Your own images may also be
- in two folders, CATEGORY/normal (good, ok) and, if there are any, CATEGORY/abnormal (anomalous, bad, defect, ng, …);
- directly in one folder, all of them normal;
- listed in a CSV file with the columns image (a path, relative to the file) and label (normal, good, ok or 0; anything
  else names a defect), and optionally part (train, validation or test) and mask.

Magnetic tiles: `MT_Free/Imgs/*.jpg` are normal and split as in DifferNet's published list (data/mtd_train.txt);
`MT_DEFECT/Imgs/*.jpg` are anomalous, each with its mask in the same folder, a `.png` with the same stem.

The case of folder names and file extensions is ignored. Links to files and folders are followed, except a link to a
folder that contains the link itself.
"""

import csv
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from adnlib.errors import AdnError
from adnlib.imagesets.reading import ANOMALOUS, ENDINGS, NORMAL, Sample, file_problem, list_folder
from adnlib.system.folders import DATA

DEPTH = 4  # levels below the given folder that are searched for categories, because archives have nested folders
MOST_FOLDERS = 10_000  # in such a search
MASKS = ("ground_truth", "groundtruth")
NORMAL_NAMES = ("good", "normal", "ok")
ANOMALOUS_NAMES = ("abnormal", "anomalies", "anomalous", "anomaly", "bad", "defect", "defective", "defects", "ng")
LIST = ".csv"
# Masks of all layouts (wild_parts also has masks of the whole parts) and hidden files
NO_IMAGE = re.compile(r"ground_?truth/.*|mt_[^/]*/imgs/[^/]*\.png|part/.*_part\.png|(.*/)?\..*", re.IGNORECASE)


@dataclass
class Contents:
    """The contents of one category's folder: three lists of samples and the files that belong to none of them.

    `unusable` are the images and masks that are no readable files, such as a named pipe or a link to a missing file,
    each with the reason. They are refused rather than ignored, because training would otherwise use fewer images than
    the folder seems to have.
    """

    train: list[Sample] = field(default_factory=list)
    validation: list[Sample] = field(default_factory=list)  # published with the data set; usually empty
    test: list[Sample] = field(default_factory=list)
    lone_masks: list[Path] = field(default_factory=list)  # masks whose image is missing
    other_files: list[Path] = field(default_factory=list)  # in image folders, but without an image extension
    unusable: list[tuple[Path, str]] = field(default_factory=list)

    @property
    def samples(self) -> list[Sample]:
        return self.train + self.validation + self.test

    def require_usable(self) -> None:
        """AdnError for the first file that is unusable; `adn data check` lists all of them."""
        for path, reason in self.unusable:
            raise AdnError(f"Cannot read the image {path} ({reason}): replace or remove it.")


def find_categories(root: Path) -> dict[str, Path]:
    """The categories in `root` or at most DEPTH levels below it, sorted by name.

    A CSV file is one category. So is a folder that contains images but no category. AdnError if there is none, if a
    name occurs twice, or if there are more than MOST_FOLDERS folders to search.
    """
    if not os.path.exists(root):  # unlike Path.exists, also for a name that is too long
        raise AdnError(f"There is no data folder {root}: check the path.")
    if root.suffix.lower() == LIST and os.path.isfile(root):
        return {root.stem: root}
    if not os.path.isdir(root):
        raise AdnError(f"{root} is a file, not a data folder: unpack it, or see `adn data fetch --help` for archives.")
    folders = {}
    for folder, children in _folders(root):
        if _is_category(children):
            name = "mtd" if "mt_free" in children else folder.resolve().name
            if name in folders:
                raise AdnError(f"The category {name} is in {folders[name]} and in {folder}: give the path of one.")
            folders[name] = folder
            children.clear()  # categories are not searched for further categories
    if not folders and _has_images(root):
        return {root.resolve().name: root}
    if not folders:
        raise AdnError(
            f"There is no category in {root}: put normal images in {root}, in {root / 'normal'} or in "
            f"{root / 'CATEGORY' / 'train' / 'good'}."
        )
    return dict(sorted(folders.items()))


def pick_category(categories: Collection[str], wanted: str | None, where: object) -> str:
    """The name in `categories` that matches `wanted` (any case; blanks, - and _ are equivalent); None: the only one."""
    if wanted is not None and wanted in categories:
        return wanted
    names = {_normalised_name(name): name for name in categories}
    if wanted is None and len(names) == 1:
        return next(iter(categories))
    if wanted is None or _normalised_name(wanted) not in names:
        raise AdnError(f"category={wanted!r} is not in {where}: choose one of {', '.join(map(repr, categories))}.")
    return names[_normalised_name(wanted)]


def read_category(folder: Path) -> Contents:
    """The contents of one category's folder in any supported layout; no image is opened."""
    if folder.suffix.lower() == LIST and os.path.isfile(folder):
        return _read_list(folder)
    children = _children(folder)
    if "mt_free" in children:
        return _read_mtd(children)
    if "good" in _children(children.get("train")):
        return _read_mvtec(children)
    return _read_two_folders(children) if _normal_folder(children) else _read_flat(folder)


def ignored_images(folder: Path, contents: Contents) -> list[Path]:
    """The images anywhere in a category's folder that are in none of the lists, except masks and hidden files."""
    known = {sample.path for sample in contents.samples} | {path for path, _ in contents.unusable}
    found = []
    for place, _, names in os.walk(folder):  # which does not enter links
        paths = (Path(place, name) for name in names if Path(name).suffix.lower() in ENDINGS)
        found += [path for path in paths if path not in known and os.path.isfile(path)]
    return sorted(path for path in found if not NO_IMAGE.fullmatch(path.relative_to(folder).as_posix()))


def _read_mvtec(children: dict[str, Path]) -> Contents:
    contents = Contents()
    for part, names in (("train", ("train",)), ("validation", ("validation", "val"))):
        for name in names:
            good = _children(children.get(name)).get("good")
            getattr(contents, part).extend(Sample(path, NORMAL, "good") for path in _images(good, contents))
    masks_of = _children(next((children[name] for name in MASKS if name in children), None))
    for name, folder in sorted(_children(children.get("test")).items()):
        label = NORMAL if name == "good" else ANOMALOUS
        masks = {path.stem.removesuffix("_mask"): path for path in _images(masks_of.get(name), contents)}
        for path in _images(folder, contents):
            mask = masks.pop(path.stem, None)
            contents.test.append(Sample(path, label, folder.name, mask if label == ANOMALOUS else None))
        contents.lone_masks += masks.values()
    for name in sorted(masks_of.keys() - _children(children.get("test")).keys()):
        contents.lone_masks += _images(masks_of[name], contents)
    return contents


def _read_two_folders(children: dict[str, Path]) -> Contents:
    contents = Contents()
    contents.train += [Sample(path, NORMAL, "good") for path in _images(_normal_folder(children), contents)]
    for name in ANOMALOUS_NAMES:
        for path in _images(children.get(name), contents):
            contents.test.append(Sample(path, ANOMALOUS, name))
    return contents


def _read_flat(folder: Path) -> Contents:
    contents = Contents()
    contents.train += [Sample(path, NORMAL, "good") for path in _images(folder, contents)]
    return contents


def _read_list(file: Path) -> Contents:
    """The images that a CSV file lists. AdnError names the line that cannot be used."""
    contents = Contents()
    try:
        with open(file, newline="", encoding="utf-8-sig") as lines:
            reader = csv.DictReader(lines, restval="")
            rows = [(reader.line_num, {key: row[key].strip() for key in reader.fieldnames or ()}) for row in reader]
        if any("\0" in value for _, row in rows for value in row.values()):
            raise ValueError("it contains the character NUL")
    except (ValueError, TypeError, KeyError, csv.Error, OSError) as error:
        raise AdnError(f"{file} is not a CSV file with a line of column names ({error}): correct it.") from error
    for number, row in rows:
        if not {"image", "label"} <= row.keys() or not row["image"] or not row["label"]:
            raise AdnError(f"{file}, line {number}: write the columns image and label, and a value for each.")
        path, label = file.parent / row["image"], row["label"].lower()
        normal = label in (*NORMAL_NAMES, "0")
        part = row.get("part", "").lower() or ("train" if normal else "test")
        if part not in ("train", "validation", "test") or (part != "test" and not normal):
            raise AdnError(
                f"{file}, line {number}: part = {part!r} does not fit {label!r}: write train or validation for normal "
                "images, test for any."
            )
        mask = file.parent / row["mask"] if row.get("mask") else None
        for used in filter(None, (path, mask)):
            if reason := file_problem(used):
                contents.unusable.append((used, reason))
                break
        else:
            defect = "good" if normal else "anomalous" if label == "1" else label
            getattr(contents, part).append(Sample(path, NORMAL if normal else ANOMALOUS, defect, mask))
    return contents


def _read_mtd(children: dict[str, Path]) -> Contents:
    contents = Contents()
    published = set((DATA / "mtd_train.txt").read_text(encoding="utf-8").split())
    for name, folder in sorted(children.items(), key=lambda child: (child[0] != "mt_free", child[0])):
        if not name.startswith("mt_"):
            continue
        files = {path.name.lower(): path for path in _images(_children(folder).get("imgs"), contents)}
        masks = {Path(file).stem: path for file, path in files.items() if file.endswith(".png")}
        for path in files.values():
            if path.suffix.lower() == ".png":
                continue
            mask = masks.pop(path.stem.lower(), None)
            if name != "mt_free":
                contents.test.append(Sample(path, ANOMALOUS, name.removeprefix("mt_"), mask))
            elif path.name in published:
                contents.train.append(Sample(path, NORMAL, "good"))
            else:
                contents.test.append(Sample(path, NORMAL, "good"))
        contents.lone_masks += masks.values()
    return contents


def _images(folder: Path | None, contents: Contents) -> list[Path]:
    """The images of a folder; its other files are added to the lists in `contents`."""
    images = []
    for path in list_folder(folder) if folder else ():
        if path.suffix.lower() in ENDINGS:
            if reason := name_problem(path) or file_problem(path):
                contents.unusable.append((path, reason))
            else:
                images.append(path)
        elif os.path.isfile(path):
            contents.other_files.append(path)
    return images


def name_problem(path: Path) -> str:
    """Linux allows names of arbitrary bytes, which no table or message can contain."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return "its name is not valid UTF-8, so rename it"
    return ""


def _is_category(children: dict[str, Path]) -> bool:
    return "mt_free" in children or "good" in _children(children.get("train")) or bool(_normal_folder(children))


def _normal_folder(children: dict[str, Path]) -> Path | None:
    """The folder of normal images beside one of anomalous images, or alone."""
    return next((children[name] for name in NORMAL_NAMES if name in children and _has_images(children[name])), None)


def _has_images(folder: Path) -> bool:
    return any(path.suffix.lower() in ENDINGS for path in list_folder(folder))


def _children(folder: Path | None) -> dict[str, Path]:
    """The folders in `folder`, by name in lower case. AdnError if two differ only in capital letters."""
    children = {}
    for path in list_folder(folder) if folder else ():
        if path.name[0] != "_" and os.path.isdir(path):
            other = children.setdefault(path.name.lower(), path)
            if other != path:
                raise AdnError(f"The folders {other} and {path} differ only in capital letters: rename or merge them.")
    return children


def _folders(root: Path) -> Iterator[tuple[Path, dict[str, Path]]]:
    """Yields (folder, its children by name), `root` first; children that the caller removes are not visited.

    A folder is visited only once, whatever links lead to it, and a link to a folder that contains it is not followed.
    """
    seen, waiting = {root.resolve()}, [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        children = _children(folder)
        yield folder, children
        real = folder.resolve()
        for _, child in sorted(children.items(), reverse=True) if depth < DEPTH else ():
            target = child.resolve()
            if target not in seen and not real.is_relative_to(target):
                seen.add(target)
                waiting.append((child, depth + 1))
        if len(seen) > MOST_FOLDERS:
            raise AdnError(
                f"There are more than {MOST_FOLDERS:,} folders in {root}: give the path of the folder that contains "
                "the categories."
            )


def _normalised_name(name: str) -> str:
    return name.lower().replace(" ", "-").replace("_", "-")
