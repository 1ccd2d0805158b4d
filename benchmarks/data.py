"""Speed and peak memory of listing and checking many images, compared with a plain decoding loop in the same run.

    .venv/bin/python benchmarks/data.py [--images 10000] [--size 512]

Writes that many different JPEG files into a temporary folder (removed at the end), lists them (`load_dataset`), checks
them (`adn data check`: every image is decoded, hashed and compared) in a separate process to measure its peak memory,
and decodes them one after the other for comparison.
"""

import argparse
import os
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
import resource, sys, time
from adnlib.inspection.data_check import check_data
start = time.perf_counter()
(report,) = check_data(sys.argv[1])
assert not report.problems, report
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
"""


def write_images(root: Path, count: int, size: int) -> None:
    """Different images of smooth noise: 8 of 10 for training, one of 10 each, normal and anomalous, for testing."""
    rng = np.random.default_rng(0)
    base = Image.fromarray(rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    for part, share in (("train/good", 0.8), ("test/good", 0.1), ("test/spot", 0.1)):
        folder = root / "many" / part
        folder.mkdir(parents=True)
        for index in range(round(count * share)):
            image = base.copy()
            image.putpixel((0, 0), tuple(rng.integers(0, 256, 3).tolist()))
            image.paste(tuple(rng.integers(0, 256, 3).tolist()), (8, 8, 40, 40))
            image.save(folder / f"{index:05d}.jpg", quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=512, help="px per side (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_images(root, options.images, options.size)
        start = time.perf_counter()
        dataset = load_dataset(f"folder:{root}", "many")
        listing = time.perf_counter() - start
        command, environment = [sys.executable, "-c", CHECK, folder], {**os.environ, "ADN_CACHE_GB": "0"}
        result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        checking, peak = map(float, result.stdout.split())
        sample = [sample.path for sample in dataset.train][:1000]
        start = time.perf_counter()
        for path in sample:
            with Image.open(path) as file:
                file.convert("RGB")
        decoding = (time.perf_counter() - start) / len(sample) * options.images
    n = options.images
    print(f"{n} JPEG images of {options.size} x {options.size} px, Pillow {PIL.__version__}\n")
    print("| what | seconds | images per second | in units of decoding one by one |\n| --- | --- | --- | --- |")
    for what, seconds in (("list", listing), ("check", checking), ("decode one by one (of 1000)", decoding)):
        print(f"| {what} | {seconds:.2f} | {n / seconds:.0f} | {seconds / decoding:.3f} |")
    print(f"\nPeak memory of the check: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
