"""The processor time of an executed notebook, in units that do not depend on the machine or its load."""

import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from adnlib.system.files import write_whole

FACTOR = 1.8  # times the recorded time: more than that is too long, and a notebook that doubles its time is found
FLOOR = 20.0  # units: the start of a kernel varies by less


def unit(repeats: int = 7) -> float:
    """Processor seconds of a fixed computation: the median of several. It costs about as much Python as NumPy.

    Processor time does not count waiting for other programs. It still grows on a busy machine, whose programs share
    caches and cores; the time of a notebook grows with it.
    """
    matrix, seconds = np.random.default_rng(0).random((256, 256)), []
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(20):
            matrix = matrix @ matrix
            matrix /= matrix.max()
        sum(number * number for number in range(200_000))
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))


@contextmanager
def measured() -> Iterator[SimpleNamespace]:
    """The processor time of the kernels that end inside the block: `units` is set at its end, nan on Windows."""
    try:
        import resource
    except ImportError:
        resource = None

    def children() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN) if resource else None
        return used.ru_utime + used.ru_stime if used else float("nan")

    spent, before, first = SimpleNamespace(units=float("nan")), children(), unit()
    yield spent
    spent.units = (children() - before) / ((first + unit()) / 2)


def read_times(path: Path) -> dict[str, float]:
    """Units by notebook, from a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["notebook"]: float(row["units"]) for row in csv.DictReader(file)}


def record_time(path: Path, notebook: str, units: float) -> None:
    """Writes the time of a notebook into the table."""
    times = {**(read_times(path) if path.exists() else {}), notebook: units}
    rows = [f"{name},{value:.0f}" for name, value in sorted(times.items())]
    write_whole(path, "\n".join(["notebook,units", *rows, ""]).encode())


def too_long(notebook: str, units: float, recorded: dict[str, float]) -> str:
    """What is wrong with the time of a notebook; "" if nothing is, or if no time is recorded."""
    if notebook not in recorded:
        return ""
    limit = max(FACTOR * recorded[notebook], recorded[notebook] + FLOOR)
    if units > limit:
        return (
            f"{notebook} takes {units:.0f} units of processor time, more than {limit:.0f} (recorded: "
            f"{recorded[notebook]:.0f}): make it faster, or record its new time."
        )
    return ""
