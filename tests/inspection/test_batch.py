"""Scoring of many files: every file has a row, a stopped command resumes, nothing of the user's is overwritten."""

import base64
import hashlib
import json
import math
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import save_image
from nasty import LEGAL
from PIL import Image

import adnlib
from adnlib import AdnError, RunConfig, train_run
from adnlib.cli import main
from adnlib.inspection import batch
from adnlib.inspection.batch import Outputs, counts, find_files, score_files, summary
from adnlib.inspection.score_report import SCRIPT, heat_overlay
from adnlib.system.files import machine_lock

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tiny_folder, tmp_path_factory):
    config = RunConfig(f"folder:{tiny_folder}", "tiny", preset="smoke", weights="random")
    return train_run(tmp_path_factory.mktemp("runs"), config, progress=False)


@pytest.fixture(scope="module")
def scorer(run):
    return adnlib.load(run.folder, rate=0.4)


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """Images in folders and sub-folders, among much that is no image."""
    root = shutil.copytree(tiny_folder / "tiny" / "test", tmp_path / "images")
    (root / "notes.txt").write_text("hello")
    (root / "cut.png").write_bytes((root / "good" / "000.png").read_bytes()[:-3000])
    (root / ".hidden.png").write_bytes(b"")
    (root / "empty (1).png").write_bytes(b"")
    (root / "more" / "deep").mkdir(parents=True)
    os.mkfifo(root / "more" / "pipe.png")
    (root / "more" / "link.png").symlink_to(root / "good" / "001.png")
    (root / "more" / "up").symlink_to("..")
    (root / "more" / "nothing.png").symlink_to("gone.png")
    save_image(root / "more" / "deep" / "black.png", np.zeros((30, 50, 3), np.uint8))
    return root


def without_seconds(rows):
    return [(row.path, row.verdict, row.score, row.p_value, row.remark) for row in rows if row.verdict != "skipped"]


def test_every_file_has_a_row(scorer, folder):
    rows = list(score_files(scorer, find_files([folder])))
    skipped = {os.path.relpath(row.path, folder): row.remark for row in rows if row.verdict == "skipped"}
    assert skipped == {
        "cut.png": skipped["cut.png"],
        "notes.txt": "it has no image extension",
        "empty (1).png": "it is empty",
        "more/pipe.png": "it is a named pipe, not a file",
        "more/nothing.png": "No such file or directory",
    }
    assert skipped["cut.png"].startswith("image file is truncated")
    assert [row.path for row in rows[:2]] == [str(folder / name) for name in ("cut.png", "empty (1).png")]
    by_name = {os.path.relpath(row.path, folder): row for row in rows}
    assert by_name["more/link.png"].score == by_name["good/001.png"].score
    assert by_name["more/deep/black.png"].remark == "all pixels of the image have the value 0"
    assert by_name["spot/000.png"].score == pytest.approx(scorer.score(folder / "spot/000.png").value, rel=1e-5)
    assert len(rows) == 8 + 7 and sum(counts(rows).values()) == len(rows)
    assert all(math.isnan(row.score) for row in rows if row.verdict == "skipped")


def test_files_are_found_once_and_in_order(folder, tmp_path):
    files = find_files([folder / "good" / "003.png", folder, folder])
    assert files[0] == folder / "good" / "003.png" and len(files) == len(set(files)) == 15
    with pytest.raises(AdnError, match="There is no file or folder .*gone: check the path"):
        find_files([tmp_path / "gone"])


def test_the_search_for_files_ends(folder, monkeypatch):
    monkeypatch.setattr(batch, "MOST_FOLDERS", 3)
    with pytest.raises(AdnError, match="There are more than 3 folders in"):
        find_files([folder])


def test_a_stopped_command_resumes_and_ends_with_the_same_rows(scorer, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "CHUNK", 4)
    files, state = find_files([folder]), tmp_path / "out.csv.partial"
    whole = list(score_files(scorer, files))
    stopped = score_files(scorer, files, state)
    for _ in range(6):
        next(stopped)
    stopped.close()
    state.write_bytes(state.read_bytes()[:-20])  # as if it was killed while it wrote a line
    scored, real = [], batch._score_chunk
    monkeypatch.setattr(batch, "_score_chunk", lambda scorer, paths: scored.append(paths) or real(scorer, paths))
    assert without_seconds(score_files(scorer, files, state)) == without_seconds(whole)
    assert scored[0] == files[4:8] and len(scored) == 3
    assert without_seconds(score_files(scorer, files, state)) == without_seconds(whole) and len(scored) == 3


