"""Sweeps: many runs from one small file, each an execution of 07_train into a folder of its own, none done twice.

A grid is a TOML file of tables [[grid]]; a key is a parameter of 07_train, a value or a list of values, and the points
of a table are all combinations. `attention = "none"` is the plain DifferNet.

    [[grid]]
    dataset = "elpv"
    category = ["mono", "poly"]
    attention = ["none", "se", "cbam"]
    seed = [0, 1, 2]

A finished point is skipped, whoever trained it, a failed one is tried again by the next sweep, and one that was stopped
or killed goes on from its last checkpoint. The executed notebook is kept in the run's folder as its record.
`category = "all"` stands for each of the set's.
"""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import filelock
from tqdm import tqdm

from adnlib.errors import AdnError
from adnlib.files import write_whole
from adnlib.ledger import run_name

Show = Callable[[dict, int, int], None]  # told of a point, the cell that it is in, and of how many
TOPIC = "adn-cells"  # of dask's events
REFUSED = 2  # exit status of a point that ended with a sentence: another attempt would end with it, too

DEFAULTS = {"dataset": "elpv", "category": "mono", "attention": None, "placement": "figure", "options": {},
            "train_attention": False, "preset": "fast", "weights": "imagenet", "seed": 0, "device": "auto"}  # fmt: skip
KINDS = {name: (type(value),) for name, value in DEFAULTS.items()} | {  # of values; exactly: true is no seed
    "category": (str, type(None)), "attention": (str, type(None)), "train_attention": (bool, str)}  # fmt: skip
WORDS = {str: "a string", int: "a whole number", bool: "true or false", dict: "a table"}
ATTEMPTS = 3  # of a point whose process was killed; one that was refused is not tried again by the same sweep


