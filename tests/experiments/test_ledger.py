"""The ledger of a folder of runs, and the file that `--csv` makes of it; the runs are written by hand."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from adnlib import AdnError
from adnlib.cli import main
from adnlib.experiments.config import RunConfig
from adnlib.experiments.ledger import FORMAT, facts_digest, read_ledger
from adnlib.experiments.runs import read_run, read_runs

COLUMNS = {"run", "status", "variant", "dataset", "category", "seed", "auroc", "auroc_last", "seconds", "chosen_epoch"}


def finished(root, seed=0, attention=None, auroc=0.9, folder="/home/somebody/data"):
    """A finished run's folder, as far as the ledger reads it."""
    parameters = dict(
        dataset=f"folder:{folder}",
        category="tiny",
        attention=attention,
        placement="figure",
        train_attention=False,
        preset="fast",
        weights="imagenet",
        seed=seed,
        options={},
    )
    metrics = {"threshold": 2.0, "auroc": auroc, "auroc_last": auroc, "auroc_best_on_test": auroc}
    facts = {"parameters": parameters, "metrics": metrics, "seconds": {"fit": 1, "evaluate": 1}, "chosen_epoch": 3}
    facts["format"] = FORMAT
    facts["digest"] = facts_digest(facts)
    folder = root / RunConfig(**parameters).folder_name
    folder.mkdir(parents=True)
    (folder / "parameters.json").write_text(json.dumps(facts))
    (folder / "notebook.ipynb").touch()
    return folder


def failed(root, name="elpv-mono-none-fast-seed0"):
    (root / f"{name}.failed").mkdir(parents=True)
    (root / f"{name}.failed" / "error.txt").write_text("It does not work: fix it.\n")


def grid_of(tmp_path, **parameters):
    """A grid file of `finished` runs."""
    table = {"dataset": "folder:/home/somebody/data", "category": "tiny", **parameters}
    path = tmp_path / "grid.toml"
    path.write_text("\n".join(["[[grid]]", *(f"{name} = {json.dumps(value)}" for name, value in table.items())]))
    return path


def test_a_shared_ledger_has_finished_runs_only_and_no_path(tmp_path):
    runs, file = tmp_path / "runs", tmp_path / "ledger.csv"
    finished(runs, seed=0)
    failed(runs)
    (runs / "elpv-mono-none-fast-seed1.training").mkdir()
    for _ in range(2):  # made, then merged with itself
        assert main(["runs", "--runs", str(runs), "--csv", str(file)]) == 0
        shared = pd.read_csv(file)
        assert shared["run"].tolist() == ["data-tiny-none-fast-seed0"] and shared["status"].tolist() == ["done"]
        assert set(shared) >= COLUMNS and "error" not in shared and "somebody" not in file.read_text()


def test_a_shared_ledger_grows_and_loses_what_was_never_finished(tmp_path):
    file = tmp_path / "ledger.csv"
    finished(tmp_path / "first", seed=0, auroc=0.8)
    finished(tmp_path / "first", seed=1, auroc=0.8)
    assert main(["runs", "--runs", str(tmp_path / "first"), "--csv", str(file)]) == 0
    earlier = pd.read_csv(file)
    other = earlier.iloc[:1].assign(run="other", seed=7, status="failed")
    pd.concat([earlier, other]).to_csv(file, index=False)
    finished(tmp_path / "second", seed=1, auroc=0.9)
    finished(tmp_path / "second", seed=2, attention="se", auroc=0.9)
    assert main(["runs", "--runs", str(tmp_path / "second"), "--csv", str(file)]) == 0
    assert pd.read_csv(file)[["seed", "auroc"]].to_numpy().tolist() == [[0, 0.8], [1, 0.9], [2, 0.9]]


def test_two_folders_of_one_name_are_not_made_one_row(tmp_path, capsys):
    file = tmp_path / "ledger.csv"
    runs = [finished(tmp_path / "runs", folder=folder).name for folder in ("/home/one/data/", "/home/two/data")]
    assert main(["runs", "--runs", str(tmp_path / "runs"), "--csv", str(file)]) == 2
    said = capsys.readouterr().err
    assert all(run in said for run in runs) and "rename one of the two folders" in said and not file.exists()


ADD = "import sys; from adnlib.cli import main; sys.exit(main(['runs', '--runs', sys.argv[1], '--csv', sys.argv[2]]))"


