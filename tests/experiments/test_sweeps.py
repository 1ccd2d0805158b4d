"""Sweeps over tiny images: a finished run is not repeated, and what is killed resumes and ends with the same table."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

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
    """The folder of an undisturbed sweep."""
    root = tmp_path_factory.mktemp("swept")
    assert sweep(grid_runs(tables), root) == {}
    return root


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


def killed(command: list, when, kill=os.kill, how=9) -> int:
    """Starts a sweep in a process group of its own and kills, with -9, what `when` returns; the sweep's exit status."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if victim := when(psutil.Process(process.pid)):
            kill(victim, how)
            break
        time.sleep(0.05)
    else:
        pytest.fail("the sweep ended before anything could be killed")
    return process.wait(timeout=240)


def child(parent: psutil.Process, word: str) -> int | None:
    for process in parent.children(recursive=True):
        try:
            if word in " ".join(process.cmdline()):
                return process.pid
        except psutil.Error:
            continue
    return None


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is POSIX's")
@pytest.mark.parametrize("what", ["kernel", "worker", "sweep"])
def test_whatever_is_killed_the_sweep_run_again_ends_with_the_same_table(swept, tables, tmp_path, what):
    tables = tables if what == "sweep" else [tables[0] | {"attention": "se"}]  # one run has one worker and one kernel
    grid = write_grid(tmp_path / "grid.toml", tables)
    root = tmp_path / "runs"
    command = [sys.executable, "-m", "adnlib.cli", "sweep", str(grid), "--runs", str(root)]

    def victim(process):
        kernel = child(process, "ipykernel_launcher")
        training = kernel and list(root.glob("*.training/lock"))
        return (
            training
            and {"kernel": kernel, "worker": child(process, "adnlib.experiments.sweeps"), "sweep": process.pid}[what]
        )

    killed(command, victim)
    time.sleep(2)  # a kernel notices within a second that its parent is gone
    assert main(["sweep", str(grid), "--runs", str(root)]) == 0
    again, undisturbed = read_ledger(root), read_ledger(swept)
    undisturbed = undisturbed[undisturbed["run"].isin(config.name for config in grid_runs(tables))]
    assert again[SAME].to_dict("list") == undisturbed[SAME].to_dict("list")
    assert {p.name for p in root.iterdir()} == set(again["run"])


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent to a process group, which Windows has in another form")
def test_ctrl_c_ends_the_sweep_and_begins_nothing(swept, tables, tmp_path):
    root = tmp_path / "runs"
    long = tables[0] | {"preset": "paper"}  # hours
    command = [sys.executable, "-m", "adnlib.cli", "sweep", str(write_grid(tmp_path / "long.toml", [long])), "--runs"]
    seen = []

    def at_work(process):
        seen[:] = process.children(recursive=True)
        return list(root.glob("*.training/lock")) and process.pid

    assert killed([*command, str(root)], at_work, os.killpg, signal.SIGINT) == 130
    assert not psutil.wait_procs(seen, timeout=20)[1]
    [plain] = grid_runs([tables[0] | {"attention": "none"}])
    assert sweep([plain], root) == {}  # the folder is as usable as before
    done, undisturbed = read_ledger(root).query("status == 'done'"), read_ledger(swept).query("run == @plain.name")
    assert done[SAME].to_dict("list") == undisturbed[SAME].to_dict("list")


def test_a_run_that_no_sweep_trained_is_not_trained_again(swept, tables, tmp_path):
    config = grid_runs(tables)[0]
    shutil.copytree(swept / config.name, tmp_path / config.name)
    (tmp_path / config.name / "notebook.ipynb").unlink()
    assert is_done(tmp_path, config)
    (tmp_path / f".{config.name}.sweep").mkdir()  # of a sweep that was killed before its notebook was there
    assert not is_done(tmp_path, config)


def test_what_the_system_refuses_is_said_as_it_is(tables, tmp_path):
    (tmp_path / "runs").touch()
    [said] = sweep(grid_runs([tables[0] | {"attention": "none"}]), tmp_path / "runs").values()
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
    bad = tables[0] | {"attention": "sse"}
    grid = write_grid(tmp_path / "grid.toml", [bad])
    for _ in range(2):
        assert main(["sweep", str(grid), "--runs", str(tmp_path / "runs")]) == 1
        printed, errors = capsys.readouterr()
        assert "failed" in printed and "attention='sse' is not known" in errors and "Traceback" not in errors
    table = read_ledger(tmp_path / "runs")
    assert table["status"].tolist() == ["failed"] and "attention='sse'" in table["error"][0]


def test_two_workers_at_a_time_give_the_same_table(swept, tables, tmp_path):
    assert sweep(grid_runs(tables), tmp_path, Processes(workers=2)) == {}
    assert read_ledger(tmp_path)[SAME].to_dict() == read_ledger(swept)[SAME].to_dict()


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
    assert sweep(grid_runs(tables), tmp_path, Dask("local", workers=1)) == {}
    thread.join()
    assert len(seen) == 1
    assert read_ledger(tmp_path)[SAME].to_dict() == read_ledger(swept)[SAME].to_dict()


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
    work = tmp_path / f".{config.name}.sweep"
    work.mkdir()
    with filelock.FileLock(work / "lock"):
        waiting = threading.Thread(target=execute_run, args=(tmp_path, config))
        waiting.start()
        time.sleep(0.5)
        assert waiting.is_alive()
        shutil.copytree(swept / config.name, tmp_path / config.name)  # the other one ends
        before = (tmp_path / config.name / "notebook.ipynb").stat().st_mtime_ns
    waiting.join(timeout=30)
    assert not waiting.is_alive()
    assert before == (tmp_path / config.name / "notebook.ipynb").stat().st_mtime_ns
    assert [p.name for p in tmp_path.iterdir()] == [config.name]
