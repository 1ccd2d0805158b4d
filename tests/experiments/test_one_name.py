"""A run has one name, however its category is written; runs of before, which may have another, are still found."""

import json
import subprocess
import sys

import pytest
from conftest import make_category

import adnlib
from adnlib import RunConfig
from adnlib.experiments.grid import grid_runs
from adnlib.experiments.ledger import facts_digest, read_ledger
from adnlib.experiments.runs import read_run, read_runs, train_run
from adnlib.experiments.sweeps import is_done
from adnlib.imagesets.layouts import pick_category
from adnlib.panels.loaded_run import by_category

SMOKE = {"preset": "smoke", "weights": "random", "device": "cpu"}


def test_a_single_category_need_not_be_named(tiny_folder):
    configs = [RunConfig(f"folder:{tiny_folder}", category, **SMOKE) for category in (None, "tiny", "TINY")]
    assert len({config.canonical().folder_name for config in configs}) == 1
    assert "-tiny-none-" in configs[0].canonical().folder_name
    assert configs[1].canonical() == configs[1]
    assert len(grid_runs([config.parameters for config in configs])) == 1


@pytest.mark.parametrize(
    "dataset, category, name",
    [
        ("elpv", "Mono", "mono"),
        ("mtd", None, "mtd"),
        ("elpv", None, None),
        ("elpv", "x", "x"),
        ("folder:/no", "a", "a"),
    ],
)
def test_registered_and_missing_data_sets(empty_home, dataset, category, name):
    assert RunConfig(dataset, category).canonical().category == name
    assert not empty_home.exists()  # nothing is fetched


def test_several_categories_must_be_named(tmp_path):
    for name in ("one", "two"):
        make_category(tmp_path / name, train=2, test=1)
    assert RunConfig(f"folder:{tmp_path}", None).canonical().category is None


def test_the_exact_name_is_preferred():
    names = ["a b", "a-b", "a_b"]
    assert [pick_category(names, name, "") for name in names] == names


@pytest.mark.process
def test_torch_is_not_imported(tiny_folder):
    code = (
        "import sys; from adnlib.experiments.config import RunConfig; "
        f"assert RunConfig('folder:{tiny_folder}', None).canonical().category == 'tiny'; "
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
def test_with_and_without_category_is_one_run(tiny_folder, tmp_path, monkeypatch):
    without = RunConfig(f"folder:{tiny_folder}", None, **SMOKE)
    run = train_run(tmp_path, without, progress=False)
    assert run.folder.name == without.canonical().folder_name and run.config.category == "tiny"
    assert is_done(tmp_path, without) and is_done(tmp_path, without.canonical())
    again = train_run(tmp_path, without.canonical(), progress=False)
    assert again.folder == run.folder and len(read_ledger(tmp_path)) == 1
    monkeypatch.chdir(tiny_folder.parent)
    for category in (None, "tiny", "Tiny"):
        (found,) = read_runs(tmp_path, dataset=f"folder:{tiny_folder.name}", category=category)
        assert found.folder == run.folder

    old = tmp_path / without.folder_name  # as written before: without the category in its name and its parameters
    run.folder.rename(old)
    facts = json.loads((old / "parameters.json").read_text())
    facts["parameters"]["category"] = None
    (old / "parameters.json").write_text(json.dumps({**facts, "digest": facts_digest(facts)}))
    assert old.name != run.folder.name and read_run(old).dataset().category == "tiny"
    assert is_done(tmp_path, without) and read_runs(tmp_path, dataset=f"folder:{tiny_folder}", category="tiny")
    assert list(read_ledger(tmp_path)["status"]) == ["done"]
    new = train_run(tmp_path, without, progress=False)
    assert [len(runs) for runs in by_category([read_run(old), new]).values()] == [2]
    assert adnlib.load_dataset(new.config.dataset, new.config.category).counts == read_run(old).dataset().counts