def read_grid(path: Path | str) -> list[dict]:
    """The points of a grid file, each a complete set of 07_train's parameters; AdnError names what cannot be."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AdnError(f"There is no grid file {path}: grids/ has examples.") from error
    except ValueError as error:
        raise AdnError(f"The grid file {path} cannot be read ({error}): mend that line.") from error
    tables = content.get("grid")
    if set(content) != {"grid"} or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise AdnError(f"The grid file {path} has other things than tables [[grid]]: see grids/quick.toml.")
    return grid_points(tables, str(path), Path(path).resolve().parent)


def grid_points(tables: Iterable[dict], source: str = "the grid", base: Path | None = None) -> list[dict]:
    """All combinations of each table's values, in order, none twice; what a table leaves out is 07_train's default.

    base: what a relative "folder:PATH" starts from, the grid file's folder.
    """
    points = {}
    for table in tables:
        for name in table:
            if name not in DEFAULTS:
                raise AdnError(f"{source} has {name!r}, no parameter of 07_train: choose from {', '.join(DEFAULTS)}.")
        values = [value if isinstance(value, list) else [value] for value in table.values()]
        for name, several in zip(table, values, strict=True):
            if wrong := [value for value in several if type(value) not in KINDS[name]]:
                words = " or ".join(WORDS[kind] for kind in KINDS[name] if kind in WORDS)
                raise AdnError(f"{source} has {name} = {wrong[0]!r}: write {words}.")
        for combination in itertools.product(*values):
            point = DEFAULTS | dict(zip(table, combination, strict=True))
            if point["attention"] == "none":
                point |= {"attention": None, "placement": "figure", "options": {}, "train_attention": False}
            if base and point["dataset"].startswith("folder:"):
                folder = Path(point["dataset"].removeprefix("folder:")).expanduser()
                point["dataset"] = f"folder:{(base / folder).resolve()}"
            names = _category_names(point["dataset"]) if point["category"] == "all" else [point["category"]]
            points |= {point_name(p): p for p in (point | {"category": name} for name in names)}
    if not points:
        raise AdnError(f"{source} has no points: give at least one table [[grid]].")
    return list(points.values())


def _category_names(dataset: str) -> list[str]:
    from adnlib.datasets import category_names  # torch: seconds that other grids need not wait

    return category_names(dataset)


def point_name(point: dict) -> str:
    return run_name(**{key: value for key, value in point.items() if key != "device"})


def is_done(root: Path, point: dict) -> bool:
    """Whether the run of a point is finished, and no sweep is at it or was killed before its notebook was there."""
    name = point_name(point)
    return (root / name / "parameters.json").exists() and not _work(root, name).exists()


def _work(root: Path, name: str) -> Path:
    return root / f".{name}.sweep"


def run_point(root: Path | str, point: dict) -> str:
    """Executes 07_train for one point unless its run is there; returns the run's name.

    The notebook is moved into the run's folder last. A failure leaves NAME.failed/ with the notebook as far as it came
    and the error's sentence, and raises AdnError.
    """
    from adnlib.book import Chapter, execute  # papermill, torch: seconds that a sweep with nothing to do need not wait

    root = Path(root).resolve()
    name = point_name(point)
    if is_done(root, point):
        return name
    failed, work = root / f"{name}.failed", _work(root, name)
    work.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(work / "lock"):  # the process of a sweep that was killed may still be at it: wait for it
        if not (root / name / "notebook.ipynb").exists():
            try:
                notebook = execute(Chapter("07_train", {**point, "runs": str(root)}, "notebook"), work, f"{name} ")
            except AdnError as error:
                write_whole(work / "error.txt", f"{error}\n".encode())
                shutil.rmtree(failed, ignore_errors=True)
                work.replace(failed)
                raise
            notebook.replace(root / name / "notebook.ipynb")
            shutil.rmtree(failed, ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)
    return name


class Processes:
    """The default engine: each point in a process of its own on this machine, `workers` at a time."""

    def __init__(self, workers: int = 1):
        self.workers, self.running, self.stopped = workers, set(), threading.Event()

    def __call__(self, root: Path, points: list[dict], show: Show) -> Iterator[tuple[dict, str | None]]:
        """Yields each point as it ends, with its error's sentence or None."""
        self.stopped.clear()
        with ThreadPoolExecutor(self.workers) as pool:
            jobs = {pool.submit(self._run, root, point, show): point for point in points}
            try:
                for job in as_completed(jobs):
                    yield jobs[job], job.result()
            finally:  # Ctrl-C: what has not begun does not begin, what is under way ends and keeps its checkpoint
                self.stopped.set()
                for process in tuple(self.running):
                    process.kill()  # nbclient takes a milder signal for itself, and two of them may keep it waiting
                pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, root: Path, point: dict, show: Show) -> str | None:
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        command = [sys.executable, "-m", "adnlib.sweeps", str(root), json.dumps(point)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        for _ in range(ATTEMPTS):
            if self.stopped.is_set():
                return "stopped"
            with subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as process:
                self.running.add(process)
                said = b""
                while block := process.stderr.read1():  # papermill's bar of cells, then perhaps an error
                    said = (said + block)[-4000:]
                    if cells := re.findall(rb"(\d+)/(\d+) \[", said):
                        show(point, int(cells[-1][0]), int(cells[-1][1]))
            self.running.discard(process)
            last = (said.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            if process.returncode in (0, REFUSED):
                return last if process.returncode else None
        return f"its process ended {ATTEMPTS} times without a result, at last with status {process.returncode}: {last}"


class Dask:
    """Many machines: the workers of a dask.distributed scheduler, or of a cluster of processes started here.

    address: "tcp://HOST:PORT" of a scheduler whose workers see `root` under the same path, or "local".
    A killed worker's point is run again by another one.
    """

    def __init__(self, address: str = "local", workers: int = 2):
        self.address, self.workers = address, workers

    def __call__(self, root: Path, points: list[dict], show: Show) -> Iterator[tuple[dict, str | None]]:
        try:
            import distributed
        except ImportError as error:
            raise AdnError("dask.distributed is not installed: pip install distributed.") from error
        if self.address == "local":
            client = distributed.Client(n_workers=self.workers, threads_per_worker=1, dashboard_address=None)
        else:
            try:
                client = distributed.Client(self.address, timeout=10)
            except (OSError, ValueError) as error:
                raise AdnError(f"No dask scheduler answers at {self.address}: check the address.") from error
        with client:
            by_name = {point_name(point): point for point in points}

            def shown(event):
                name, cell, cells = event[1]
                show(by_name[name], cell, cells)

            client.subscribe_topic(TOPIC, shown)
            futures = {
                client.submit(_on_worker, str(root), point, key=f"{name}-{time.time_ns()}", retries=ATTEMPTS): point
                for name, point in by_name.items()
            }
            for future in distributed.as_completed(futures):
                yield futures[future], future.result() if future.status == "finished" else str(future.exception())


def _on_worker(root: str, point: dict) -> str | None:
    """What a dask worker does: the point in a process of its own, so that a crash there is not the worker's."""
    import distributed

    worker = distributed.get_worker()
    engine = Processes(workers=os.cpu_count() or 1)
    return engine._run(Path(root), point, lambda p, *cells: worker.log_event(TOPIC, (point_name(p), *cells)))


def sweep(points: list[dict], root: Path | str, engine: Processes | Dask | None = None) -> dict[str, str]:
    """Runs every point that is not done, with a bar; the sentences of those that failed, by the run's name."""
    root = Path(root).resolve()
    todo = [point for point in points if not is_done(root, point)]
    failed = {}
    with tqdm(total=len(points), initial=len(points) - len(todo), desc="runs", unit="run") as bar:

        def show(point: dict, cell: int, cells: int) -> None:
            bar.set_postfix_str(f"{point_name(point)}, cell {cell} of {cells}")

        for point, error in (engine or Processes())(root, todo, show) if todo else ():
            if error:
                failed[point_name(point)] = error
            bar.update()
    return failed


def main(arguments: list[str]) -> int:
    """One point in this process: python -m adnlib.sweeps ROOT POINT_AS_JSON."""
    try:
        run_point(arguments[0], json.loads(arguments[1]))
    except (AdnError, OSError) as error:
        print(f"\n{error}", file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