@pytest.mark.parametrize("content", [b"", b"{}\n", b"\xff\xff\n", b'{"run": "other", "rate": 0.4}\n["a", {}]\n'])
def test_the_state_of_another_command_is_not_used(scorer, folder, tmp_path, content):
    (tmp_path / "state").write_bytes(content)
    files = find_files([folder / "good"])
    assert without_seconds(score_files(scorer, files, tmp_path / "state")) == without_seconds(
        score_files(scorer, files)
    )


def test_a_changed_image_is_scored_again(scorer, folder, tmp_path):
    files = find_files([folder / "good"])
    before = list(score_files(scorer, files, tmp_path / "state"))
    shutil.copy(folder / "spot" / "000.png", files[0])
    after = list(score_files(scorer, files, tmp_path / "state"))
    assert after[0].score != before[0].score and after[1].score == before[1].score


def test_two_commands_do_not_share_a_state(scorer, folder, tmp_path):
    with machine_lock(tmp_path / "state"), pytest.raises(AdnError, match="Another process writes"):
        next(score_files(scorer, find_files([folder]), tmp_path / "state"))


def score(folder, run, *arguments):
    return main(["score", str(folder), "--run", str(run.folder), "--rate", "0.4", *map(str, arguments)])


def test_the_command_writes_whole_files(run, folder, tmp_path, capsys):
    out = {name: tmp_path / "new" / name for name in ("scores.csv", "scores.jsonl", "report.html", "overlays")}
    given = [x for pair in zip(("--csv", "--jsonl", "--report", "--overlays"), out.values(), strict=True) for x in pair]
    assert score(folder, run, *given) == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(out)
    table = pd.read_csv(out["scores.csv"], keep_default_na=False)
    lines = [json.loads(line) for line in out["scores.jsonl"].read_text(encoding="utf-8").splitlines()]
    assert list(table) == ["path", "verdict", "score", "p_value", "seconds", "remark"]
    assert list(table["path"]) == [line["path"] for line in lines] and len(table) == 15
    assert lines[0]["score"] is None and table["score"].iloc[0] == ""
    anomalous = int((table["verdict"] == "anomalous").sum())
    assert len(list(out["overlays"].iterdir())) == anomalous > 0
    printed = capsys.readouterr().out
    assert f"15 files: {10 - anomalous} normal, {anomalous} anomalous, 5 skipped" in printed
    assert "Threshold" in printed and "also selected the epoch" in printed
    before = {path: path.read_bytes() for path in out.values() if path.is_file()}
    assert score(folder, run, *given) == 2
    assert "exists: choose another name, or replace it with --overwrite" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in before}
    assert score(folder, run, *given, "--overwrite") == 0


@pytest.mark.parametrize("option", ["--csv", "--jsonl", "--report", "--overlays"])
def test_no_image_is_overwritten(run, folder, capsys, option):
    image = folder / "good" / "000.png"
    before = image.read_bytes()
    assert score(folder, run, option, image, "--overwrite") == 2
    assert "exists" in capsys.readouterr().err and image.read_bytes() == before


