"""Kills (-9) at random instants: afterwards, the same command must end with the files of an undisturbed run.

    .venv/bin/python benchmarks/kills.py [--kills 20] [--kinds training sweep scoring saving fetching]

Each kind is executed undisturbed once, which also measures how long it takes. A kill comes at a random instant within
that time; every fourth one within the first five seconds. Then the command is executed again. Printed for each kind:
how many kills hit a living process, and how many repetitions ended with the same files and without leftovers.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from adnlib.system.files import recover

ADN = [sys.executable, "-m", "adnlib.cli"]
SMOKE = ["--preset", "smoke", "--weights", "random"]
SAVE = """import sys; from pathlib import Path; from adnlib.system.files import whole_folder
for version in range(4000):
    with whole_folder(Path(sys.argv[1])) as new:
        for name in ("a", "b"): (new / name).write_text(str(version % 2) * 10000)
"""


def make_images(folder: Path) -> None:
    """A small category: noise is normal, a bright square in it a defect."""
    rng = np.random.default_rng(0)
    for part, count in (("train/good", 12), ("test/good", 4), ("test/spot", 4)):
        (folder / part).mkdir(parents=True)
        for index in range(count):
            pixels = rng.normal(120, 8, (64, 64, 3)).clip(0, 255).astype(np.uint8)
            if part == "test/spot":
                pixels[16:32, 16:32] = 250
            Image.fromarray(pixels).save(folder / part / f"{index:03d}.png")


def command(kind: str, base: Path, out: Path) -> list:
    """The command of a kind, which writes everything into `out`."""
    dataset, run = f"folder:{base / 'images'}", next((base / "runs").glob("*"), None)
    return {
        "training": [*ADN, "train", "--dataset", dataset, *SMOKE, "--runs", out],
        "sweep": [*ADN, "sweep", base / "grid.toml", "--runs", out],
        "scoring": [*ADN, "explain", base / "images/test/spot/000.png", "--run", run, "--out", out / "explained.png"],
        "saving": [sys.executable, "-c", SAVE, out / "saved"],
        "fetching": [*ADN, "data", "fetch", "wild_parts"],
    }[kind]


def execute(kind: str, base: Path, out: Path, kill_after: float | None = None) -> bool:
    """Executes the command, or kills it with all its children; whether the kill hit a living process."""
    out.mkdir(exist_ok=True)
    home = out / "home" if kind == "fetching" else base / "home"
    process = subprocess.Popen(
        command(kind, base, out),
        env={**os.environ, "ADN_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    if kill_after is None:
        return process.wait() == 0
    time.sleep(kill_after)
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        return False
    alive = process.poll() is None
    for member in family:
        try:
            os.kill(member.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    return alive


def result(kind: str, out: Path) -> dict[str, str]:
    """The sha256 of each file that must be the same, and the names of all others, such as leftovers."""
    files = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.is_dir() or name.endswith("lock") or "/locks/" in name:
            continue
        same = path.suffix in (".png", ".safetensors", ".jpg") or path.name in ("scores.csv", "explained.csv", "a", "b")
        files[name] = hashlib.sha256(path.read_bytes()).hexdigest() if same else ""
    return files


def is_consistent(out: Path) -> bool:
    """Whether the folder that was killed while it was saved is complete, in either version."""
    recover(out)
    contents = [path.read_text() for path in sorted((out / "saved").iterdir())] if (out / "saved").exists() else []
    return contents == [] or (len(contents) == 2 and contents[0] == contents[1] and len(set(contents[0])) == 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kinds", nargs="*", default=["training", "sweep", "scoring", "saving", "fetching"])
    options = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        make_images(base / "images")
        grid = {"dataset": f"folder:{base / 'images'}", "preset": "smoke", "weights": "random"}
        lines = ["[[grid]]", *(f'{key} = "{value}"' for key, value in grid.items()), 'category = "images"']
        (base / "grid.toml").write_text("\n".join(lines))
        execute("training", base, base / "runs")
        print("kind        seconds  kills that hit  equal afterwards")
        for kind in options.kinds:
            start = time.perf_counter()
            assert execute(kind, base, base / f"{kind}-whole"), f"{kind} fails undisturbed"
            seconds = time.perf_counter() - start
            expected, hits, equal = result(kind, base / f"{kind}-whole"), 0, 0
            for number in range(options.kills):
                out = base / f"{kind}-{number}"
                limit = min(5.0, seconds) if number % 4 == 0 else seconds
                hits += execute(kind, base, out, kill_after=rng.uniform(0, limit))
                whole = is_consistent(out) if kind == "saving" else True
                execute(kind, base, out)
                equal += whole and result(kind, out) == expected
            print(f"{kind:<12}{seconds:7.1f}  {hits:>14}  {equal:>16}", flush=True)


if __name__ == "__main__":
    main()
