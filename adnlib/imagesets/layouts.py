"""Folder layouts in which data sets are published, read without renaming anything.

MVTec AD's layout is the standard of the field (InsPLAD-fault and your own folders also have it):

    CATEGORY/train/good/*              normal, for training
    CATEGORY/validation/good/*         normal, for validation, if the data set has them (MVTec LOCO AD)
    CATEGORY/test/good/*               normal, for testing
    CATEGORY/test/DEFECT/*             anomalous
    CATEGORY/ground_truth/DEFECT/STEM_mask.png

Magnetic tiles: `MT_Free/Imgs/*.jpg` are normal and split as in DifferNet's published list (data/mtd_train.txt);
`MT_DEFECT/Imgs/*.jpg` are anomalous, each with its mask in the same folder, a `.png` with the same stem.

The case of folder names and file extensions is ignored.
"""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from adnlib.errors import AdnError
from adnlib.imagesets.reading import ANOMALOUS, ENDINGS, NORMAL, Sample, list_folder
from adnlib.system.folders import DATA

DEPTH = 4  # levels below the given folder that are searched for categories, because archives have nested folders
MASKS = ("ground_truth", "groundtruth")
# Masks of all layouts (wild_parts also has masks of the whole parts) and hidden files
NO_IMAGE = re.compile(r"ground_?truth/.*|mt_[^/]*/imgs/[^/]*\.png|part/.*_part\.png|(.*/)?\..*", re.IGNORECASE)


@dataclass
class Contents:
    """The contents of one category's folder: three lists of samples and the files that belong to none of them."""

    train: list[Sample] = field(default_factory=list)
    validation: list[Sample] = field(default_factory=list)  # published with the data set; usually empty
    test: list[Sample] = field(default_factory=list)
    lone_masks: list[Path] = field(default_factory=list)  # masks whose image is missing
    other_files: list[Path] = field(default_factory=list)  # in image folders, but without an image extension

    @property
    def samples(self) -> list[Sample]:
        return self.train + self.validation + self.test


def find_categories(root: Path) -> dict[str, Path]:
    """The categories in `root` or below it, sorted by name; AdnError if there is none or a name occurs twice."""
    if not os.path.exists(root):  # unlike Path.exists, also for a name that is too long
        raise AdnError(f"There is no data folder {root}: check the path.")
    if not root.is_dir():
        raise AdnError(f"{root} is a file, not a data folder: unpack it, or see `adn data fetch --help` for archives.")
    folders = {}
    for folder, children in _folders(root, DEPTH):
        if _is_category(children):
            name = "mtd" if "mt_free" in children else folder.resolve().name
            if name in folders:
                raise AdnError(f"The category {name} is in {folders[name]} and in {folder}: give the path of one.")
            folders[name] = folder
            children.clear()  # categories are not searched for further categories
    if not folders:
        raise AdnError(f"There is no category in {root}: a category is a folder that contains train/good (and test).")
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
    children = _children(folder)
    contents = _read_mtd(children) if "mt_free" in children else _read_mvtec(children)
    for sample in contents.samples:
        _check_text(sample.path)
    return contents


def _check_text(path: Path) -> None:
    """AdnError for a name of arbitrary bytes, which Linux allows and no table or message can contain."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise AdnError(f"The name of {path} is not valid UTF-8: rename it.") from error


def ignored_images(folder: Path, contents: Contents) -> list[Path]:
    """The images anywhere in a category's folder that are in none of the lists, except masks and hidden files."""
    sample_paths = {sample.path for sample in contents.samples}
    images = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in ENDINGS and path not in sample_paths)
    paths = [path.relative_to(folder) for path in images if path.is_file()]
    return [folder / path for path in paths if not NO_IMAGE.fullmatch(path.as_posix())]


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
    """The images of a folder; its other files are added to `contents.other_files`."""
    if folder is None:
        return []
    files = list_folder(folder)
    contents.other_files += [path for path in files if path.suffix.lower() not in ENDINGS and path.is_file()]
    return [path for path in files if path.suffix.lower() in ENDINGS]


def _is_category(children: dict[str, Path]) -> bool:
    return "mt_free" in children or "good" in _children(children.get("train"))


def _children(folder: Path | None) -> dict[str, Path]:
    """The folders in `folder`, by name in lower case."""
    if folder is None:
        return {}
    try:
        return {path.name.lower(): path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"}
    except PermissionError as error:
        raise AdnError(f"The folder {folder} cannot be read: change its permissions.") from error


def _folders(root: Path, depth: int):
    """Yields (folder, its children by name), `root` first; children that the caller removes are not visited."""
    children = _children(root)
    yield root, children
    if depth:
        for _, child in sorted(children.items()):
            yield from _folders(child, depth - 1)


def _normalised_name(name: str) -> str:
    return name.lower().replace(" ", "-").replace("_", "-")
