"""`adn score`: one image from a cold start and from a running process, many images, and a kill in the middle.

    .venv/bin/python benchmarks/scoring.py [--images 10000]

A plain DifferNet (preset fast, 2 epochs, which costs nothing here and changes no time) is trained on rendered parts.
Each command is a process of its own. The killed command (-9) is repeated, and its table is compared with that of an
undisturbed command in every column except the seconds.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import adnlib
from adnlib import RunConfig, load_dataset
from adnlib.evaluation import evaluate
from adnlib.experiments.runs import build_model, save_run

MEASURED = """import resource, sys, time; start = time.perf_counter()
from adnlib.cli import main
status = main(sys.argv[1:])
print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)"""


def make_run(folder: Path) -> Path:
    config = RunConfig("wild_parts", "clamp_plain")
    dataset, model = load_dataset(config.dataset, config.category), build_model(config)
    model.preset = replace(model.preset, epochs=2)
    history = adnlib.fit(model, dataset, epochs=2, progress=False)
    return save_run(folder, config, model, dataset, history, evaluate(model, dataset)).folder


def make_images(folder: Path, count: int) -> None:
    """Different JPEG files of 640 x 480 px."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    base = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((640, 480))
    for index in range(count):
        image = base.copy()
        image.paste(tuple(rng.integers(0, 256, 3).tolist()), (40, 40, 40 + index % 300, 200))
        image.save(folder / f"{index:05d}.jpg", quality=85)


def command(*arguments: object) -> tuple[float, float]:
    """Seconds and peak memory in MiB of one `adn` command."""
    start = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return time.perf_counter() - start, float(result.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_run(folder / "runs")
        make_images(folder / "images", options.images)
        one = next((folder / "images").iterdir())
        print(f"{os.cpu_count()} cores; {options.images} images of 640 x 480 px; preset fast, 4 views\n")
        print("| what | seconds | peak MiB |\n| --- | --- | --- |")
        cold = [command("score", one, "--run", run) for _ in range(3)]
        print(f"| one image, cold (best of 3) | {min(cold)[0]:.2f} | {max(peak for _, peak in cold):.0f} |")
        detector = adnlib.load(run)
        times = []
        for _ in range(20):
            start = time.perf_counter()
            detector.score(one)
            times.append(time.perf_counter() - start)
        print(f"| one image, warm (median of 20) | {np.median(times):.3f} | |")
        seconds, peak = command("score", folder / "images", "--run", run, "--csv", folder / "whole.csv")
        print(f"| {options.images} images | {seconds:.0f} | {peak:.0f} |")
        given = [
            sys.executable,
            "-m",
            "adnlib.cli",
            "score",
            folder / "images",
            "--run",
            run,
            "--csv",
            folder / "k.csv",
        ]
        process = subprocess.Popen(list(map(str, given)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.5 * seconds)
        process.kill()
        process.wait()
        rest, _ = command(*map(str, given[3:]))
        print(f"| the rest after a kill in the middle | {rest:.0f} | |")
        whole, killed = (pd.read_csv(folder / file).drop(columns="seconds") for file in ("whole.csv", "k.csv"))
        print(f"\nthe table after the kill equals the undisturbed one: {whole.equals(killed)}")


if __name__ == "__main__":
    main()
