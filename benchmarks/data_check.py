"""Seconds and peak memory of `adn data check` on many small images: a first look, a second one, one after a change.

    .venv/bin/python benchmarks/data_check.py [--images 20000] [--size 256]

Writes that many different PNG files into a temporary folder (removed at the end) and checks them three times, each in
a process of its own. The results of the first look are in a download folder beside the images. Before the third look,
one image in a hundred is written again.
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
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root / "data" / "many", options.images, options.size)
        looks = [("first", *check(root)), ("second", *check(root))]
        for path in sorted((root / "data").rglob("*.png"))[::100]:
            path.write_bytes(path.read_bytes())
        looks.append(("after 1 % of the files changed", *check(root)))
    print(
        f"{options.images} PNG images of {options.size} x {options.size} px, Pillow {PIL.__version__}, "
        f"{os.cpu_count()} cores, Python {platform.python_version()}\n"
    )
    print("| look | seconds | images per second | peak memory (MiB) |\n| --- | --- | --- | --- |")
    for look, seconds, peak in looks:
        print(f"| {look} | {seconds:.1f} | {options.images / seconds:.0f} | {peak:.0f} |")


if __name__ == "__main__":
    main()