@pytest.mark.process
def test_four_processes_add_their_runs_at_once_and_lose_none(tmp_path):
    roots = [tmp_path / str(seed) for seed in range(4)]
    for seed, root in enumerate(roots):
        finished(root, seed)
    command = [sys.executable, "-c", ADD]
    for _ in range(3):
        (tmp_path / "all.csv").unlink(missing_ok=True)
        processes = [subprocess.Popen([*command, root, tmp_path / "all.csv"], stdout=-3) for root in roots]
        assert [process.wait() for process in processes] == [0] * 4
        assert sorted(pd.read_csv(tmp_path / "all.csv")["seed"]) == [0, 1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2", "3", "all.csv"]


@pytest.mark.parametrize("there", [False, True])
def test_without_a_finished_run_the_shared_ledger_stays_as_it_is(tmp_path, capsys, there):
    file = tmp_path / "ledger.csv"
    if there:
        file.write_text("what was there\n")
    failed(tmp_path / "failed")
    (tmp_path / "empty").mkdir()
    for runs in ("empty", "failed"):
        assert main(["runs", "--runs", str(tmp_path / runs), "--csv", str(file)]) == 0
        assert f"no run is finished yet: {file} is unchanged" in capsys.readouterr().out
    assert file.read_text() == "what was there\n" if there else not file.exists()


def test_a_sweep_with_nothing_to_do_shares_its_ledger_too(tmp_path, capsys):
    finished(tmp_path / "runs")
    file = tmp_path / "ledger.csv"
    assert main(["sweep", str(grid_of(tmp_path)), "--runs", str(tmp_path / "runs"), "--csv", str(file)]) == 0
    assert "nothing to do: all 1 runs are in" in capsys.readouterr().out
    assert pd.read_csv(file)["run"].tolist() == ["data-tiny-none-fast-seed0"]


def test_a_sweep_of_failures_names_them_and_shares_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        "adnlib.experiments.sweeps.sweep", lambda points, root, engine, replace: {"data-tiny": "it does not work."}
    )
    file = tmp_path / "ledger.csv"
    assert main(["sweep", str(grid_of(tmp_path)), "--runs", str(tmp_path / "runs"), "--csv", str(file)]) == 1
    assert "failed   data-tiny: it does not work." in capsys.readouterr().err and not file.exists()


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"a\n1,2\n1,2,3\n", b"\xff\xfe\x00"])
@pytest.mark.parametrize("command", ["runs", "sweep"])
def test_a_file_that_is_no_ledger_is_refused_before_anything_is_trained(
    tmp_path, capsys, monkeypatch, command, content
):
    monkeypatch.setattr("adnlib.experiments.sweeps.sweep", lambda *arguments: pytest.fail("it was trained"))
    file = tmp_path / "ledger.csv"
    file.write_bytes(content)
    finished(tmp_path / "runs")
    given = [command, *([str(grid_of(tmp_path, seed=[0, 1]))] if command == "sweep" else [])]
    assert main([*given, "--runs", str(tmp_path / "runs"), "--csv", str(file)]) == 2
    assert capsys.readouterr().err == f"adn: error: {file} exists but is not a ledger of runs: name another file.\n"
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "spoil",
    [
        lambda facts: facts[:100],
        lambda facts: "",
        lambda facts: "[]",
        lambda facts: facts.replace("{}", "null"),
        *(
            lambda facts, name=name: facts.replace(f'"{name}"', '"other"')
            for name in ("parameters", "seconds", "chosen_epoch", "placement", "options", "seed")
        ),
    ],
)
def test_a_damaged_run_is_named_with_its_remedy_and_hides_no_other(tmp_path, capsys, spoil):
    whole, folder = finished(tmp_path), finished(tmp_path, attention="se")
    path = folder / "parameters.json"
    path.write_text(spoil(path.read_text()))
    with pytest.raises(AdnError, match=f"The run {folder} is damaged .*: restore the folder from a copy or train"):
        read_run(folder)
    assert [run.folder for run in read_runs(tmp_path)] == [whole]
    assert "is damaged" in capsys.readouterr().err
    assert main(["runs", "--runs", str(tmp_path)]) == 0
    ledger = read_ledger(tmp_path).set_index("run")
    assert ledger["status"].to_dict() == {whole.name: "done", folder.name: "damaged"}
    assert "is damaged" in ledger["error"][folder.name]
