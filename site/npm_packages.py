"""The two packages of the npm registry that the site needs: the engine of the live page, and axe-core for its tests.

.venv/bin/python site/npm_packages.py        fetches them with npm into the download folder, once
.venv/bin/python site/npm_packages.py --if-npm   the same, but does nothing without npm
"""

import argparse
import gzip
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

from adnlib.errors import AdnError
from adnlib.system.files import scratch_folder, sha256
from adnlib.system.folders import home

# Name: version and sha256 of the archive. The licence of the engine is MIT; axe-core (MPL-2.0) is not part of the site.
PACKAGES = {
    "onnxruntime-web": ("1.30.0", "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"),
    "axe-core": (
        "4.14.1",
        "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745",
    ),
}
ENGINE = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
LICENCE = """onnxruntime-web {version}, from https://github.com/microsoft/onnxruntime, under the MIT License:

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


def archive(name: str) -> Path:
    """Where the archive of a package is, or will be."""
    return home() / "npm" / f"{name}-{PACKAGES[name][0]}.tgz"


def fetch(name: str) -> Path:
    """The archive of a package, fetched with npm if it is missing; AdnError if that fails or its content is another."""
    path, (version, digest) = archive(name), PACKAGES[name]
    if path.exists():
        return path
    npm = shutil.which("npm")
    if npm is None:
        raise AdnError(f"npm is not installed: install Node.js, or put the file {path.name} into {path.parent}.")
    with scratch_folder(path.parent) as scratch:
        command = [npm, "pack", "--silent", "--pack-destination", str(scratch), f"{name}@{version}"]
        result = subprocess.run(command, capture_output=True, text=True)
        found = scratch / path.name
        if result.returncode or not found.exists():
            raise AdnError(f"npm cannot fetch {name} {version} ({result.stderr.strip()[-200:]}): check the network.")
        if sha256(found) != digest:
            raise AdnError(f"{name} {version} has another sha256 than expected: do not use it.")
        found.replace(path)
    return path


def content(name: str, file: str) -> bytes:
    """A file of a package."""
    with tarfile.open(fetch(name)) as tar:
        found = tar.extractfile(f"package/{file}")
        assert found is not None
        return found.read()


def write_engine(folder: Path) -> str:
    """Writes the engine of the live page and its licence into `folder`; returns the name of the packed WebAssembly."""
    folder.mkdir(parents=True)
    script, binary = (content("onnxruntime-web", f"dist/{file}") for file in ENGINE)
    (folder / ENGINE[0]).write_bytes(script.rpartition(b"//# sourceMappingURL")[0] or script)
    name = f"{ENGINE[1].removesuffix('.wasm')}.{hashlib.sha256(binary).hexdigest()[:10]}.wasm.gz"
    (folder / name).write_bytes(gzip.compress(binary, 9, mtime=0))
    text = LICENCE.format(version=PACKAGES["onnxruntime-web"][0])
    (folder / "LICENSE.txt").write_text(text, encoding="utf-8")
    return name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--if-npm", action="store_true", help="do nothing if npm is not installed")
    if parser.parse_args().if_npm and shutil.which("npm") is None:
        print("site: npm is not installed, so `make site` builds no live page")
        return
    for name in PACKAGES:
        print(f"{name}: {fetch(name)}")


if __name__ == "__main__":
    main()
