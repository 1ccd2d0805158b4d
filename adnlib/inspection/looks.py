"""What image and mask files contain, as far as a check needs it; remembered on disk until a file changes.

Everything that is remembered is in the file `home()/checked_images`, one line for each image or mask. The file ends
with the sha256 of its lines: if it is damaged, the images are decoded again. ADN_CACHE_GB=0 disables it.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from tqdm import tqdm

from adnlib.errors import AdnError, printable
from adnlib.imagesets.reading import open_image, reason, to_mask, to_rgb
from adnlib.system.files import is_intact, machine_lock, write_whole
from adnlib.system.folders import home

HEADER = f"adnlib 1, Pillow {PIL.__version__}".encode()  # with other rules or another decoder, all is decoded again
MOST_LINES = 1_000_000  # about 200 MB
CHUNK = 256  # files that are waited for at once
LARGE = 2**22  # px; of such images, only one at a time is in memory
IMAGE, MASK = "image", "mask"

Key = tuple[str, str, int, int, int]  # path, IMAGE or MASK, size in bytes, times of the last change of content and file
_one_at_a_time = threading.Lock()


class Look(NamedTuple):
    """What one file contains. If it cannot be read, `problem` says why."""

    problem: str = ""
    height: int = 0  # upright
    width: int = 0
    mode: str = ""  # Pillow's mode of the stored pixels
    top: int = 0  # the largest stored value of a 16-bit image; 0 or 1 for masks
    constant: bool = False  # all pixels have the same colour
    digest: bytes = b""  # of the decoded pixels, to find the same image in other formats, too


def look_at(files: list[tuple[Path, str]], folder: Path, progress: bool = False) -> list[Look]:
    """A look at each file below `folder`, given as (path, IMAGE or MASK); only new and changed files are decoded.

    They are decoded in threads and in chunks, which bounds the memory. If this is interrupted, what was decoded so far
    is remembered.
    """
    known, current, looks = _remembered(folder), {}, []
    before = known
    bar = tqdm(total=len(files), desc=printable(folder.name), unit="file", leave=False, disable=not progress)
    try:
        with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(files), CHUNK):
                chunk = [(_key(path, kind), path, kind) for path, kind in files[start : start + CHUNK]]
                new = [(path, kind) for key, path, kind in chunk if key not in known]
                decoded = pool.map(look, *zip(*new, strict=True)) if new else iter(())
                for key, *_ in chunk:
                    seen = known[key] if key in known else next(decoded)
                    if key and not seen.problem:
                        current[key] = seen
                    looks.append(seen)
                    bar.update()
        known = {}  # files that are no longer there are forgotten
    finally:
        if (entries := {**known, **current}) != before:
            _remember(folder, entries)
    return looks


def _key(path: Path, kind: str) -> Key | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return os.path.abspath(path), kind, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def look(path: Path, kind: str = IMAGE) -> Look:
    """A look at one file, which is decoded."""
    try:
        with (
            open_image(path) as image,
            _one_at_a_time if image.width * image.height > LARGE else nullcontext(),
        ):
            mode = image.mode
            if kind == MASK:
                mask = to_mask(image)
                return Look("", mask.shape[0], mask.shape[1], mode, int(mask.any()))
            top = int(np.asarray(image).max()) if mode.startswith("I") else 255
            picture = to_rgb(image)
            constant = picture.getcolors(1) is not None
            digest = hashlib.blake2b(repr(picture.size).encode(), digest_size=16)
            digest.update(picture.tobytes())
            return Look("", picture.height, picture.width, mode, top, constant, digest.digest())
    except AdnError as error:
        return Look(reason(error.__cause__))


def _memory() -> Path:
    return home() / "checked_images"


def _start(folder: Path) -> bytes:
    """How the lines of the files below `folder` begin."""
    return json.dumps([os.path.join(os.path.abspath(folder), "")])[:-2].encode()


def _lines() -> Iterator[bytes]:
    """The lines of an intact memory, without their header."""
    if os.environ.get("ADN_CACHE_GB") != "0" and is_intact(_memory()):
        header, *lines = _memory().read_bytes()[: -hashlib.sha256().digest_size].splitlines()
        yield from lines if header == HEADER else ()


def _remembered(folder: Path) -> dict[Key | None, Look]:
    start, looks = _start(folder), {}
    for line in _lines():
        if line.startswith(start):
            *key, height, width, mode, top, constant, digest = json.loads(line)
            looks[tuple(key)] = Look("", height, width, mode, top, constant, bytes.fromhex(digest))
    return looks


def _remember(folder: Path, looks: dict[Key | None, Look]) -> None:
    """Replaces the lines of a folder, in front of those of others; a failure only means decoding once more."""
    if os.environ.get("ADN_CACHE_GB") == "0":
        return
    start = _start(folder)
    lines = [json.dumps([*key, *seen[1:-1], seen.digest.hex()]).encode() for key, seen in looks.items() if key]
    with suppress(AdnError, OSError), machine_lock(_memory()):
        lines += (line for line in _lines() if not line.startswith(start))
        content = b"\n".join([HEADER, *lines[:MOST_LINES]])
        write_whole(_memory(), content + hashlib.sha256(content).digest())
