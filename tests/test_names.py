"""Names are not paths: hostile ones go through every writer of paths, and to the terminal."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import make_category, save_image
from nasty import LEGAL, NASTY, each_name

import adnlib
from adnlib import AdnError, RunConfig
from adnlib.cli import main
from adnlib.experiments.grid import read_grid
from adnlib.experiments.ledger import ledger_row, read_ledger, share
from adnlib.experiments.names import path_part
from adnlib.experiments.runs import checkpoint_folder, read_runs, train_run
from adnlib.experiments.sweeps import execute_run, is_done
from adnlib.panels import painter, run_browser, score_explorer, view_explorer


def stays_inside(root: Path, name: str) -> bool:
    """Whether `name` is one part of a path, below `root`, that a file system can store."""
    path = Path(os.path.normpath(root / name))
    return path.parent == root and path.name == name and len(name.encode()) <= 255 and "\0" not in name


def test_ordinary_names_are_those_of_before():
    for name in ("mono", "vari grip", "glass-insulator_2.0", "Öl", "CON", "dot.", " space ", "-rf", "漢字"):
        assert path_part(name) == name
        assert f"-{name}-none-" in RunConfig("folder:/data/parts", name).folder_name
    assert RunConfig("folder:/data/parts", "a").folder_name == "parts_c69d93-a-none-fast-seed0"


def test_two_categories_have_two_names():
    assert len(NASTY) == len(set(NASTY)) >= 25
    configs = [RunConfig("folder:/data", name) for name in NASTY if name]
    assert len({config.folder_name.casefold() for config in configs}) == len(configs)
    assert RunConfig("folder:/data", None).folder_name not in {config.folder_name for config in configs}


@each_name
def test_a_category_never_leads_out_of_the_runs(tmp_path, name):
    if not name:
        with pytest.raises(AdnError, match="names no category"):
            RunConfig("folder:/data", name)
        return
    root = tmp_path / "runs"
    config = RunConfig(f"folder:{tmp_path / 'data'}", name)
    run = config.folder_name
    assert all(stays_inside(root, one) for one in (run, f"{run}.failed", f"{run}.training", f".{run}.sweep"))
    assert checkpoint_folder(root, config) == root / f"{run}.training"
    assert not run.startswith(".") and run.isprintable()
    (root / run).mkdir(parents=True)
    (root / f"{run}.training").mkdir()
    assert {path.name for path in tmp_path.iterdir()} == {"runs"} and len(list(root.iterdir())) == 2


@each_name
def test_a_data_folders_own_name_never_leads_out_of_the_runs(tmp_path, name):
    try:
        run = RunConfig(f"folder:{tmp_path}/{name}", "a").folder_name
    except AdnError as error:
        assert "\0" in name and "is not a path" in str(error)
        return
    assert stays_inside(tmp_path, f".{run}.sweep") and not run.startswith(".") and not f".{run}".startswith(".tmp-")


@pytest.mark.parametrize("parameter", ["dataset", "attention", "placement", "preset", "weights", "train_attention"])
def test_other_parameters_are_words(parameter):
    for name in set(NASTY) - {"tmp-x", "CON", "NA"}:  # these are words; no data set, module or preset is called so
        with pytest.raises(AdnError, match=f"{parameter} = .* is not a name: write at most 40 letters"):
            RunConfig(**{parameter: name})


def test_options_are_identifiers_and_short_values():
    for name in NASTY:
        with pytest.raises(AdnError, match="needs another value"):
            RunConfig(attention="se", options={"reduction": name})
        if not (name.isidentifier() and name.isascii() and len(name) <= 40):
            with pytest.raises(AdnError, match="cannot be the name of an option"):
                RunConfig(attention="se", options={name: 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**70, None, [1], {"a": 1}, b"x"])
def test_option_values_have_a_name(value):
    with pytest.raises(AdnError, match="The option reduction needs another value"):
        RunConfig(attention="se", options={"reduction": value})


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_are_in_range(seed):
    with pytest.raises(AdnError, match=f"seed={seed} is out of range: choose 0 to 4294967295"):
        RunConfig(seed=seed)


def test_options_changed_later_stay_inside(tmp_path):
    config = RunConfig(attention="se")
    config.options["../../x"] = "/../y"
    assert stays_inside(tmp_path, config.folder_name)


@pytest.mark.parametrize(
    "line",
    [
        'dataset = "../../../X"',
        'preset = "../x"',
        'options = { a = "/../../x" }',
        'options = { "../a" = 1 }',
        "seed = -1",
    ],
)
def test_a_grid_cannot_delete_a_folder_elsewhere(tmp_path, line, capsys):
    """This deleted X.failed beside the project."""
    grid, runs = tmp_path / "grid.toml", tmp_path / "a" / "b" / "runs"
    grid.write_text(f"[[grid]]\nattention = 'se'\n{line}\n")
    victim = tmp_path / "X-mono-none-fast-seed0.failed"
    victim.mkdir()
    with pytest.raises(AdnError, match="grid.toml: "):
        read_grid(grid)
    assert main(["sweep", str(grid), "--runs", str(runs)]) == 2 and victim.exists() and not runs.exists()
    assert capsys.readouterr().err.startswith("adn: error: ")


def test_failed_and_unfinished_runs_stay_inside(tmp_path, monkeypatch):
    """Every category's run fails; nothing but the folder of runs appears."""

    def fail(chapter, folder, label=""):
        (folder / "notebook.ipynb").write_text("{}")
        raise AdnError("It failed.")

    monkeypatch.setattr("adnlib.book.chapters.execute", fail)
    (tmp_path / "below").mkdir()
    root = tmp_path / "below" / "runs"
    for name in filter(None, NASTY):
        for _ in range(2):  # the second replaces what the first left
            with pytest.raises(AdnError, match="It failed"):
                execute_run(root, RunConfig(f"folder:{tmp_path}/data", name))
    assert {path.name for path in tmp_path.iterdir()} == {"below"} and len(list((tmp_path / "below").iterdir())) == 1
    ledger = read_ledger(root)
    assert len(ledger) == len(NASTY) - 1 and set(ledger["status"]) == {"failed"}
    assert all(name.isprintable() for name in ledger["run"])


