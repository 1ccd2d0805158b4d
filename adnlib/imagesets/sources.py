"""Where the images of a data set come from: a package, a download, the renderer, or a folder of the user's.

A registered set lies in `home()/data/NAME`; the file dataset.json there says that the copy is whole, or that it lies in
a folder of the user's.
"""

import hashlib
import json
import tempfile
from pathlib import Path

import filelock

from adnlib.errors import AdnError, check_choice
from adnlib.imagesets.archives import unpack
from adnlib.imagesets.downloads import fetch_package, fetch_url
from adnlib.imagesets.elpv import lay_out_elpv
from adnlib.imagesets.layouts import find_categories, pick_category
from adnlib.imagesets.registry import registry
from adnlib.system.files import sha256, whole_folder
from adnlib.system.folders import home


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
            raise AdnError(
                f"{name} is already in {folder}, so {source} is not used: delete {home() / 'data' / name} "
                "first if it is to take its place."
            )
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
                from adnlib.imagesets.wild_parts import make_wild_parts  # scikit-image: slow to import, seldom needed

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
