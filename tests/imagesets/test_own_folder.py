"""A relative "folder:PATH" means the same from every folder of the project, and is absolute from then on."""

import argparse
import os

import pytest

import adnlib
from adnlib import AdnError, RunConfig
from adnlib.datasets import category_names
from adnlib.experiments.config import add_arguments, from_arguments
from adnlib.experiments.grid import expand, read_grid
from adnlib.imagesets import own_folder as module
from adnlib.imagesets.own_folder import own_folder
from adnlib.inspection.data_check import check_data
from adnlib.system.folders import ROOT

SAMPLE = ROOT / "data" / "sample"


@pytest.mark.parametrize("where", [".", "notebooks", "adnlib/cli.py/..", "tests/book"])
def test_the_same_from_anywhere_in_the_project(monkeypatch, where):
    monkeypatch.chdir(os.path.normpath(ROOT / where))
    config = RunConfig("folder:data/sample", "bracket_wild")
    assert config.dataset == f"folder:{SAMPLE}" and config == RunConfig(f"folder:{SAMPLE}", "bracket_wild")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    arguments = parser.parse_args(["--dataset", "folder:data/sample", "--category", "bracket_wild"])
    assert from_arguments(arguments).folder_name == config.folder_name
    assert "bracket_wild" in category_names("folder:data/sample")
    assert SAMPLE in adnlib.load_dataset("folder:data/sample", "bracket_wild").train[0].path.parents
    reports = check_data("data/sample", progress=False)
    assert [str(report) for report in reports] == [str(report) for report in check_data(str(SAMPLE), progress=False)]
    (point,) = expand([{"dataset": "folder:data/sample"}], ROOT / "grids")
    assert point["dataset"] == config.dataset


def test_outside_it_starts_from_the_working_directory_once(tmp_path, monkeypatch):
    (tmp_path / "a" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a")
    config = RunConfig("folder:data/../data/")
    monkeypatch.chdir(tmp_path)
    assert config.dataset == f"folder:{tmp_path / 'a' / 'data'}" and config == RunConfig("folder:a/data")
    assert config == RunConfig(**{**config.parameters, "device": "auto"})


def test_without_a_clone_there_is_no_exception(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROOT", tmp_path)  # as in a wheel: no notebooks
    (tmp_path / "site").mkdir()
    monkeypatch.chdir(tmp_path / "site")
    assert own_folder("folder:x") == tmp_path / "site" / "x"


def test_home_and_links_are_resolved(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert own_folder("folder:~/link") == tmp_path / "real"


def test_a_grid_outside_the_project_starts_from_its_folder(tmp_path, monkeypatch):
    (tmp_path / "grid.toml").write_text('[[grid]]\ndataset = "folder:data"\ncategory = "tiny"\n')
    for where in (tmp_path, ROOT):
        monkeypatch.chdir(where)
        assert read_grid(tmp_path / "grid.toml")[0].dataset == f"folder:{tmp_path / 'data'}"


@pytest.mark.parametrize(
    "name, message",
    [
        ("folder:", "'folder:' names no folder: write folder:PATH"),
        ("folder:a\0b", "is not a path that can be used .*: name another folder"),
        ("folder:\udcff", "is not a path that can be used"),
        ("folder:~nobody-of-this-name/x", "is not a path that can be used"),
        ("folder:loop/x", "is not a path that can be used"),
    ],
)
def test_what_is_no_path_is_refused(tmp_path, monkeypatch, name, message):
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    for use in (own_folder, RunConfig, adnlib.load_dataset):
        with pytest.raises(AdnError, match=message):
            use(name)


@pytest.mark.parametrize("name", ["folder:nowhere", "folder:" + "x" * 300])
def test_a_missing_folder_is_named_with_its_whole_path(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AdnError, match=f"There is no data folder {tmp_path}/.*: check the path"):
        adnlib.load_dataset(name)
