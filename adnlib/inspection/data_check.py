"""`adn data check`: reports the contents of a folder of images, its problems, and what training would use of it.

Every image and mask is decoded once, see adnlib.inspection.looks. Only sizes and digests are stored.
"""

import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from adnlib.datasets import load_dataset
from adnlib.errors import AdnError, printable
from adnlib.imagesets.layouts import Contents, find_categories, ignored_images, pick_category, read_category
from adnlib.imagesets.reading import ANOMALOUS, Sample
from adnlib.imagesets.registry import registry
from adnlib.imagesets.sources import locate_dataset
from adnlib.inspection.looks import IMAGE, MASK, Look, look_at
from adnlib.system.files import scratch_folder, write_whole

SHOWN = 3  # file names per line; the rest is only counted
DARK = 4096  # a 16-bit image with all values below this has 12 bits or fewer and would be almost black

Finding = tuple[Path, str]  # a file and what is wrong with it


@dataclass
class Report:
    """The check of one category. `problems` prevent training or spoil a result; `notes` are for information.

    `files` are all files that cannot be read, do not match, have unsuitable pixels or repeat another one.
    """

    category: str
    folder: Path = Path()
    facts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        notes = list(self.notes)
        if len(self.files) > SHOWN:
            notes.append(f"--list FILE writes all {len(self.files)} of these files, with the reasons, to a file")
        lines = [f"{title:<11}{text}" for title, text in self.facts.items()]
        lines += [f"{'PROBLEM':<11}{text}" for text in self.problems] + [f"{'note':<11}{text}" for text in notes]
        return "\n  ".join([self.category, *lines])

    def add_problem(self, statement: str, findings: list[Finding], remedy: str) -> None:
        """A line about files with the same problem; no line if there are none."""
        self.problems += self._line(statement, [path for path, _ in findings], remedy)
        self.files += findings

    def add_note(self, statement: str, paths: list[Path], remedy: str) -> None:
        """A line about files that are not in `files`; no line if there are none."""
        self.notes += self._line(statement, paths, remedy)

    def short(self, path: Path) -> str:
        """The path from the category's folder, or from the folder of a list of images."""
        return os.path.relpath(path, self.folder.parent if self.folder.is_file() else self.folder)

    def _line(self, statement: str, paths: list[Path], remedy: str) -> list[str]:
        names = ", ".join(self.short(path) for path in paths[:SHOWN])
        return [f"{len(paths)} {statement} ({names}{', …' if len(paths) > SHOWN else ''}): {remedy}"] if paths else []


def check_data(name: str, *, progress: bool = True, listing: Path | None = None) -> list[Report]:
    """Checks every category of a data set (a registered name, "folder:PATH" or a path); no image is changed.

    listing: a new file for `files` of all reports, one path and reason per line, separated by a tab.
    AdnError if there is no category at all, or if `listing` exists or cannot be written.
    """
    if listing:
        if listing.exists():
            raise AdnError(f"{listing} exists: choose another file with --list, or delete it.")
        with scratch_folder(listing.absolute().parent):
            pass  # fails now rather than after all images were read
    if not name.startswith("folder:") and name not in registry():
        name = f"folder:{name}"
    root, _ = locate_dataset(name)
    categories = find_categories(root)
    reports = [_check_category(name, category, folder, progress) for category, folder in categories.items()]
    if not name.startswith("folder:"):
        for missing in sorted(set(registry()[name]["categories"]) - {_published(name, c)[0] for c in categories}):
            reports.append(Report(missing, problems=[f"the category is missing in {root}: unpack the whole archive"]))
    if listing:
        lines = (f"{printable(str(path))}\t{reason}\n" for report in reports for path, reason in report.files)
        write_whole(listing.absolute(), "".join(lines).encode())
    return reports


def _check_category(name: str, category: str, folder: Path, progress: bool) -> Report:
    report = Report(category, folder)
    try:
        contents = read_category(folder)
    except AdnError as error:  # a folder cannot be read; the other categories are checked all the same
        report.problems.append(str(error))
        return report
    files = [(sample.path, IMAGE) for sample in contents.samples]
    files += [(sample.mask_path, MASK) for sample in contents.samples if sample.mask_path]
    looks = dict(zip((path for path, _ in files), look_at(files, folder, progress), strict=True))
    usable = [sample for sample in contents.samples if not looks[sample.path].problem]
    unreadable = contents.unusable + [(path, look.problem) for path, look in looks.items() if look.problem]

    _count(report, name, contents, [(sample, looks[sample.path]) for sample in usable])
    report.add_problem("cannot be read", unreadable, "replace or remove")
    report.problems += [f"{report.short(path)}: {reason}" for path, reason in unreadable[:SHOWN]]
    _check_masks(report, usable, looks)
    defects = Counter(sample.defect for sample in usable if sample.label == ANOMALOUS)
    report.facts["defects"] = ", ".join(f"{defect} {n}" for defect, n in sorted(defects.items())) or "none"
    _check_repeats(report, contents, [(sample, looks[sample.path].digest) for sample in usable])
    _check_values(report, {sample.path: looks[sample.path] for sample in usable})
    _note_ignored(report, contents)
    try:
        if unreadable:
            report.facts["loads as"] = "nothing, until the files that cannot be read are replaced or removed"
        else:
            report.facts["loads as"] = str(load_dataset(f"folder:{folder}")).replace(f"folder:{folder} / ", "")
    except AdnError as error:
        report.problems.append(str(error))
    return report


