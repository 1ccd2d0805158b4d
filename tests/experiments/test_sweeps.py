"""Sweeps over tiny images: a finished run is not repeated, and what is killed resumes and ends with the same table."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import filelock
import psutil
import pytest

from adnlib import AdnError
from adnlib.cli import main
from adnlib.experiments import sweeps
from adnlib.experiments.grid import grid_runs
from adnlib.experiments.ledger import read_ledger
from adnlib.experiments.sweeps import Dask, Processes, execute_run, is_done, sweep
from adnlib.system.folders import ROOT

SAME = ["run", "status", "auroc", "auroc_last", "auroc_best_on_test", "threshold", "chosen_epoch"]


pytestmark = [pytest.mark.notebook, pytest.mark.process]


@pytest.fixture(scope="module")
def tables(tiny_folder):
    common = {"dataset": f"folder:{tiny_folder}", "category": "tiny", "preset": "smoke", "weights": "random"}
    return [common | {"attention": ["none", "se"]}]


def write_grid(path, tables):
    lines = []
    for table in tables:
        lines += [
            "[[grid]]",
            *(
                f"{key} = {str(value).replace(chr(39), chr(34))}" if isinstance(value, list) else f'{key} = "{value}"'
                for key, value in table.items()
            ),
        ]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def swept(tables, tmp_path_factory):
    """The folder of an undisturbed sweep by two workers at a time, which share the cores."""
    root = tmp_path_factory.mktemp("swept")
    assert sweep(grid_runs(tables), root, Processes(workers=2)) == {}
    return root


def one(tables, attention):
    """The grid of one of the two runs."""
    return [tables[0] | {"attention": attention}]


def undisturbed(swept, runs):
    """What an undisturbed sweep says of these runs."""
    table = read_ledger(swept)
    return table[table["run"].isin(run.folder_name for run in runs)][SAME].to_dict("list")


def test_a_finished_run_keeps_its_notebook_and_is_not_done_again(swept, tables, tmp_path, capsys):
    table = read_ledger(swept)
    assert table["status"].tolist() == ["done", "done"] and table["auroc_best_on_test"].notna().all()
    assert {p.name for p in swept.iterdir()} == set(table["run"])  # nothing else is left
    before = {path: path.stat().st_mtime_ns for path in swept.rglob("*")}
    grid = write_grid(tmp_path / "grid.toml", tables)
    start = time.perf_counter()
    assert main(["sweep", str(grid), "--runs", str(swept)]) == 0
    assert time.perf_counter() - start < 5  # it did not even start a kernel
    assert "nothing to do: all 2 runs are in" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in swept.rglob("*")}
    assert all((swept / run / "notebook.ipynb").exists() for run in table["run"])


def test_the_command_says_that_there_is_nothing_to_do_without_torch(swept, tables, tmp_path):
    grid = write_grid(tmp_path / "grid.toml", tables)
    code = (
        "import sys; from adnlib.cli import main; status = main(sys.argv[1:]); assert 'torch' not in sys.modules; "
        "sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "sweep", str(grid), "--runs", str(swept)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    assert process.returncode == 0 and "nothing to do: all 2 runs are in" in process.stdout


def started(command: list) -> subprocess.Popen:
    """A sweep in a process group of its own, which Ctrl-C reaches."""
    return subprocess.Popen(
        command,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # if the tests run in the background, the shell has switched off Ctrl-C, also for their child processes
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def awaited(process: subprocess.Popen, found):
    """What `found` returns as soon as it returns something, while the sweep is running."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if value := found(psutil.Process(process.pid)):
            return value
        time.sleep(0.05)
    pytest.fail("the sweep ended, or did not get there in two minutes")


