import zipfile

import numpy as np
import pytest
import torch
from conftest import make_category, save_image
from PIL import Image

import adnlib
from adnlib import AdnError, load_dataset
from adnlib.fetch import registry
from adnlib.files import sha256


def test_splits_of_a_folder(tiny):
    assert tiny.counts == {"train normal": 10, "validation normal": 2, "test normal": 4, "test anomalous": 4}
    assert not set(tiny.train.samples) & set(tiny.validation.samples)
    assert tiny.train.labels.sum() == tiny.validation.labels.sum() == 0
    assert [s.defect for s in tiny.test] == ["good"] * 4 + ["spot"] * 4
    assert str(tiny) == "folder:" + str(tiny.train[0].path.parents[3]) + (
        " / tiny: 10 train normal, 2 validation normal, 4 test normal, 4 test anomalous"
    )


def test_a_category_may_be_named_by_its_own_folder(tiny_folder, tiny):
    dataset = load_dataset(f"folder:{tiny_folder / 'tiny'}")
    assert dataset.category == "tiny"
    assert dataset.train.samples == tiny.train.samples


def test_validation_is_drawn_by_seed(tiny_folder):
    def held(seed):
        return [s.path.name for s in load_dataset(f"folder:{tiny_folder}", "tiny", seed=seed).validation]

    assert held(0) == held(0)
    assert len({tuple(held(seed)) for seed in range(5)}) > 1


def test_samples_have_image_mask_and_label(tiny):
    normal, anomalous = tiny.test[0], tiny.test[-1]
    assert normal.image.shape == (3, 64, 64) and normal.image.dtype == torch.uint8
    assert normal.mask is None
    assert anomalous.mask.shape == (64, 64) and anomalous.mask.sum() == 16 * 16
    assert anomalous.image.float().mean(0)[anomalous.mask].mean() > 200
    assert tiny.test[2:4].images(32).shape == (2, 3, 32, 32)


def test_resizing_is_torchvisions(tmp_path):
    from torchvision.transforms.functional import pil_to_tensor, resize

    pixels = np.random.default_rng(0).integers(0, 256, (90, 50, 3), dtype=np.uint8)
    path = save_image(tmp_path / "a.png", pixels)
    sample = adnlib.datasets.Sample(path, 0, "good")
    assert torch.equal(sample.read(32), pil_to_tensor(resize(Image.fromarray(pixels), [32, 32])))


def test_grey_and_rotated_images_become_upright_rgb(tmp_path):
    pixels = np.zeros((20, 30), np.uint8)
    pixels[:, 15:] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif)
    image = adnlib.datasets.Sample(tmp_path / "a.jpg", 0, "good").image
    assert image.shape == (3, 30, 20)
    assert image[:, :10].float().mean() < 20 and image[:, 20:].float().mean() > 180


def broken(folder, what):
    if what == "no test normal":
        for path in (folder / "test" / "good").iterdir():
            path.unlink()
    if what == "no anomalous":
        for path in (folder / "test" / "spot").iterdir():
            path.unlink()
    if what == "empty":
        for path in (folder / "train" / "good").iterdir():
            path.unlink()
    if what == "truncated":
        path = folder / "train" / "good" / "003.png"
        path.write_bytes(path.read_bytes()[:-2000])
    if what == "not an image":
        (folder / "train" / "good" / "003.png").write_text("hello")


@pytest.mark.parametrize("what, message", [
    ("empty", "The category .*tiny is empty: .*train/good needs two normal images"),
    ("no anomalous", "no anomalous test images in .*tiny.*put some in test/NAME_OF_DEFECT"),
    ("no test normal", "no normal test images in .*tiny.*put some in test/good"),
])  # fmt: skip
def test_broken_layouts(tmp_path, what, message):
    broken(make_category(tmp_path / "tiny"), what)
    with pytest.raises(AdnError, match=message):
        load_dataset(f"folder:{tmp_path}", "tiny")


