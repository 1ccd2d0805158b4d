"""Trees shaped like each published archive; no image is opened, so that every file may be the same few bytes."""

import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import REAL_CATEGORIES, REAL_DATA, make_category, save_image

from adnlib import AdnError, load_dataset
from adnlib.cli import main
from adnlib.imagesets import layouts
from adnlib.imagesets.layouts import find_categories, pick_category, read_category
from adnlib.imagesets.registry import registry
from adnlib.imagesets.sources import fetch_dataset
from adnlib.system.folders import ROOT


class Tree:
    """Builds a folder of links to one small image."""

    def __init__(self, root: Path):
        self.root = root
        self.image = save_image(root.parent / "pixel.png", np.zeros((4, 4), np.uint8))

    def add(self, folder: str, names) -> None:
        target = self.root / folder
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.link(self.image, target / name)

    def mvtec(self, category: str, counts, ending="png", defects=("cut", "hole"), masks=True) -> None:
        train, good, anomalous = counts
        self.add(f"{category}/train/good", (f"{i:03d}.{ending}" for i in range(train)))
        self.add(f"{category}/test/good", (f"{i:03d}.{ending}" for i in range(good)))
        for n, defect in enumerate(defects):
            count = range(anomalous // len(defects) + (n < anomalous % len(defects)))
            self.add(f"{category}/test/{defect}", (f"{i:03d}.{ending}" for i in count))
            if masks:
                self.add(f"{category}/ground_truth/{defect}", (f"{i:03d}_mask.png" for i in count))


def mvtec_ad(tree: Tree) -> Path:
    for category, counts in registry()["mvtec_ad"]["categories"].items():
        tree.mvtec(f"mvtec_anomaly_detection/{category}", counts)
        (tree.root / "mvtec_anomaly_detection" / category / "license.txt").write_text("CC")
    (tree.root / "mvtec_anomaly_detection" / "readme.txt").write_text("hello")
    return tree.root


def insplad_fault(tree: Tree) -> Path:
    for category, counts in registry()["insplad_fault"]["categories"].items():
        defects = ("rust", "bird-nest") if category == "vari-grip" else ("rust",)
        tree.mvtec(f"unsupervised_anomaly_detection/{category}", counts, "JPG", defects, masks=False)
    tree.add("__MACOSX/unsupervised_anomaly_detection/vari-grip/train/good", ["._000.JPG"])
    return tree.root


def mtd(tree: Tree) -> Path:
    top = "Magnetic-tile-defect-datasets.-master"
    train = (ROOT / "data" / "mtd_train.txt").read_text().split()
    free = [*train, *(f"exp9_num_{i}.jpg" for i in range(191))]
    for name, images in [("Free", free)] + [
        (name, [f"exp1_num_{i}.jpg" for i in range(count)])
        for name, count in (("Blowhole", 115), ("Break", 85), ("Crack", 57), ("Fray", 32), ("Uneven", 103))
    ]:
        tree.add(f"{top}/MT_{name}/Imgs", [*images, *(image.replace(".jpg", ".png") for image in images)])
    tree.add(top, ["dataset.jpg"])
    return tree.root


def elpv(tree: Tree) -> Path:
    for category, counts in registry()["elpv"]["categories"].items():
        tree.mvtec(category, counts, defects=("defective",), masks=False)
    return tree.root


def wild_parts(tree: Tree) -> Path:
    for category, counts in registry()["wild_parts"]["categories"].items():
        tree.mvtec(category, counts, "jpg", ("corrosion", "missing_piece", "crack", "foreign_object", "bend"))
    return tree.root


def semiconductor_wafer(tree: Tree) -> Path:
    tree.mvtec("Chips", (30, 10, 12), "tif")
    tree.mvtec("Streets", (20, 5, 6), "bmp", masks=False)
    return tree.root


PUBLISHED = {"mvtec_ad": 15, "insplad_fault": 5, "mtd": 1, "elpv": 2, "wild_parts": 4, "semiconductor_wafer": 2}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_tree_loads_under_its_own_name_with_the_published_counts(tmp_path, empty_home, name):
    root = globals()[name](Tree(tmp_path / "downloaded"))
    fetch_dataset(name, root)
    categories = registry()[name]["categories"] or {"Chips": [30, 10, 12], "Streets": [20, 5, 6]}
    assert len(categories) == PUBLISHED[name]
    for category, (train, normal, anomalous) in categories.items():
        dataset = load_dataset(name, category)
        counts = dataset.counts
        assert counts["train normal"] + counts["validation normal"] == train
        assert (counts["test normal"], counts["test anomalous"]) == (normal, anomalous)
        assert (dataset.name, dataset.category) == (name, category)
        assert dataset.licence == registry()[name]["licence"]
        assert dataset.train[0].path.is_relative_to(root)  # the user's folder stays where it is
    assert [p.name for p in (empty_home / "data" / name).iterdir()] == ["dataset.json"]


def test_masks_are_found(tmp_path):
    mvtec = read_category(mvtec_ad(Tree(tmp_path / "a")) / "mvtec_anomaly_detection" / "bottle")
    assert all((sample.mask_path is not None) == (sample.label == 1) for sample in mvtec.samples)
    tiles = read_category(next(mtd(Tree(tmp_path / "b")).iterdir()))
    assert all((sample.mask_path is not None) == (sample.label == 1) for sample in tiles.samples)
    assert {s.defect for s in tiles.test} == {"good", "blowhole", "break", "crack", "fray", "uneven"}
    assert tiles.lone_masks == tiles.other_files == []


@pytest.mark.parametrize("name, archive", [("mtd", "mtd.zip"), ("semiconductor_wafer", "wafer.tar.gz")])
def test_the_archive_that_a_user_downloaded_is_unpacked(tmp_path, empty_home, capsys, name, archive):
    root = globals()[name](Tree(tmp_path / "tree"))
    path = tmp_path / archive
    if archive.endswith("zip"):
        with zipfile.ZipFile(path, "w") as out:
            for file in sorted(root.rglob("*")):
                out.write(file, file.relative_to(root))
    else:
        with tarfile.open(path, "w:gz") as out:
            for file in sorted(
                p for p in root.rglob("*") if p.is_file()
            ):  # the second name of one file would be a link
                info = tarfile.TarInfo(str(file.relative_to(root)))
                info.size = file.stat().st_size
                with open(file, "rb") as content:
                    out.addfile(info, content)
    shutil.rmtree(root)
    assert main(["data", "fetch", name, "--from", str(path)]) == 0
    assert str(empty_home / "data" / name) in capsys.readouterr().out
    assert path.exists()
    load_dataset(name, None if name == "mtd" else "chips")


def test_capitals_and_separators_make_no_difference(tmp_path):
    tree = Tree(tmp_path / "a")
    tree.add("Vari-Grip/Train/Good", ["a.JPG", "b.Jpg"])
    tree.add("Vari-Grip/Test/GOOD", ["a.TIF"])
    tree.add("Vari-Grip/TEST_OLD", ["a.png"])
    tree.add("Vari-Grip/Test/Rust", ["a.PNG"])
    tree.add("Vari-Grip/Ground_Truth/rust", ["a_mask.PNG"])
    dataset = load_dataset(f"folder:{tree.root}", "vari grip", validation=0.5)
    assert dataset.category == "Vari-Grip"
    assert dataset.counts == {"train normal": 1, "validation normal": 1, "test normal": 1, "test anomalous": 1}
    assert dataset.test[1].mask_path.name == "a_mask.PNG" and dataset.test[1].defect == "Rust"


def test_validation_images_of_its_own_are_used_as_they_are(tmp_path):
    tree = Tree(tmp_path / "a")
    tree.mvtec("can", (10, 3, 4))
    tree.add("can/validation/good", ["000.png", "001.png"])
    dataset = load_dataset(f"folder:{tree.root}")
    assert (len(dataset.train), len(dataset.validation)) == (10, 2)
    assert {s.path.parent.parent.name for s in dataset.validation} == {"validation"}


def test_a_category_is_found_below_nested_tops_but_not_beyond(tmp_path):
    tree = Tree(tmp_path / "a")
    tree.mvtec("one/two/three/can", (3, 1, 1))
    assert list(find_categories(tree.root)) == ["can"]
    tree = Tree(tmp_path / "b")
    tree.mvtec("one/two/three/four/can", (3, 1, 1))
    with pytest.raises(AdnError, match="There is no category in"):
        find_categories(tree.root)


def test_folders_that_are_no_data(tmp_path):
    for name, message in (("nowhere", "There is no data folder"), ("file", "is a file, not a data folder")):
        (tmp_path / "file").touch()
        with pytest.raises(AdnError, match=message):
            find_categories(tmp_path / name)
    with pytest.raises(AdnError, match="There is no category in .*: put normal images in"):
        find_categories(tmp_path)


def test_one_name_in_two_places(tmp_path):
    make_category(tmp_path / "old" / "can")
    make_category(tmp_path / "new" / "can")
    with pytest.raises(AdnError, match="The category can is in .*new.* and in .*old.*: give the path of one"):
        find_categories(tmp_path)


@pytest.mark.parametrize("place", ["train/good/x.png", "test/spot/x.PNG", "ground_truth/spot/x_mask.png"])
@pytest.mark.parametrize(
    "make, reason",
    [
        (os.mkfifo, "it is a named pipe, not a file"),
        (os.mkdir, "it is a folder, not a file"),
        (Path.touch, "it is empty"),
        (lambda path: path.symlink_to("/dev/zero"), "it is a device, not a file"),
        (lambda path: path.symlink_to("/"), "it is a folder, not a file"),
        (lambda path: path.symlink_to("gone.png"), "No such file or directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
def test_an_image_that_is_no_file_is_refused(tmp_path, place, make, reason):
    """Training must neither wait for it nor leave it out in silence."""
    path = make_category(tmp_path / "tiny", train=3, test=2) / place
    make(path)
    with pytest.raises(AdnError, match=rf"^Cannot read the image {path} \({reason}\): replace or remove it\.$"):
        load_dataset(f"folder:{tmp_path}")
    assert [path] == [path for path, _ in read_category(tmp_path / "tiny").unusable]


def test_links_are_followed_except_to_a_folder_that_contains_them(tmp_path):
    tree = Tree(tmp_path / "elsewhere" / "a")
    tree.mvtec("can", (3, 1, 1))
    root = tmp_path / "data"
    (root / "more").mkdir(parents=True)
    for name, target in (("can", tree.root / "can"), ("slash", "/"), ("more/up", ".."), ("more/itself", ".")):
        (root / name).symlink_to(target)
    (root / "more" / "can").symlink_to(root / "can")  # the same folder once more
    assert find_categories(root) == {"can": root / "can"}
    (tree.root / "can" / "test" / "cut" / "up").symlink_to("../..")
    (tree.root / "can" / "train" / "good" / "loop").symlink_to("loop")
    assert len(load_dataset(f"folder:{root}").train) == 2


def test_the_search_for_categories_ends(tmp_path, monkeypatch):
    for index in range(30):
        (tmp_path / str(index % 5) / str(index)).mkdir(parents=True)
    with pytest.raises(AdnError, match="There is no category"):
        find_categories(tmp_path)
    monkeypatch.setattr(layouts, "MOST_FOLDERS", 20)
    with pytest.raises(
        AdnError, match=r"more than 20 folders in .*: give the path of the folder that contains the cat"
    ):
        find_categories(tmp_path)


@pytest.mark.parametrize("place", ["train/Good", "test/SPOT", "Test"])
def test_folders_that_differ_only_in_capitals(tmp_path, place):
    folder = make_category(tmp_path / "tiny", train=3, test=2) / place
    if folder.exists():
        pytest.skip("this disk does not distinguish capital letters")
    folder.mkdir()
    with pytest.raises(AdnError, match="The folders .* differ only in capital letters: rename or merge them"):
        load_dataset(f"folder:{tmp_path}")


def test_a_folder_that_vanishes_while_it_is_read(tmp_path, monkeypatch):
    make_category(tmp_path / "tiny", train=3, test=2)
    monkeypatch.setattr(
        layouts, "_children", lambda folder, list_=layouts._children: list_(folder) | {"good": tmp_path / "x"}
    )
    with pytest.raises(AdnError, match=r"The folder .*x cannot be read \(No such file or directory\): restore it or"):
        read_category(tmp_path / "tiny")


@pytest.mark.parametrize("wanted", ["tin", None])
def test_a_category_that_is_not_there(wanted):
    with pytest.raises(AdnError, match=rf"category={wanted!r} is not in here: choose one of 'can', 'jar'"):
        pick_category({"can": Path(), "jar": Path()}, wanted, "here")


@pytest.mark.skipif(
    not all((REAL_DATA / name).is_dir() for name in REAL_CATEGORIES),
    reason="the four folders of images that data/README.md names are not here: set ADN_REAL_DATA",
)
@pytest.mark.parametrize(
    "category, counts",
    [
        ("mvtec_bottle", (209, 20, 63)),
        ("mtd", (761, 191, 392)),
        ("cplid_insulator", (390, 165, 248)),
        ("wafer_sem_carinthia", (60, 40, 154)),
    ],
)
def test_real_sets_load_with_their_counts(category, counts):
    dataset = load_dataset(f"folder:{REAL_DATA}", category)
    got = dataset.counts
    assert (got["train normal"] + got["validation normal"], got["test normal"], got["test anomalous"]) == counts