def test_a_strangers_scratch_folder_cannot_write_elsewhere(tmp_path):
    """Folders of runs are shared, and a killed process leaves a folder with the name of its target."""
    scratch = tmp_path / "runs" / ".tmp-x"
    (scratch / "new").mkdir(parents=True)
    for file, text in (("lock", ""), ("target", "../planted")):
        (scratch / file).write_text(text)
    assert read_runs(tmp_path / "runs") == []
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("command", ["info", "fetch", "check"])
def test_the_commands_name_what_is_wrong_without_control_characters(command, empty_home, capsys, tmp_path, monkeypatch):
    (tmp_path / "X").mkdir()
    monkeypatch.chdir(tmp_path / "X")  # "." and ".." are folders without a category
    for name in NASTY:
        try:
            status = main(["data", command, name])
        except SystemExit as stop:  # argparse: an option
            status = stop.code
        text = "".join(capsys.readouterr())
        assert status == 2 or name == "--help"
        assert text.replace("\n", "").isprintable() and not empty_home.exists()


def test_reports_and_errors_have_no_control_characters(tmp_path, capsys):
    shutil.move(make_category(tmp_path / "tiny", train=3, test=1), tmp_path / "\x1b[31mred\u202e\n")
    main(["data", "check", str(tmp_path)])
    text = capsys.readouterr().out
    assert text.startswith("\\x1b[31mred\\u202e") and text.replace("\n", "").isprintable()
    for name in NASTY:
        assert str(AdnError(f"The category {name} is missing.")).isprintable()


def test_arbitrary_bytes_are_refused(tmp_path):
    make_category(tmp_path / "tiny")
    broken = os.fsdecode(os.fsencode(tmp_path / "tiny" / "train" / "good") + b"/\xff.png")
    shutil.copy(tmp_path / "tiny" / "train" / "good" / "000.png", broken)
    with pytest.raises(AdnError, match=r"\\udcff.png \(its name is not valid UTF-8, so rename it\)"):
        adnlib.load_dataset(f"folder:{tmp_path}")


# A run trained on hostile names, from its folder to what is shown of it


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """A folder of data whose category, defects and files have hostile names, and the runs trained on it."""
    root = tmp_path_factory.mktemp("hostile")
    category = make_category(root / "data" / "<img src=x onerror=alert(1)> $x_$\n", train=4, test=2)
    test = category / "test"
    for name in LEGAL[:40]:
        save_image(test / name / "000.png", np.full((64, 64, 3), 99, np.uint8))
    for number, name in enumerate(name for name in LEGAL if len(name.encode()) < 240):
        save_image(test / "spot" / f"{name}{number}.png", np.full((64, 64, 3), 200, np.uint8))
    for attention in (None, "se"):
        config = RunConfig(f"folder:{root / 'data'}", None, attention, preset="smoke", weights="random")
        train_run(root / "runs", config, progress=False)
    return root


@pytest.mark.slow
def test_a_run_is_written_found_and_read(hostile, tmp_path):
    assert {path.name for path in hostile.iterdir()} == {"data", "runs"}
    (category,) = os.listdir(hostile / "data")
    runs = read_runs(hostile / "runs", dataset=f"folder:{hostile / 'data'}", category=category)
    assert len(runs) == 2 and all(is_done(hostile / "runs", run.config) for run in runs)
    for run in runs:
        names = [f"{sample.path.parent.name}/{sample.path.name}" for sample in run.dataset().test]
        assert names == list(run.test["image"]) and run.config.category == category
    share(read_ledger(hostile / "runs"), tmp_path / "shared.csv")
    assert str(hostile) not in (tmp_path / "shared.csv").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Glyph")
def test_panels_show_the_names(hostile):
    for kind in (score_explorer.ScoreExplorer, painter.Painter, view_explorer.ViewExplorer, run_browser.RunBrowser):
        panel = kind(hostile / "runs")
        assert panel.message.value == "" and panel.still()
        if "rank" in panel.controls:  # the title is the name of a file
            for rank in range(1, panel.controls["rank"].max, 9):
                panel.controls["rank"].value = rank
        assert "<img" not in panel.text.value


def test_ledger_rows_keep_the_names():
    facts = {"metrics": {"auroc": 0.5}, "seconds": {"fit": 1, "evaluate": 1}, "chosen_epoch": 1}
    for name in filter(None, NASTY):
        config = RunConfig("folder:/data", name)
        assert ledger_row({**facts, "parameters": json.loads(json.dumps(config.parameters))})["category"] == name
