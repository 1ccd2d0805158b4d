import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from bad_input.arguments import TRAIN
from conftest import full_disk, make_category
from PIL import Image

from adnlib.cli import main


def one_line_error(capsys) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("adn: error: ") and lines[0].endswith(".")
    return lines[0]


def train(folder, runs, *arguments) -> int:
    where = ["--dataset", f"folder:{folder}", "--category", "tiny", "--runs", str(runs)]
    return main(["train", *where, "--preset", "smoke", "--weights", "random", *arguments])


def test_train_writes_a_run_and_prints_its_line(tiny_folder, tmp_path, capsys):
    assert train(tiny_folder, tmp_path, "--attention", "se", "--seed", "3", "--option", "reduction=2") == 0
    printed = capsys.readouterr().out
    assert "SE, frozen, reduction 2" in printed and "AUROC" in printed
    assert "figure-frozen-reduction2-smoke-random-weights-seed3" in printed


def test_words_of_a_grid_file_are_understood(tiny_folder, tmp_path):
    assert train(tiny_folder, tmp_path, "--attention", "none", "--train-attention", "false") == 0
    assert len(list(tmp_path.glob("*-none-*/parameters.json"))) == 1


@pytest.mark.slow
def test_train_all_categories_repeats_only_what_is_not_finished(tmp_path, capsys):
    for category in ("one", "two"):
        make_category(tmp_path / "data" / category)
    runs, broken = tmp_path / "runs", tmp_path / "data/two/train/good/000.png"
    content = broken.read_bytes()
    assert train(tmp_path / "data", runs, "--category", "all", "--attention", "sse") == 2
    assert "attention='sse' is not known" in one_line_error(capsys) and not runs.exists()
    broken.write_bytes(content[:-1000])
    assert train(tmp_path / "data", runs, "--category", "all") == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(f"failed   two: Cannot read the image {broken}")
    assert "two  failed" in printed.out and printed.out.count("run      ") == 1
    (one,) = runs.glob("*/parameters.json")
    before = one.read_bytes()
    broken.write_bytes(content)
    assert train(tmp_path / "data", runs, "--category", "all") == 0
    printed = capsys.readouterr()
    assert [line.endswith("(finished before)") for line in printed.out.splitlines()[3:5]] == [True, False]
    assert "\nmean " in printed.out and printed.out.count("run      ") == 2 and printed.err == ""
    assert one.read_bytes() == before and len(list(runs.glob("*/parameters.json"))) == 2


@pytest.mark.parametrize("arguments, message", TRAIN, ids=[" ".join(row[0]) for row in TRAIN])
def test_bad_arguments_end_in_one_line_and_leave_nothing(tiny_folder, tmp_path, capsys, arguments, message):
    assert train(tiny_folder, tmp_path / "runs", *arguments) == 2
    assert message in one_line_error(capsys)
    assert not (tmp_path / "runs").exists()


def test_missing_images(tmp_path, capsys):
    for path in (make_category(tmp_path / "tiny") / "train/good").iterdir():
        path.unlink()
    assert train(tmp_path, tmp_path / "runs") == 2
    assert "is empty" in one_line_error(capsys)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("part", ["train/good", "test/spot"])
def test_truncated_images(tmp_path, capsys, part):
    for path in (make_category(tmp_path / "tiny") / part).iterdir():
        path.write_bytes(path.read_bytes()[:-1000])
    assert train(tmp_path, tmp_path / "runs") == 2
    assert f"Cannot read the image {tmp_path / 'tiny' / part}" in one_line_error(capsys)
    assert not [path for path in tmp_path.rglob("runs/*")]


def test_a_full_disk(tiny_folder, tmp_path, capsys):
    with full_disk(20_000):
        assert train(tiny_folder, tmp_path / "runs") == 2
    assert "The disk is full while writing to" in one_line_error(capsys)
    assert list((tmp_path / "runs").iterdir()) == []


def test_nothing_to_fetch_from(empty_home, capsys):
    assert main(["fetch"]) == 2
    assert "Cannot download elpv-dataset" in one_line_error(capsys)


def test_a_file_that_may_not_be_read(monkeypatch, capsys):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied", "/data/archive.zip")

    monkeypatch.setattr("adnlib.imagesets.sources.fetch_dataset", refuse)
    assert main(["data", "fetch", "mvtec_ad", "--from", "/data/archive.zip"]) == 2
    assert one_line_error(capsys).startswith("adn: error: Permission denied (/data/archive.zip): check the path")


