import os
import re

import numpy as np
import pytest
from conftest import REAL_CATEGORIES, REAL_DATA, make_category, save_image
from PIL import Image

from adnlib import AdnError
from adnlib.cli import main
from adnlib.imagesets import layouts
from adnlib.imagesets.reading import list_folder
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


def float_image(folder):
    Image.fromarray(np.ones((64, 64), np.float32)).save(folder / "train" / "good" / "float.tif")


def both_labels(folder):
    Image.open(folder / "test" / "good" / "003.png").save(folder / "test" / "spot" / "again.bmp")


def anomalous_for_training(folder):
    Image.open(folder / "test" / "spot" / "003.png").save(folder / "train" / "good" / "again.bmp")


def black(folder):
    save_image(folder / "test" / "good" / "black.png", np.zeros((64, 64, 3), np.uint8))


def grey_16_bit(folder):
    save_image(folder / "train" / "good" / "grey.png", np.full((64, 64), 40000, np.uint16))


def named_pipe(folder):
    os.mkfifo(folder / "train" / "good" / "pipe.png")


def mask_of_nothing(folder):
    (folder / "ground_truth" / "spot" / "001_mask.png").unlink()
    (folder / "ground_truth" / "spot" / "001_mask.png").symlink_to("gone.png")


SPOILED = [
    (
        truncate,
        r"1 cannot be read \(test/spot/002.png\): replace or remove\ntest/spot/002.png: image file is truncated",
    ),
    (float_image, "train/good/float.tif: its floating-point pixels"),
    (named_pipe, "train/good/pipe.png: it is a named pipe, not a file"),
    (mask_of_nothing, "ground_truth/spot/001_mask.png: No such file or directory"),
    (leak, r"1 test images are also training images, pixel by pixel \(test/good/again.bmp\): remove one of each"),
    (
        both_labels,
        r"1 anomalous images are also normal images, pixel by pixel \(test/spot/again.bmp\): remove one of each",
    ),
    (anomalous_for_training, r"1 anomalous images are also normal images, pixel by pixel \(test/spot/003.png\)"),
    (black, r"1 images have a single colour, such as black \(test/good/black.png\): replace or remove"),
    (grey_16_bit, r"1 images have a single colour, such as black \(train/good/grey.png\): replace or remove"),
    (small_mask, r"1 masks differ in size from their image \(ground_truth/spot/001_mask.png\)"),
    (broken_mask, "ground_truth/spot/001_mask.png: its content is not PNG, JPEG, BMP, TIFF or WebP"),
    (dark_16_bit, r"1 have 16 bits but only values below 4096, almost black \(train/good/dark.png\)"),
    (no_train, "The category .* is empty"),
]


@pytest.mark.parametrize("spoil, problem", SPOILED)
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


def repeated_for_testing(folder):
    Image.open(folder / "test" / "spot" / "003.png").save(folder / "test" / "spot" / "again.bmp")


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
        (repeated, r"1 training images repeat another one, pixel by pixel \(train/good/again.bmp\): they count twice"),
        (repeated_for_testing, r"1 test images repeat another one, pixel by pixel \(test/spot/again.bmp\)"),
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


def test_only_images_that_can_be_read_are_counted(folder):
    for spoil in (truncate, small_mask, named_pipe):
        spoil(folder)
    save_image(folder / "train" / "good" / "000.png", np.zeros((8, 8), np.uint8)).write_text("hello")
    facts = check(folder).facts
    assert facts["images"] == "11 train normal, 4 test normal, 3 test anomalous"
    assert (facts["mode"], facts["defects"]) == ("RGB 18", "spot 3")
    assert facts["masks"] == "2 of 3 anomalous images have one"
    assert facts["loads as"] == "nothing, until the files that cannot be read are replaced or removed"


def test_every_bad_or_repeated_file_is_listed_in_one_round(folder, tmp_path, capsys):
    spoiled = [truncate, float_image, named_pipe, mask_of_nothing, leak, both_labels, black, repeated]
    for spoil in spoiled:
        spoil(folder)
    for index in range(5):
        (folder / "train" / "good" / f"empty{index}.png").touch()
    lists = tmp_path / "new" / "list.tsv"
    assert main(["data", "check", str(folder.parent), "--list", str(lists)]) == 1
    listed = dict(line.split("\t") for line in lists.read_text().splitlines())
    assert len(listed) == 13 and all(reason for reason in listed.values())
    assert listed[str(folder / "train/good/empty4.png")] == "it is empty"
    assert listed[str(folder / "test/good/again.bmp")].endswith("train/good/003.png, a training image")
    assert "9 cannot be read (" in (printed := capsys.readouterr().out)
    assert "--list FILE writes all 13 of these files, with the reasons, to a file" in printed


def test_a_list_that_cannot_be_written(folder, tmp_path, capsys):
    image = folder / "test" / "spot" / "000.png"
    for place, error in ((image, "exists: choose"), (tmp_path, "exists: choose"), (image / "list", "Cannot write to")):
        assert main(["data", "check", str(folder.parent), "--list", str(place)]) == 2
        printed, errors = capsys.readouterr()
        assert errors.startswith("adn: error: ") and error in errors and not printed
    assert image.stat().st_size > 100


def test_a_folder_that_cannot_be_read_is_a_problem_of_its_category(folder, monkeypatch):
    make_category(folder.parent / "other")

    def vanished(path):
        if path.parent == folder / "test":
            raise AdnError(f"The folder {path} cannot be read (No such file or directory).")
        return list_folder(path)

    monkeypatch.setattr(layouts, "list_folder", vanished)
    other, tiny = check_data(str(folder.parent), progress=False)
    assert other.problems == [] and "test/good cannot be read" in tiny.problems[0]


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