def test_a_folder_with_other_files_is_not_replaced_by_overlays(run, folder, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    assert score(folder, run, "--overlays", mine, "--overwrite") == 2
    assert "has other files (thesis.txt): choose a new folder" in capsys.readouterr().err
    assert (mine / "thesis.txt").read_text() == "mine"


def test_two_outputs_of_one_name(tmp_path):
    with pytest.raises(AdnError, match="Two outputs have the same name"):
        Outputs(tmp_path / "a", tmp_path / "b" / ".." / "a", None, None).refuse_existing(False, [])


@pytest.mark.parametrize(
    "where, option, status",
    [
        ("spot", [], 0),
        ("spot", ["--fail-on", "anomaly"], 1),
        ("spot", ["--fail-on", "skipped"], 0),
        ("cut.png", ["--fail-on", "skipped"], 1),
        ("cut.png", ["--fail-on", "anomaly"], 0),
        ("cut.png", ["--fail-on", "either"], 1),
    ],
)
def test_the_exit_status_is_for_scripts(run, folder, where, option, status):
    assert score(folder / where, run, *option) == status


def test_a_dry_run_writes_nothing(run, folder, tmp_path, capsys):
    assert score(folder, run, "--csv", tmp_path / "a.csv", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "files      15" in printed and "nothing was written" in printed
    assert not list(tmp_path.glob("a.csv*"))


@pytest.mark.parametrize("rate", ["0", "1.5", "nan"])
def test_rates_out_of_range(run, folder, capsys, rate):
    assert main(["score", str(folder), "--run", str(run.folder), "--rate", rate]) == 2
    assert f"rate={float(rate)} is out of range" in capsys.readouterr().err


def test_the_report_shows_names_as_text_and_runs_one_script(run, tiny_folder, tmp_path):
    source = tiny_folder / "tiny" / "test" / "spot" / "000.png"
    (tmp_path / "images").mkdir()
    for name in LEGAL:
        if len(name.encode()) < 240:
            shutil.copy(source, tmp_path / "images" / f"{name}.png")
    assert score(tmp_path / "images", run, "--report", tmp_path / "r.html", "--csv", tmp_path / "r.csv") == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page and page.count("<script>") == 1 and "&lt;img src=x onerror=alert(1)&gt;" in page
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page and f"<script>{SCRIPT}</script>" in page
    assert len(re.findall("<li class=", page)) == len(pd.read_csv(tmp_path / "r.csv"))
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_an_overlay_has_the_images_proportions(scorer, tmp_path):
    path = save_image(tmp_path / "wide.png", np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8))
    picture, overlay = heat_overlay(scorer, path, 60)
    assert picture.size == overlay.size == (60, 27)
    assert not np.array_equal(picture, overlay)
    assert np.abs(np.asarray(picture, int) - np.asarray(Image.open(path).resize((60, 27)), int)).mean() < 30


def test_a_summary_reports_drift(scorer, run):
    rows = list(score_files(scorer, [sample.path for sample in run.dataset().train]))
    assert summary(scorer, rows)[0].startswith("10 files: ")
    assert len(summary(scorer, rows)) == 4  # two calibration images are too few to find drift


def test_compare(run, tiny_folder, tmp_path, capsys):
    config = RunConfig(f"folder:{tiny_folder}", "tiny", "se", preset="smoke", weights="random")
    other = train_run(tmp_path, config, progress=False)
    assert main(["compare", str(other.folder), str(run.folder)]) == 0
    printed = capsys.readouterr().out
    assert "SE, frozen against DifferNet: " in printed and "disagree most" in printed
    shutil.copytree(tiny_folder / "tiny" / "train" / "good", tmp_path / "plain")
    config = RunConfig(f"folder:{tmp_path / 'plain'}", None, preset="smoke", weights="random")
    normal_only = train_run(tmp_path, config, progress=False)
    assert normal_only.facts["metrics"]["auroc"] is None and normal_only.calibrated
    assert main(["compare", str(normal_only.folder), str(run.folder)]) == 2
    assert "has no test images" in capsys.readouterr().err
    assert main(["train", "--dataset", f"folder:{tmp_path / 'plain'}", "--preset", "smoke", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "8 train normal, 1 validation normal, 3 calibration normal" in printed and "nothing was written" in printed


def test_doctor(capsys):
    assert main(["doctor"]) in (0, 1)
    printed = capsys.readouterr().out
    for word in ("Python", "torch", "memory", "cache", "elpv", "AlexNet", "cores", "ms per image", "GPU"):
        assert word in printed


def test_doctor_names_what_is_missing(empty_home, capsys, monkeypatch):
    monkeypatch.setattr("adnlib.models.weights.fetch_url", lambda *_, **__: (_ for _ in ()).throw(AdnError("no net")))
    assert main(["doctor"]) == 1
    printed = capsys.readouterr().out
    assert "AlexNet: missing" in printed and "-> " in printed and "elpv: not installed" in printed