def child(parent: psutil.Process, word: str) -> int | None:
    for process in parent.children(recursive=True):
        try:
            if word in " ".join(process.cmdline()):
                return process.pid
        except psutil.Error:
            continue
    return None


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")
def test_whatever_is_killed_the_run_ends_with_the_same_table(swept, tables, tmp_path):
    """kill -9 for the kernel, then for the worker, which the sweep repeats; then for the sweep, which is run again."""
    grid, root, dead = write_grid(tmp_path / "grid.toml", one(tables, "se")), tmp_path / "runs", []
    command = ["sweep", str(grid), "--runs", str(root), "--workers", "2"]  # threads as in `swept`

    def training(process):
        """The kernel and the worker of a training that none of the kills has ended; it holds the lock of its folder."""
        kernel, worker = child(process, "ipykernel_launcher"), child(process, "adnlib.experiments.sweeps")
        if not kernel or not worker or {kernel, worker} & set(dead):
            return None
        with suppress(psutil.Error):
            locked = any(file.path.endswith(".training/lock") for file in psutil.Process(kernel).open_files())
            return {"kernel": kernel, "worker": worker, "sweep": process.pid} if locked else None

    process = started([sys.executable, "-m", "adnlib.cli", *command])
    for what in ("kernel", "worker", "sweep"):
        dead.append(awaited(process, training)[what])
        os.kill(dead[-1], signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert main(command) == 0
    again = read_ledger(root)
    assert again[SAME].to_dict("list") == undisturbed(swept, grid_runs(one(tables, "se")))
    assert {p.name for p in root.iterdir()} == set(again["run"])


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent to a process group, which Windows has in another form")
def test_ctrl_c_ends_the_sweep_and_begins_nothing(swept, tables, tmp_path):
    root = tmp_path / "runs"
    long = write_grid(tmp_path / "long.toml", [tables[0] | {"preset": "paper"}])  # hours
    process = started([sys.executable, "-m", "adnlib.cli", "sweep", str(long), "--runs", str(root)])
    awaited(process, lambda _: list(root.glob("*.training/lock")))
    seen = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert not psutil.wait_procs(seen, timeout=20)[1]
    assert len(list(root.glob("*.training"))) == 1  # the second of the grid's two runs has not begun
    plain = grid_runs(one(tables, "none"))
    assert sweep(plain, root) == {}  # the folder is as usable as before
    assert read_ledger(root).query("status == 'done'")[SAME].to_dict("list") == undisturbed(swept, plain)


def test_a_run_that_no_sweep_trained_is_not_trained_again(swept, tables, tmp_path):
    config = grid_runs(tables)[0]
    shutil.copytree(swept / config.folder_name, tmp_path / config.folder_name)
    (tmp_path / config.folder_name / "notebook.ipynb").unlink()
    assert is_done(tmp_path, config)
    (tmp_path / f".{config.folder_name}.sweep").mkdir()  # of a sweep that was killed before its notebook was there
    assert not is_done(tmp_path, config)


def test_what_the_system_refuses_is_said_as_it_is(tables, tmp_path):
    (tmp_path / "runs").touch()
    [said] = sweep(grid_runs(one(tables, "none")), tmp_path / "runs").values()
    assert str(tmp_path / "runs") in said and "killed" not in said


def test_a_process_that_starts_while_the_sweep_is_stopped_is_killed(tables, tmp_path, monkeypatch):
    engine, start = Processes(), subprocess.Popen

    def stop_meanwhile(*arguments, **options):
        engine.stopped.set()
        return start(*arguments, **options)

    monkeypatch.setattr(sweeps.subprocess, "Popen", stop_meanwhile)
    begin = time.perf_counter()
    assert engine.run(tmp_path, grid_runs([tables[0] | {"preset": "paper"}])[0], lambda *_: None) == "stopped"
    assert time.perf_counter() - begin < 5


def test_a_point_that_fails_is_listed_and_tried_again(tables, tmp_path, capsys):
    grid = write_grid(tmp_path / "grid.toml", one(tables, "sse"))
    [config] = grid_runs(one(tables, "sse"))
    earlier = tmp_path / "runs" / f"{config.folder_name}.failed"  # what an earlier sweep left
    earlier.mkdir(parents=True)
    (earlier / "error.txt").write_text("It failed before.\n")
    assert read_ledger(tmp_path / "runs")["error"].tolist() == ["It failed before."]
    assert main(["sweep", str(grid), "--runs", str(tmp_path / "runs")]) == 1
    printed, errors = capsys.readouterr()
    assert "failed" in printed and "attention='sse' is not known" in errors and "Traceback" not in errors
    assert (earlier / "notebook.ipynb").exists() and [p.name for p in (tmp_path / "runs").iterdir()] == [earlier.name]
    table = read_ledger(tmp_path / "runs")
    assert table["status"].tolist() == ["failed"] and "attention='sse'" in table["error"][0]


def test_dask_gives_the_same_table_also_when_a_worker_is_killed(swept, tables, tmp_path):
    seen = []

    def killing(process):
        """Kills, once, a dask worker in whose process a run is under way."""
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("*.training")) and time.monotonic() < deadline:
            time.sleep(0.05)
        worker = next(p for p in process.children() if "spawn_main" in " ".join(p.cmdline()))
        worker.kill()
        seen.append(worker.pid)

    thread = threading.Thread(target=killing, args=(psutil.Process(),), daemon=True)
    thread.start()
    plain = grid_runs(one(tables, "none"))
    assert sweep(plain, tmp_path, Dask("local", workers=1)) == {}
    thread.join()
    assert len(seen) == 1
    assert read_ledger(tmp_path)[SAME].to_dict("list") == undisturbed(swept, plain)


def test_no_scheduler_at_the_address(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(sweeps, "CONNECT_S", 1)
    with pytest.raises(AdnError, match="No dask scheduler answers at tcp://127.0.0.1:9: check the address"):
        sweep(grid_runs(tables), tmp_path, Dask("tcp://127.0.0.1:9"))


@pytest.mark.parametrize("workers", ["0", "-1"])
def test_a_sweep_needs_a_worker(tmp_path, capsys, workers):
    assert main(["sweep", str(ROOT / "grids" / "quick.toml"), "--runs", str(tmp_path), "--workers", workers]) == 2
    assert capsys.readouterr().err == f"adn: error: --workers {workers} is out of range: choose 1 or more.\n"
    assert not list(tmp_path.iterdir())


def test_an_empty_ledger(tmp_path, capsys):
    assert main(["runs", "--runs", str(tmp_path)]) == 0
    assert "Empty" in capsys.readouterr().out


def test_a_point_that_another_process_works_on_is_waited_for_and_not_done_twice(swept, tables, tmp_path):
    config = grid_runs(tables)[0]
    work = tmp_path / f".{config.folder_name}.sweep"
    work.mkdir()
    with filelock.FileLock(work / "lock"):
        waiting = threading.Thread(target=execute_run, args=(tmp_path, config))
        waiting.start()
        time.sleep(0.5)
        assert waiting.is_alive()
        shutil.copytree(swept / config.folder_name, tmp_path / config.folder_name)  # the other one ends
        before = (tmp_path / config.folder_name / "notebook.ipynb").stat().st_mtime_ns
    waiting.join(timeout=30)
    assert not waiting.is_alive()
    assert before == (tmp_path / config.folder_name / "notebook.ipynb").stat().st_mtime_ns
    assert [p.name for p in tmp_path.iterdir()] == [config.folder_name]
