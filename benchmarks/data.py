"""Time and peak memory of listing and checking many images, compared with a plain decoding loop in the same run.

    .venv/bin/python benchmarks/data.py [--images 20000] [--size 256]

Writes that many different PNG files into a temporary folder (removed at the end), lists them (`load_dataset`), decodes
them one after the other for comparison, and checks them three times with `adn data check`, each time in a separate
process: a first look, a second one that finds the results of the first on disk, and a third one after one image in a
hundred was written again.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from adnlib.datasets import load_dataset

CHECK = """
import resource, sys
from adnlib.cli import main
status = main(["data", "check", sys.argv[1]])
print(status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
"""


def write_images(folder: Path, count: int, size: int) -> None:
    """Different images of smooth noise: 8 of 10 for training, one of 10 each, normal and anomalous, for testing."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    base = noise.resize((size, size), Image.Resampling.BICUBIC)
    for part, share in (("train/good", 0.8), ("test/good", 0.1), ("test/spot", 0.1)):
        (folder / part).mkdir(parents=True)
        for index in range(round(count * share)):
            image = base.copy()
            image.paste(tuple(rng.integers(0, 256, 3).tolist()), (size // 4, size // 4, size // 2, size // 2))
            image.putpixel((0, 0), tuple(index >> shift & 255 for shift in (0, 8, 16)))
            image.save(folder / part / f"{index:05d}.png", compress_level=1)


def check(root: Path) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of a check in a process of its own, with its imports."""
    start = time.perf_counter()
    environment = {**os.environ, "ADN_HOME": str(root / "home")}
    command = [sys.executable, "-c", CHECK, str(root / "data")]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}  # the latter: the progress bar
    result = subprocess.run(command, env=environment, text=True, check=True, **streams)
    status, peak = result.stdout.split()[-2:]
    assert status == "0", result.stdout
    return time.perf_counter() - start, float(peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=256, help="px per side (default: %(default)s)")
    options = parser.parse_args()
    n = options.images
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root / "data" / "many", n, options.size)
        start = time.perf_counter()
        dataset = load_dataset(f"folder:{root / 'data'}", "many")
        rows = [("list", time.perf_counter() - start, None)]
        sample = dataset.train.samples[:1000]
        start = time.perf_counter()
        for item in sample:
            with Image.open(item.path) as file:
                file.convert("RGB")
        decoding = (time.perf_counter() - start) / len(sample) * n
        rows.append(("decode one by one (of 1000)", decoding, None))
        rows += [("check, first look", *check(root)), ("check, second look", *check(root))]
        for path in sorted((root / "data").rglob("*.png"))[::100]:
            path.write_bytes(path.read_bytes())
        rows.append(("check after 1 % of the files changed", *check(root)))
    print(
        f"{n} PNG images of {options.size} x {options.size} px, Pillow {PIL.__version__}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}\n"
    )
    print("| what | seconds | images per second | in units of decoding one by one | peak memory (MiB) |")
    print("| --- | --- | --- | --- | --- |")
    for what, seconds, peak in rows:
        memory = "" if peak is None else f"{peak:.0f}"
        print(f"| {what} | {seconds:.2f} | {n / seconds:.0f} | {seconds / decoding:.3f} | {memory} |")


if __name__ == "__main__":
    main()
