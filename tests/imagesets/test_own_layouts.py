"""Folders as people have them: only normal images, two folders, one flat folder, a list in a CSV file."""

import numpy as np
import pytest
from conftest import make_category, save_image

from adnlib import AdnError, load_dataset
from adnlib.cli import main
from adnlib.datasets import CALIBRATION, TEST

PIXELS = np.full((8, 8, 3), 100, np.uint8)


def images(folder, count):
    return [save_image(folder / f"{index:03d}.png", PIXELS + index) for index in range(count)]


def counts(dataset):
    return {part: len(getattr(dataset, part)) for part in ("train", "validation", "calibration", "test")}


@pytest.mark.parametrize("place", ["train/good", "normal", "Good", "ok", "."])
def test_only_normal_images(tmp_path, place):
    images(tmp_path / "part" / place, 40)
    dataset = load_dataset(f"folder:{tmp_path / 'part'}")
    assert dataset.category == "part"
    calibration = round(CALIBRATION * 40)
    validation = round(0.15 * (40 - calibration))
    assert counts(dataset) == {
        "train": 40 - calibration - validation,
        "validation": validation,
        "calibration": calibration,
        "test": 0,
    }
    paths = [s.path for part in (dataset.train, dataset.validation, dataset.calibration) for s in part]
    assert len(set(paths)) == 40
    assert f"{calibration} calibration normal" in str(dataset)


def test_other_seeds_draw_other_parts(tmp_path):
    images(tmp_path / "part", 40)
    parts = [load_dataset(f"folder:{tmp_path / 'part'}", seed=seed).calibration for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]


@pytest.mark.parametrize("name", ["abnormal", "NG", "defect"])
def test_normal_images_are_held_out_to_test_with_anomalous_ones(tmp_path, name):
    images(tmp_path / "part" / "normal", 40)
    images(tmp_path / "part" / name, 5)
    dataset = load_dataset(f"folder:{tmp_path}", "part")
    assert dataset.counts["test anomalous"] == 5 and dataset.counts["test normal"] == round(TEST * 40)
    assert dataset.test[-1].defect == name.lower() and len(dataset.calibration) == round(CALIBRATION * 34)


def test_normal_test_images_alone_calibrate(tmp_path):
    images(tmp_path / "part" / "train" / "good", 20)
    images(tmp_path / "part" / "test" / "good", 9)
    assert counts(load_dataset(f"folder:{tmp_path}")) == {"train": 17, "validation": 3, "calibration": 9, "test": 0}


def test_a_published_split_is_kept_unless_calibration_is_asked_for(tmp_path):
    make_category(tmp_path / "tiny")
    name = f"folder:{tmp_path}"
    assert counts(load_dataset(name)) == {"train": 10, "validation": 2, "calibration": 0, "test": 8}
    assert counts(load_dataset(name, calibration=0.25)) == {"train": 8, "validation": 1, "calibration": 3, "test": 8}
    for share in (1, -0.1, 0.99):
        with pytest.raises(AdnError, match=f"calibration={share} of 12 normal images"):
            load_dataset(name, calibration=share)


def write_list(folder, text):
    (folder / "parts.csv").write_text(text, encoding="utf-8")
    return f"folder:{folder / 'parts.csv'}"


def test_a_list_in_a_csv_file(tmp_path):
    images(tmp_path / "pictures", 20)
    lines = [f"pictures/{index:03d}.png,{'normal' if index < 16 else 'Scratch'},," for index in range(18)]
    lines += ["pictures/018.png,1,test,pictures/000.png", "pictures/019.png,ok,test,"]
    dataset = load_dataset(write_list(tmp_path, "\ufeffimage,label,part,mask\n" + "\n".join(lines)))
    assert dataset.category == "parts" and counts(dataset) == {
        "train": 14,
        "validation": 2,
        "calibration": 0,
        "test": 4,
    }
    assert [sample.defect for sample in dataset.test] == ["scratch", "scratch", "anomalous", "good"]
    assert [bool(sample.mask_path) for sample in dataset.test] == [False, False, True, False]


@pytest.mark.parametrize(
    "text, message",
    [
        ("path,kind\na.png,normal", "line 2: write the columns image and label, and a value for each"),
        ("image,label\na.png,", "line 2: write the columns image and label, and a value for each"),
        ("image,label,part\na.png,scratch,train", "line 2: part = 'train' does not fit 'scratch'"),
        ("image,label,part\na.png,ok,half", "line 2: part = 'half' does not fit 'ok'"),
        ("image,label\nnowhere.png,ok", "Cannot read the image .*nowhere.png"),
        ("image,label\n../../../etc/passwd,ok\na.png,ok", "Cannot read the image"),
        ("", "is empty"),
        ("image,label\n\0,\0", "is not a CSV file .*NUL"),
    ],
)
def test_a_list_that_cannot_be_used_names_the_line(tmp_path, text, message):
    images(tmp_path, 1)
    with pytest.raises(AdnError, match=message) as refused:
        load_dataset(write_list(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_a_list_is_checked_like_a_folder(tmp_path, capsys):
    images(tmp_path, 20)
    rows = [f"{index:03d}.png,ok" for index in range(20)]
    name = write_list(tmp_path, "\n".join(["image,label", *rows, "gone.png,ok", "../x.png,scratch"]))
    assert main(["data", "check", name]) == 1
    printed = capsys.readouterr().out
    assert "2 cannot be read (gone.png, ../x.png)" in printed or "2 cannot be read (../x.png, gone.png)" in printed
    assert "20 train normal" in printed
    main(["data", "check", write_list(tmp_path, "\n".join(["image,label", *rows]))])
    assert "cannot be read" not in capsys.readouterr().out


def test_too_few_images_and_none(tmp_path):
    with pytest.raises(AdnError, match=r"There is no category in .*: put normal images in"):
        load_dataset(f"folder:{tmp_path}")
    images(tmp_path, 2)
    with pytest.raises(AdnError, match="leaves nothing to train on or for validation"):
        load_dataset(f"folder:{tmp_path}")
