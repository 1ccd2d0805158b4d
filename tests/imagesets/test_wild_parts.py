import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from adnlib import AdnError
from adnlib.imagesets.wild_parts import CATEGORIES, DEFECTS, PARTS, SETTINGS, make_wild_parts, render
from adnlib.system.folders import ROOT

pytestmark = pytest.mark.slow

SMALL = {"train": 2, "good": 1, "per_defect": 1, "categories": ["clamp_wild"]}
SAMPLE = {"train": 6, "good": 3, "per_defect": 1, "categories": ["bracket_wild", "bracket_plain"]}  # data/sample
KINDS = [(part, setting, defect) for part in PARTS for setting in SETTINGS for defect in DEFECTS]


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    make_wild_parts(folder, **SMALL)
    return files(folder)


def test_the_same_seed_gives_the_same_bytes_in_every_process(tmp_path, small):
    code = "from adnlib.imagesets.wild_parts import make_wild_parts; import pathlib, sys; "
    code += "make_wild_parts(pathlib.Path(sys.argv[1]), **eval(sys.argv[2]))"
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, tmp_path, repr(SMALL)], cwd=ROOT, env=environment, check=True)
    assert files(tmp_path) == small


def test_a_smaller_set_is_a_part_of_the_larger_one(tmp_path, small):
    make_wild_parts(tmp_path, **(SMALL | {"train": 3, "good": 2}))
    larger = files(tmp_path)
    assert small.items() < larger.items()


def test_another_seed_gives_other_images(tmp_path, small):
    make_wild_parts(tmp_path, **SMALL, seed=1)
    other = files(tmp_path)
    assert other.keys() == small.keys()
    assert not set(other.values()) & set(small.values())


def test_layout(small):
    train = [f"clamp_wild/train/good/00{i}.jpg" for i in range(2)]
    test = [f"clamp_wild/test/{defect}/000.jpg" for defect in ("good", *DEFECTS)]
    parts = [f"clamp_wild/part/test/{defect}/000_part.png" for defect in ("good", *DEFECTS)]
    masks = [f"clamp_wild/ground_truth/{defect}/000_mask.png" for defect in DEFECTS]
    assert sorted(small) == sorted(train + test + parts + masks)


def test_the_library_reads_it():
    import adnlib

    dataset = adnlib.load_dataset(f"folder:{ROOT / 'data' / 'sample'}", "bracket_wild")
    assert dataset.counts == {"train normal": 5, "validation normal": 1, "test normal": 3, "test anomalous": 5}
    assert all(sample.mask.any() for sample in dataset.test if sample.label)


@pytest.mark.parametrize(("part", "setting", "defect"), KINDS)
def test_the_mask_covers_the_change(part, setting, defect):
    for index in range(2):
        image, mask, after = render(part, setting, "test", defect, index)
        whole, same_mask, before = render(part, setting, "test", defect, index, damaged=False)
        assert (mask == same_mask).all()
        assert 0.005 < mask.sum() / before.sum() < 0.3
        change = np.abs(image.astype(float) - whole).mean(axis=-1)
        assert change[~mask].mean() < 1  # grey values: shadows, and pixels that the edge of the mask cuts
        assert change[mask].mean() > 10
        assert not (before ^ after)[~mask].mean() > 0.001


@pytest.mark.parametrize("part", PARTS)
def test_parts_and_backgrounds(part):
    spread = {}
    for setting in SETTINGS:
        images, masks, covers = zip(*(render(part, setting, "train", "good", i) for i in range(6)), strict=True)
        assert not np.any(masks)
        assert all(0.12 < cover.mean() < 0.35 for cover in covers)
        means = [image[~cover].mean(axis=0) for image, cover in zip(images, covers, strict=True)]
        spread[setting] = np.std(means, axis=0).mean()
    assert spread["wild"] > 15 and spread["plain"] < 8


def test_twins_differ_in_their_setting_only():
    """The rust of an image takes up about the same share of the part in both settings."""
    for index in range(4):
        shares = [
            mask.sum() / cover.sum()
            for _, mask, cover in (render("bracket", setting, "test", "corrosion", index) for setting in SETTINGS)
        ]
        assert shares[0] == pytest.approx(shares[1], rel=0.2)


@pytest.mark.parametrize(
    "bad",
    [
        ("nut", "wild", "test", "good"),
        ("clamp", "lunar", "test", "good"),
        ("clamp", "wild", "exam", "good"),
        ("clamp", "wild", "test", "dent"),
    ],
)
def test_unknown_names_are_refused(bad):
    with pytest.raises(AdnError, match="is not known: choose one of"):
        render(*bad, 0)


def test_unknown_categories_are_refused(tmp_path):
    with pytest.raises(AdnError, match="category='bracket' is not known"):
        make_wild_parts(tmp_path, categories=["bracket"])
    assert not any(tmp_path.iterdir()) and len(CATEGORIES) == 4


def test_the_committed_sample_is_what_the_code_makes(tmp_path):
    make_wild_parts(tmp_path, **SAMPLE)
    sample = ROOT / "data" / "sample"
    assert files(tmp_path).keys() == files(sample).keys()
    for path in tmp_path.rglob("*.???"):
        made, kept = (np.array(Image.open(p), float) for p in (path, sample / path.relative_to(tmp_path)))
        assert np.abs(made - kept).mean() < 2, path.name  # decoders and floats differ a little between machines