def _count(report: Report, name: str, contents: Contents, images: list[tuple[Sample, Look]]) -> None:
    """The facts about the images that can be read, and whether their numbers are the published ones."""
    tested = {sample.path for sample in contents.test}
    test = [sample.label for sample, _ in images if sample.path in tested]
    anomalous = sum(label == ANOMALOUS for label in test)
    counts = [len(images) - len(test), len(test) - anomalous, anomalous]
    _, published = _published(name, report.category)
    report.facts["images"] = "{} train normal, {} test normal, {} test anomalous".format(*counts)
    if counts == published:
        report.facts["images"] += ", as published"
    elif published is not None:
        report.problems.append(
            "the published counts are {} train normal, {} test normal, {} test anomalous".format(*published)
        )
    report.facts["size"] = _sizes({(look.height, look.width) for _, look in images})
    modes = Counter(look.mode for _, look in images)
    report.facts["mode"] = ", ".join(f"{mode} {n}" for mode, n in modes.most_common())


def _check_masks(report: Report, usable: list[Sample], looks: dict[Path, Look]) -> None:
    mismatched, empty, fitting = [], [], 0
    anomalous = [sample for sample in usable if sample.label == ANOMALOUS]
    for sample in anomalous:
        image, mask = looks[sample.path], looks[sample.mask_path] if sample.mask_path else Look("none")
        if sample.mask_path and not mask.problem:
            if (mask.height, mask.width) != (image.height, image.width):
                sizes = f"it has {mask.height} x {mask.width} px, its image {image.height} x {image.width}"
                mismatched.append((sample.mask_path, sizes))
                continue
            fitting += 1
            if not mask.top:
                empty.append(sample.mask_path)
    if anomalous:
        report.facts["masks"] = f"{fitting} of {len(anomalous)} anomalous images have one"
    report.add_problem("masks differ in size from their image", mismatched, "replace or remove")
    report.add_note("masks are empty", empty, "their images still count as anomalous")
    unmasked = [sample.path for sample in anomalous if not sample.mask_path]
    if len(unmasked) < len(anomalous):
        report.add_note("anomalous images have no mask", unmasked, "they count for image scores only")


def _check_repeats(report: Report, contents: Contents, digests: list[tuple[Sample, bytes]]) -> None:
    """Reports images with the same pixels: as problems if labels or parts (training, test) differ, else as notes."""
    same = defaultdict(list)
    for sample, digest in digests:
        same[digest].append(sample)
    tested = {sample.path for sample in contents.test}
    contradictory, leaked, again = [], [], {"training": [], "test": []}
    for group in same.values():
        first, *others = sorted(group, key=lambda sample: (sample.label, sample.path in tested))
        reason = f"the same pixels as {printable(str(first.path))}"
        for other in others:
            if other.label != first.label:
                contradictory.append((other.path, f"{reason}, a normal image"))
            elif (other.path in tested) != (first.path in tested):
                leaked.append((other.path, f"{reason}, a training image"))
            else:
                again["test" if other.path in tested else "training"].append((other.path, reason))
    remedy = "remove one of each"
    report.add_problem("anomalous images are also normal images, pixel by pixel", contradictory, remedy)
    report.add_problem("test images are also training images, pixel by pixel", leaked, remedy)
    for part, findings in again.items():
        paths = [path for path, _ in findings]
        report.add_note(f"{part} images repeat another one, pixel by pixel", paths, "they count twice")
        report.files += findings


def _check_values(report: Report, looks: dict[Path, Look]) -> None:
    constant = [(path, "all of its pixels have the same colour") for path, look in looks.items() if look.constant]
    report.add_problem("images have a single colour, such as black", constant, "replace or remove")
    dark = [path for path, look in looks.items() if look.mode.startswith("I") and look.top < DARK]
    statement = f"16 bits but only values below {DARK}, almost black"
    remedy = "scale all images by one factor"
    report.add_problem(f"have {statement}", [(path, f"it has {statement}") for path in dark], remedy)


def _note_ignored(report: Report, contents: Contents) -> None:
    ignored, remedy = ignored_images(report.folder, contents), "they are ignored"
    report.add_note("masks have no image", contents.lone_masks, remedy)
    report.add_note("images are in folders that are not read", ignored, f"{remedy}, see data/README.md for the folders")
    report.add_note("files have no image extension", contents.other_files, remedy)


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


def _sizes(sizes: set[tuple[int, int]]) -> str:
    """The smallest and largest (H, W), by area."""
    low, *_, high = sorted(sizes, key=lambda size: size[0] * size[1]) * 2 or [(0, 0)] * 2
    text = f"{low[0]} x {low[1]}" + (f" to {high[0]} x {high[1]}" if len(sizes) > 1 else "")
    return f"{text} px" + (f", {len(sizes)} different" if len(sizes) > 1 else "")