def test_ctrl_c(monkeypatch, capsys):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("adnlib.imagesets.sources.fetch_dataset", stop)
    assert main(["fetch"]) == 130
    assert capsys.readouterr().err == "adn: stopped; no file is left half-written.\n"


def test_the_commands_start_without_torch():
    code = "import sys, adnlib.cli; adnlib.cli._parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
def test_explain_writes_overlay_and_numbers(tiny_folder, tmp_path, capsys, monkeypatch):
    assert train(tiny_folder, tmp_path / "runs") == 0
    run = next((tmp_path / "runs").iterdir())
    monkeypatch.chdir(tmp_path)
    image, mask = "tiny/test/spot/001.png", "tiny/ground_truth/spot/001_mask.png"
    given = ["explain", str(tiny_folder / image), "--run", str(run)]
    assert main([*given, "--mask", str(tiny_folder / mask), "--out", "maps/one.png"]) == 0
    with Image.open("maps/one.png") as picture:
        assert picture.width > picture.height > 100
    table = pd.read_csv("maps/one.csv")
    assert list(table["map"]) == ["Grad-CAM conv5", "gradient map", "deviation conv3"]
    found = table.set_index("map").loc["deviation conv3"]
    assert 12 <= found["x"] <= 35 and 12 <= found["y"] <= 35 and found["auroc_within"] > 0.9  # the spot is at 16 to 31
    assert table[["top_tenth", "energy_inside", "pointing_game"]].apply(lambda c: c.between(0, 1)).all(axis=None)
    capsys.readouterr()
    shutil.move(tiny_folder / "tiny" / "train", tmp_path / "train")
    try:
        assert main(given) == 0  # without mask and without the data set
    finally:
        shutil.move(tmp_path / "train", tiny_folder / "tiny" / "train")
    printed = capsys.readouterr().out
    assert "no deviation map: " in printed and "spot_001_explained.png" in printed
    assert "auroc_within" not in pd.read_csv("spot_001_explained.csv") and Path("spot_001_explained.png").exists()
    good = ["explain", str(tiny_folder / "tiny/test/good/001.png"), "--run", str(run)]  # an image of the same name
    assert main(good) == 0 and Path("good_001_explained.png").exists()


@pytest.mark.slow
def test_explain_overwrites_nothing_unless_asked_and_never_the_image(tiny_folder, tmp_path, capsys):
    assert train(tiny_folder, tmp_path / "runs") == 0
    run = next((tmp_path / "runs").iterdir())
    photo = shutil.copy(tiny_folder / "tiny/test/spot/001.png", tmp_path / "photo.png")
    (tmp_path / "notes.csv").write_text("mine")
    before = photo.read_bytes()
    for out, named in (("photo.png", "photo.png"), ("notes.png", "notes.csv")):
        for options in ([], ["--overwrite"]) if out == "photo.png" else ([],):
            capsys.readouterr()
            given = ["explain", str(photo), "--run", str(run), "--out", str(tmp_path / out), *options]
            assert main(given) == 2
            assert f"{tmp_path / named} exists: choose another file with --out" in one_line_error(capsys)
    assert photo.read_bytes() == before and (tmp_path / "notes.csv").read_text() == "mine"
    given = ["explain", str(photo), "--run", str(run), "--out", str(tmp_path / "notes.png"), "--overwrite"]
    assert main(given) == 0 and (tmp_path / "notes.csv").read_text() != "mine"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["none.png"], "holds no finished run: train one"),
        (["none.png", "--run", "RUN"], "none.png"),
        (["none.png", "--out", "x.csv"], "--out x.csv is not an image: use the extension .png"),
        (["none.png", "--out", "x"], "--out x is not an image: use the extension .png"),
    ],
)
def test_explain_refuses_in_one_line(tiny_folder, tmp_path, capsys, arguments, message):
    assert train(tiny_folder, tmp_path / "runs") == 0
    capsys.readouterr()
    run = str(next((tmp_path / "runs").iterdir()))
    given = [run if a == "RUN" else a for a in arguments]
    assert main(["explain", *given, *([] if "--run" in given else ["--run", str(tmp_path)])]) == 2
    assert message in one_line_error(capsys)