@pytest.mark.parametrize("what", ["truncated", "not an image"])
def test_unreadable_images_are_named(tmp_path, what):
    broken(make_category(tmp_path / "tiny"), what)
    dataset = load_dataset(f"folder:{tmp_path}", "tiny", validation=0.3)
    with pytest.raises(AdnError, match=r"Cannot read the image .*tiny/train/good/003.png \(.*\): replace or remove it"):
        dataset.train.images(64), dataset.validation.images(64)


@pytest.mark.parametrize("name, category, message", [
    ("folder:/nowhere/at/all", "tiny", "There is no data folder /nowhere/at/all"),
    ("elvp", "mono", "dataset='elvp' is not known: choose one of 'elpv', 'folder:PATH'"),
    ("elpv", "amorphous", "category='amorphous' is not known: choose one of 'mono', 'poly'"),
    ("elpv", None, "category=None is not known"),
])  # fmt: skip
def test_unknown_names(name, category, message):
    with pytest.raises(AdnError, match=message):
        load_dataset(name, category)


def test_unknown_category_and_impossible_shares(tiny_folder):
    with pytest.raises(AdnError, match="There is no category folder .*small"):
        load_dataset(f"folder:{tiny_folder}", "small")
    for share in (0, 1, -0.1, 0.99):
        with pytest.raises(AdnError, match=f"validation={share} of 12 normal images"):
            load_dataset(f"folder:{tiny_folder}", "tiny", validation=share)


@pytest.fixture
def fake_elpv(tmp_path, empty_home, monkeypatch):
    """A wheel with the layout of elpv-dataset: 20 mono cells, ten of them normal, four uncertain."""
    rng = np.random.default_rng(0)
    lines = []
    path = tmp_path / "index" / "elpv_dataset-1.0.0.post1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("elpv_dataset-1.0.0.post1.dist-info/METADATA", "Name: elpv-dataset\nVersion: 1.0.0.post1\n")
        wheel.writestr("elpv_dataset-1.0.0.post1.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        for index in range(20):
            probability = [0.0, 1.0, 0.0, 1.0, 0.3333333333333333][index % 5]
            name = f"images/cell{index:04d}.png"
            image = save_image(tmp_path / "cell.png", rng.integers(0, 256, (8, 8), dtype=np.uint8))
            wheel.write(image, f"elpv_dataset/data/{name}")
            lines.append(f"{name}  {probability}     {'mono' if index < 15 else 'poly'}")
        wheel.writestr("elpv_dataset/data/labels.csv", "\n".join(lines))
    monkeypatch.setitem(registry()["elpv"], "sha256", sha256(path))
    return path


def test_elpv_is_laid_out_like_any_other_set(fake_elpv, empty_home):
    dataset = load_dataset("elpv", "mono")
    assert dataset.counts == {
        "train normal": 3,
        "validation normal": 1,
        "test normal": 2,
        "test anomalous": 6,
        "left out (uncertain label)": 3,
    }
    assert dataset.licence.startswith("CC BY-NC-SA")
    same = load_dataset(f"folder:{empty_home / 'data' / 'elpv'}", "mono")
    assert same.train.samples == dataset.train.samples and same.test.samples == dataset.test.samples


def test_a_good_copy_is_not_fetched_again(fake_elpv, empty_home):
    load_dataset("elpv", "mono")
    fake_elpv.unlink()
    before = {path: path.stat().st_mtime_ns for path in empty_home.rglob("*")}
    load_dataset("elpv", "mono")
    assert before == {path: path.stat().st_mtime_ns for path in empty_home.rglob("*")}


def test_a_wrong_sha256_leaves_nothing_behind(fake_elpv, empty_home, monkeypatch):
    monkeypatch.setitem(registry()["elpv"], "sha256", "0" * 64)
    with pytest.raises(AdnError, match=f"{fake_elpv.name} from the Python package index has the wrong sha256"):
        load_dataset("elpv", "mono")
    assert list(empty_home.rglob("*")) == [empty_home / "data"]


def test_no_network_and_no_copy(empty_home):
    with pytest.raises(AdnError, match="Cannot download elpv-dataset==1.0.0.post1 from the Python package index"):
        load_dataset("elpv", "mono")
    assert list(empty_home.rglob("*")) == [empty_home / "data"]
