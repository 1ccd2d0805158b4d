"""Sweeps: the runs of a grid, each of them one execution of 07_train in a separate process.

A finished run is skipped, no matter how it was trained. The next sweep repeats a failed run and resumes a stopped or
killed one from its last checkpoint. The executed notebook is saved in the run's folder as a record.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import cast

import filelock
import psutil
from tqdm import tqdm

from adnlib.datasets import Dataset, load_dataset
from adnlib.errors import AdnError, KernelDiedError
from adnlib.experiments.config import RunConfig
from adnlib.experiments.ledger import image_change, preset_change, read_facts
from adnlib.imagesets.sources import present_dataset
from adnlib.system.files import write_whole

Show = Callable[[RunConfig, int, int], None]  # called with a run, the cell being executed, and the number of cells
TOPIC = "adn-cells"  # topic of the dask events
REFUSED = 2  # exit status of a run that ended with an error message: another attempt would end the same way
CONNECT_S = 10  # seconds to wait for a connection to a dask scheduler
STOP_S = 60  # for the checkpoint of a run that is stopped, after its current batch
ATTEMPTS = 3  # for a run whose process was killed


def is_done(root: Path, config: RunConfig) -> bool:
    """Whether a run is finished. If a sweep began it, it is finished only when its notebook is in its folder, too.

    If the data set has only one category, the name of an older run may lack it.
    """
    return any(
        (root / one.folder_name / "parameters.json").exists() and not _work_folder(root, one).exists()
        for one in (config, config.canonical())
    )


def changed_runs(configs: list[RunConfig], root: Path | str) -> dict[str, str]:
    """The finished runs whose images or preset have changed since they were trained, by name. Nothing is fetched."""
    loaded: dict[tuple, Dataset | None] = {}
    changes = {}
    for config in configs:
        folder, key = Path(root) / config.folder_name, (config.dataset, config.category)
        if not (folder / "parameters.json").exists():
            continue
        if key not in loaded:
            loaded[key] = None
            with suppress(AdnError):  # without the images, nothing is known
                if config.dataset.startswith("folder:") or present_dataset(config.dataset):
                    loaded[key] = load_dataset(*key)
        with suppress(AdnError):  # a damaged run is reported by the ledger
            facts, dataset = read_facts(folder), loaded[key]
            if change := preset_change(facts) or (dataset and image_change(facts, dataset)):
                changes[config.folder_name] = change
    return changes


def _work_folder(root: Path, config: RunConfig) -> Path:
    return root / f".{config.folder_name}.sweep"


def execute_run(root: Path | str, config: RunConfig) -> str:
    """Executes 07_train for a run unless the run is finished. Returns the run's name.

    Moving the notebook into the run's folder is the last step. A failure raises AdnError and leaves NAME.failed/ with
    the partly executed notebook and the error message.
    """
    from adnlib.book.chapters import Chapter, execute  # imports papermill, which a finished sweep does not need

    root = Path(root).resolve()
    if is_done(root, config):
        return config.folder_name
    config = config.canonical()
    run, failed, work = root / config.folder_name, root / f"{config.folder_name}.failed", _work_folder(root, config)
    work.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(work / "lock"):  # waits for a killed sweep's process, which may still be running
        if not (run / "notebook.ipynb").exists():
            parameters = {
                **asdict(config),
                "runs": str(root),
                "replace_run": True,
            }  # `sweep` has decided what to replace
            chapter = Chapter("07_train", parameters, "notebook")
            try:
                notebook = execute(chapter, work, f"{config.folder_name} ")
            except KernelDiedError:  # perhaps only this once: the run is not a failed one
                raise
            except AdnError as error:
                write_whole(work / "error.txt", f"{error}\n".encode())
                shutil.rmtree(failed, ignore_errors=True)
                work.replace(failed)
                raise
            notebook.replace(run / "notebook.ipynb")
            shutil.rmtree(failed, ignore_errors=True)
    shutil.rmtree(work, ignore_errors=True)
    return config.folder_name


class Processes:
    """The default engine: each run in a separate process on this machine, `workers` at a time."""

    def __init__(self, workers: int = 1):
        self.workers, self.running, self.stopped = workers, set(), threading.Event()

    def __call__(self, root: Path, configs: list[RunConfig], show: Show) -> Iterator[tuple[RunConfig, str | None]]:
        """Yields each run when it ends, with its error message or None."""
        self.stopped.clear()
        with ThreadPoolExecutor(self.workers) as pool:
            jobs = {pool.submit(self.run, root, config, show): config for config in configs}
            try:
                for job in as_completed(jobs):
                    yield jobs[job], job.result()
            finally:  # Ctrl-C: waiting runs do not start; running ones end and keep their checkpoints
                self.stopped.set()
                for process in tuple(self.running):
                    _stop(process)
                pool.shutdown(wait=False, cancel_futures=True)

    def run(self, root: Path, config: RunConfig, show: Show) -> str | None:
        """Executes one run. Returns its error message or None."""
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        command = [sys.executable, "-m", "adnlib.experiments.sweeps", str(root), json.dumps(asdict(config))]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        for _ in range(ATTEMPTS):
            if self.stopped.is_set():
                return "stopped"
            with subprocess.Popen(
                command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
            ) as process:
                self.running.add(process)
                if self.stopped.is_set():  # stopped after the check above: the kill may have missed this process
                    process.kill()
                output = b""
                stderr = cast(io.BufferedReader, process.stderr)  # a pipe
                while block := stderr.read1():  # papermill's progress bar, then possibly an error
                    output = (output + block)[-4000:]
                    if cells := re.findall(rb"(\d+)/(\d+) \[", output):
                        show(config, int(cells[-1][0]), int(cells[-1][1]))
            self.running.discard(process)
            last_line = (output.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
            if process.returncode in (0, REFUSED):
                return last_line if process.returncode else None
        status = process.returncode
        return f"its process ended {ATTEMPTS} times without a result, last with exit status {status}: {last_line}"


def _stop(process: subprocess.Popen) -> None:
    """Ends a run: its kernel with SIGTERM, so that it can write a checkpoint, then the process itself.

    The process is killed, because nbclient handles milder signals itself, and two of them can make it hang.
    """
    with suppress(psutil.Error):
        kernels = psutil.Process(process.pid).children(recursive=True)
        for kernel in kernels:
            kernel.terminate()
        psutil.wait_procs(kernels, timeout=STOP_S)
    process.kill()


class Dask:
    """Many machines: the workers of a dask.distributed scheduler, or of a local cluster of processes.

    address: "tcp://HOST:PORT" of a scheduler whose workers find `root` under the same path, or "local".
    If a worker is killed, another one repeats its run.
    """

    def __init__(self, address: str = "local", workers: int = 2):
        self.address, self.workers = address, workers

    def __call__(self, root: Path, configs: list[RunConfig], show: Show) -> Iterator[tuple[RunConfig, str | None]]:
        """See `Processes`."""
        try:
            import distributed
        except ImportError as error:
            raise AdnError("dask.distributed is not installed: pip install distributed.") from error
        if self.address == "local":
            client = distributed.Client(n_workers=self.workers, threads_per_worker=1, dashboard_address=None)
        else:
            try:
                client = distributed.Client(self.address, timeout=CONNECT_S)
            except (OSError, ValueError) as error:
                raise AdnError(f"No dask scheduler answers at {self.address}: check the address.") from error
        with client:
            by_name = {config.folder_name: config for config in configs}

            def show_event(event):
                name, cell, cells = event[1]
                show(by_name[name], cell, cells)

            client.subscribe_topic(TOPIC, show_event)
            futures = {
                client.submit(_on_worker, str(root), config, key=f"{name}-{time.time_ns()}", retries=ATTEMPTS): config
                for name, config in by_name.items()
            }
            for future in distributed.as_completed(futures):
                yield futures[future], future.result() if future.status == "finished" else str(future.exception())


def _on_worker(root: str, config: RunConfig) -> str | None:
    """The task of a dask worker: one run in a separate process, whose crash does not end the worker."""
    import distributed

    worker = distributed.get_worker()
    engine = Processes(workers=os.cpu_count() or 1)
    return engine.run(Path(root), config, lambda c, *cells: worker.log_event(TOPIC, (c.folder_name, *cells)))


def sweep(
    configs: list[RunConfig],
    root: Path | str,
    engine: Processes | Dask | None = None,
    replace: Collection[str] = (),
) -> dict[str, str]:
    """Executes all unfinished runs with a progress bar. Returns the error messages of failed runs by run name.

    replace: the names of finished runs that are trained again, see `changed_runs`; the old run stays until then.
    """
    root = Path(root).resolve()
    for config in (config for config in configs if config.folder_name in replace):
        (root / config.folder_name / "notebook.ipynb").unlink(missing_ok=True)
        _work_folder(root, config).mkdir(exist_ok=True)  # the run is unfinished, see `is_done`
    todo = [config.canonical() for config in configs if not is_done(root, config)]
    failed = {}
    with tqdm(total=len(configs), initial=len(configs) - len(todo), desc="runs", unit="run") as bar:

        def show(config: RunConfig, cell: int, cells: int) -> None:
            bar.set_postfix_str(f"{config.folder_name}, cell {cell} of {cells}")

        for config, error in (engine or Processes())(root, todo, show) if todo else ():
            if error:
                failed[config.folder_name] = error
            bar.update()
    return failed


def main(arguments: list[str]) -> int:
    """One run in this process: python -m adnlib.experiments.sweeps ROOT CONFIG_AS_JSON."""
    try:
        execute_run(arguments[0], RunConfig(**json.loads(arguments[1])))
    except (AdnError, OSError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1 if isinstance(error, KernelDiedError) else REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
