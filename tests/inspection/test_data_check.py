import re

import numpy as np
import pytest
from conftest import REAL_CATEGORIES, REAL_DATA, make_category, save_image
from PIL import Image

from adnlib import AdnError
from adnlib.cli import main
from adnlib.inspection.data_check import check_data


@pytest.fixture
def folder(tmp_path):
    return make_category(tmp_path / "data" / "tiny")


def check(folder):
    (report,) = check_data(str(folder.parent), progress=False)
    return report


def test_a_sound_set_has_no_problem(folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert main(["data", "check", str(folder.parent)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    printed = capsys.readouterr().out
    for line in (
        "tiny",
        "images     12 train normal, 4 test normal, 4 test anomalous",
        "size       64 x 64 px",
        "mode       RGB 20",
        "masks      4 of 4 anomalous images have one",
        "defects    spot 4",
        "loads as   tiny: 10 train normal, 2 validation normal, 4 test normal, 4 test anomalous",
        "1 categories, no problems found",
    ):
        assert line in printed


def truncate(folder):
    path = folder / "test" / "spot" / "002.png"
    path.write_bytes(path.read_bytes()[:-2000])


def leak(folder):
    Image.open(folder / "train" / "good" / "003.png").save(folder / "test" / "good" / "again.bmp")


def small_mask(folder):
    save_image(folder / "ground_truth" / "spot" / "001_mask.png", np.zeros((8, 8), np.uint8))


def broken_mask(folder):
    (folder / "ground_truth" / "spot" / "001_mask.png").write_text("hello")


def dark_16_bit(folder):
    save_image(folder / "train" / "good" / "dark.png", np.full((64, 64), 1000, np.uint16))


def no_train(folder):
    for path in (folder / "train" / "good").iterdir():
        path.unlink()


def no_normal_test(folder):
    for path in (folder / "test" / "good").iterdir():
        path.unlink()


def float_image(folder):
    Image.fromarray(np.ones((64, 64), np.float32)).save(folder / "train" / "good" / "float.tif")


@pytest.mark.parametrize(
    "spoil, problem",
    [
        (truncate, r"1 cannot be read \(test/spot/002.png\): replace or remove"),
        (float_image, "floating-point pixels"),
        (leak, r"1 test images are also training images, pixel by pixel \(test/good/again.bmp\): remove one of each"),
        (small_mask, r"1 masks differ in size from their image \(ground_truth/spot/001_mask.png\)"),
        (broken_mask, "Cannot read the image .*001_mask.png"),
        (dark_16_bit, r"1 have 16 bits but only values below 4096, almost black \(train/good/dark.png\)"),
        (no_train, "The category .* is empty"),
        (no_normal_test, "There are no normal test images"),
    ],
)
def test_problems_are_named_and_end_in_status_1(folder, capsys, spoil, problem):
    spoil(folder)
    assert re.search(problem, "\n".join(check(folder).problems))
    assert main(["data", "check", str(folder.parent)]) == 1
    printed, errors = capsys.readouterr()
    assert "PROBLEM" in printed and "1 with problems" in printed and "Traceback" not in errors


def lone_mask(folder):
    (folder / "test" / "spot" / "001.png").unlink()


def lone_mask_folder(folder):
    save_image(folder / "ground_truth" / "dent" / "000_mask.png", np.zeros((8, 8), np.uint8))


def bare_image(folder):
    (folder / "ground_truth" / "spot" / "001_mask.png").unlink()


def empty_mask(folder):
    save_image(folder / "ground_truth" / "spot" / "001_mask.png", np.zeros((64, 64), np.uint8))


def other_file(folder):
    (folder / "train" / "good" / "notes.txt").write_text("hello")


def repeated(folder):
    Image.open(folder / "train" / "good" / "003.png").save(folder / "train" / "good" / "again.bmp")


def nested_folder(folder):
    save_image(folder / "train" / "good" / "line2" / "a.png", np.zeros((8, 8), np.uint8))


def normal_images_of_another_name(folder):
    save_image(folder / "train" / "fine" / "a.JPG", np.zeros((8, 8), np.uint8))


def no_folder_of_a_defect(folder):
    save_image(folder / "test" / "a.png", np.zeros((8, 8), np.uint8))


def no_folder_at_all(folder):
    save_image(folder / "a.png", np.zeros((8, 8), np.uint8))


def set_aside(folder):
    for name in "abcd":
        save_image(folder / "test" / "_spot" / f"{name}.png", np.zeros((8, 8), np.uint8))


@pytest.mark.parametrize(
    "change, note",
    [
        (lone_mask, r"1 masks have no image \(ground_truth/spot/001_mask.png\): they are ignored"),
        (lone_mask_folder, r"1 masks have no image \(ground_truth/dent/000_mask.png\)"),
        (bare_image, r"1 anomalous images have no mask \(test/spot/001.png\)"),
        (empty_mask, r"1 masks are empty \(ground_truth/spot/001_mask.png\)"),
        (other_file, r"1 files have no image extension \(train/good/notes.txt\)"),
        (repeated, "1 training images repeat another one"),
        (nested_folder, r"1 images are in folders that are not read \(train/good/line2/a.png\): they are ignored"),
        (normal_images_of_another_name, r"1 images are in folders that are not read \(train/fine/a.JPG\)"),
        (no_folder_of_a_defect, r"1 images are in folders that are not read \(test/a.png\)"),
        (no_folder_at_all, r"1 images are in folders that are not read \(a.png\)"),
        (set_aside, r"4 images .* \(test/_spot/a.png, test/_spot/b.png, test/_spot/c.png, …\): they are ignored"),
    ],
)
def test_notes_are_no_problems(folder, change, note):
    change(folder)
    report = check(folder)
    assert report.problems == []
    assert re.search(note, "\n".join(report.notes))


def test_masks_and_hidden_files_are_no_ignored_images(folder):
    pixels = np.zeros((8, 8), np.uint8)
    for name in (
        "ground_truth/good/000_mask.png",
        "ground_truth/spot/000/0.png",
        "part/test/spot/000_part.png",
        "train/good/._000.png",
        ".thumbnails/000.png",
    ):
        save_image(folder / name, pixels)
    assert "folders that are not read" not in str(check(folder))


def test_ignored_images_beside_magnetic_tiles(tmp_path):
    for name in (
        "MT_Free/Imgs/a.jpg",
        "MT_Free/Imgs/a.png",
        "MT_Crack/Imgs/b.jpg",
        "MT_Crack/Imgs/b.png",
        "MT_Crack/c.png",
        "Other/Imgs/d.jpg",
    ):
        save_image(tmp_path / name, np.zeros((8, 8), np.uint8))
    assert any(
        "2 images are in folders that are not read (MT_Crack/c.png, Other/Imgs/d.jpg)" in note
        for note in check(tmp_path / "any").notes
    )


def test_counts_are_held_against_the_published_ones(tmp_path):
    make_category(tmp_path / "bottle")
    (report,) = check_data(str(tmp_path), progress=False)
    assert report.problems == ["the published counts are 209 train normal, 20 test normal, 63 test anomalous"]


def test_a_registered_set_is_checked_for_missing_categories(empty_home, tmp_path):
    make_category(tmp_path / "set" / "mono")
    assert main(["data", "fetch", "elpv", "--from", str(tmp_path / "set")]) == 0
    mono, poly = check_data("elpv", progress=False)
    assert "published counts" in mono.problems[0] and "the category is missing" in poly.problems[0]


def test_nothing_to_check(tmp_path, capsys):
    assert main(["data", "check", str(tmp_path)]) == 2
    assert "There is no category in" in capsys.readouterr().err
    with pytest.raises(AdnError, match="There is no data folder /.*/nowhere"):
        check_data("nowhere")


@pytest.mark.slow
@pytest.mark.skipif(
    not all((REAL_DATA / name).is_dir() for name in REAL_CATEGORIES),
    reason="the four folders of images that data/README.md names are not here: set ADN_REAL_DATA",
)
def test_the_real_sets_pass(capsys):
    assert main(["data", "check", str(REAL_DATA)]) == 0
    printed = capsys.readouterr().out
    for line in (
        "209 train normal, 20 test normal, 63 test anomalous",
        "4 masks are empty",
        "761 train normal, 191 test normal, 392 test anomalous, as published",
        "390 train normal, 165 test normal, 248 test anomalous",
        "60 train normal, 40 test normal, 154 test anomalous",
        "4 categories, no problems found",
    ):
        assert line in printed
