import errno
import re
import shutil
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import full_disk, make_category, save_image
from PIL import Image

import adnlib
from adnlib import AdnError, load_dataset
from adnlib.cli import main
from adnlib.imagesets.registry import registry
from adnlib.imagesets.sources import fetch_dataset
from adnlib.system.files import sha256


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
    sample = adnlib.imagesets.reading.Sample(path, 0, "good")
    assert torch.equal(sample.read(32), pil_to_tensor(resize(Image.fromarray(pixels), [32, 32])))


def broken(folder, what):
    if what == "empty":
        for path in (folder / "train" / "good").iterdir():
            path.unlink()
    if what == "truncated":
        path = folder / "train" / "good" / "003.png"
        path.write_bytes(path.read_bytes()[:-2000])
    if what == "not an image":
        (folder / "train" / "good" / "003.png").write_text("hello")


@pytest.mark.parametrize(
    "what, message",
    [
        ("empty", "The category .*tiny is empty: .*train/good needs at least two normal images"),
    ],
)
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


@pytest.mark.parametrize(
    "name, category, message",
    [
        ("folder:/nowhere/at/all", "tiny", "There is no data folder /nowhere/at/all"),
        ("elvp", "mono", "dataset='elvp' is not known: choose one of 'elpv', .*'folder:PATH'"),
        ("elpv", "amorphous", "category='amorphous' is not in elpv: choose one of 'mono', 'poly'"),
        ("elpv", None, "category=None is not in elpv: choose"),
    ],
)
def test_unknown_names(name, category, message):
    with pytest.raises(AdnError, match=message):
        load_dataset(name, category)


def test_unknown_category_and_impossible_shares(tiny_folder):
    with pytest.raises(AdnError, match="category='small' is not in .*: choose one of 'tiny'"):
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


def test_image_sizes(tiny):
    assert tiny.image_sizes == {(64, 64): 20}


@pytest.fixture
def wafers(tmp_path):
    """A user's folder of wafers and an archive of it."""
    make_category(tmp_path / "mine" / "chips", train=4, test=2)
    return tmp_path / "mine", Path(shutil.make_archive(tmp_path / "wafers", "zip", tmp_path / "mine"))


def test_a_folder_of_the_user_stays_where_it_is(wafers, empty_home):
    folder, _ = wafers
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert fetch_dataset("semiconductor_wafer", folder) == folder
    assert load_dataset("semiconductor_wafer", "chips").train[0].path.is_relative_to(folder)
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_good_copy_is_never_touched_whatever_is_offered(wafers, empty_home, tmp_path):
    folder, archive = wafers
    copy = empty_home / "data" / "semiconductor_wafer"
    assert fetch_dataset("semiconductor_wafer", archive) == copy
    before = {path: path.stat().st_mtime_ns for path in empty_home.rglob("*")}
    for offered in (folder, archive, tmp_path / "nowhere"):
        with pytest.raises(AdnError, match=f"semiconductor_wafer is already in {copy}, so {offered} .* delete {copy}"):
            fetch_dataset("semiconductor_wafer", offered)
    assert fetch_dataset("semiconductor_wafer") == copy
    assert before == {path: path.stat().st_mtime_ns for path in empty_home.rglob("*")}


def test_a_users_folder_may_be_named_again(wafers, empty_home, monkeypatch):
    folder, archive = wafers
    fetch_dataset("semiconductor_wafer", folder)
    monkeypatch.chdir(folder.parent)
    assert fetch_dataset("semiconductor_wafer", Path("mine")) == folder
    with pytest.raises(AdnError, match=f"is already in {folder}, so .* delete {empty_home}"):  # never the user's own
        fetch_dataset("semiconductor_wafer", archive)


def no_such_path(tmp_path, monkeypatch):
    return "semiconductor_wafer", tmp_path / "nowhere.zip"


def damaged_archive(tmp_path, monkeypatch):
    make_category(tmp_path / "mine" / "chips")
    path = Path(shutil.make_archive(tmp_path / "wafers", "zip", tmp_path / "mine"))
    path.write_bytes(path.read_bytes()[:-3000])
    return "semiconductor_wafer", path


def no_images_inside(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "readme.txt").write_text("hello")
    return "semiconductor_wafer", Path(shutil.make_archive(tmp_path / "wafers", "zip", tmp_path / "mine"))


def folder_without_images(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    return "semiconductor_wafer", tmp_path / "mine"


def another_archive(tmp_path, monkeypatch):
    (tmp_path / "mvtec_anomaly_detection.tar.xz").write_text("something else")
    return "mvtec_ad", tmp_path / "mvtec_anomaly_detection.tar.xz"


def another_set(tmp_path, monkeypatch):
    make_category(tmp_path / "mine" / "chips")
    return "insplad_fault", tmp_path / "mine"


def licence_not_accepted(tmp_path, monkeypatch):
    return "mvtec_ad", None


def only_by_hand(tmp_path, monkeypatch):
    return "insplad_fault", None


def nobody_has_it(tmp_path, monkeypatch):
    return "semiconductor_wafer", None


def dead_address(tmp_path, monkeypatch):
    monkeypatch.setitem(registry()["mtd"], "url", "http://127.0.0.1:9/mtd.zip")
    return "mtd", None


def unknown_name(tmp_path, monkeypatch):
    return "mvtec", None


@pytest.mark.parametrize(
    "offer, message",
    [
        (no_such_path, "There is no file or folder .*nowhere.zip: check the path"),
        (damaged_archive, "Cannot unpack .*wafers.zip"),
        (no_images_inside, "There is no category in"),
        (folder_without_images, "There is no category in .*mine"),
        (another_archive, "is not the published mvtec_anomaly_detection.tar.xz .its sha256 differs"),
        (another_set, "The source has no category of insplad_fault, only chips: choose another source"),
        (licence_not_accepted, "accept the licence.*adn data fetch mvtec_ad --from .*--accept-licence"),
        (only_by_hand, "shared drive.*unsupervised_anomaly_detection.zip.*adn data fetch insplad_fault --from"),
        (nobody_has_it, "No public copy is known: ask the authors"),
        (dead_address, "Cannot download http://127.0.0.1:9/mtd.zip"),
        (unknown_name, "dataset='mvtec' is not known: choose one of 'elpv'"),
    ],
)
def test_what_cannot_be_fetched_ends_in_one_line_and_leaves_nothing(
    tmp_path, empty_home, capsys, monkeypatch, offer, message
):
    name, source = offer(tmp_path, monkeypatch)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert main(["data", "fetch", name, *(["--from", str(source)] if source else [])]) == 2
    lines = capsys.readouterr().err.split("\r")[-1].strip().splitlines()
    assert len(lines) == 1 and re.search(message, lines[0])
    assert [path for path in empty_home.rglob("*") if path.is_file()] == []
    assert before.items() <= {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path in before}.items()


def test_a_full_disk_while_unpacking(wafers, empty_home, capsys):
    with full_disk(1000):
        assert main(["data", "fetch", "semiconductor_wafer", "--from", str(wafers[1])]) == 2
    assert "The disk is full while writing to" in capsys.readouterr().err
    assert [path for path in empty_home.rglob("*") if path.is_file()] == []


def test_ctrl_c_while_unpacking(wafers, empty_home, monkeypatch, capsys):
    def stop(archive, folder):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr("adnlib.imagesets.sources.unpack", stop)
    assert main(["data", "fetch", "semiconductor_wafer", "--from", str(wafers[1])]) == 130
    assert [path for path in empty_home.rglob("*") if path.is_file()] == []


def test_a_users_folder_that_is_gone(wafers, empty_home):
    fetch_dataset("semiconductor_wafer", wafers[0])
    shutil.rmtree(wafers[0])
    with pytest.raises(AdnError, match="The folder .*mine of the data set semiconductor_wafer is gone: restore it"):
        load_dataset("semiconductor_wafer", "chips")


def test_a_damaged_marker(wafers, empty_home):
    fetch_dataset("semiconductor_wafer", wafers[1])
    (empty_home / "data" / "semiconductor_wafer" / "dataset.json").write_text("{")
    with pytest.raises(AdnError, match="dataset.json is damaged .*: delete the folder .* and fetch again"):
        load_dataset("semiconductor_wafer", "chips")


@pytest.fixture
def served_mtd(tmp_path, empty_home, monkeypatch):
    """Magnetic tiles at an address of this machine; the list of what was asked for there."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def log_request(self, *arguments):
            asked.append(self.path)

    for name in ("Free", "Crack"):
        for number in (10181, 10334, 1):
            path = tmp_path / "top" / f"MT_{name}" / "Imgs" / f"exp1_num_{number}.jpg"
            save_image(path, np.zeros((8, 8), np.uint8))
    shutil.make_archive(tmp_path / "served" / "mtd", "zip", tmp_path, "top")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path / "served")) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setitem(registry()["mtd"], "url", f"http://127.0.0.1:{server.server_port}/mtd.zip")
        yield asked
        server.shutdown()


def test_an_address_of_the_registry_is_downloaded_unpacked_and_tidied(served_mtd, empty_home):
    dataset = load_dataset("mtd", validation=0.5)
    assert dataset.counts == {"train normal": 1, "validation normal": 1, "test normal": 1, "test anomalous": 3}
    assert list((empty_home / "downloads").iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_a_download_that_could_not_be_unpacked_is_not_fetched_again(served_mtd, empty_home, monkeypatch, error):
    def stop(archive, folder):
        raise error

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, AdnError)):
        patch.setattr("adnlib.imagesets.sources.unpack", stop)
        fetch_dataset("mtd")
    fetch_dataset("mtd")
    assert served_mtd == ["/mtd.zip"]
    assert list((empty_home / "downloads").iterdir()) == []


def test_two_that_want_it_at_once_download_it_once(served_mtd, empty_home):
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(fetch_dataset, ["mtd", "mtd"])
    assert first == second and served_mtd == ["/mtd.zip"]


def test_a_download_with_another_sha256_is_fetched_again(served_mtd, empty_home, tmp_path, monkeypatch):
    monkeypatch.setitem(registry()["mtd"], "sha256", sha256(tmp_path / "served" / "mtd.zip"))
    (empty_home / "downloads").mkdir(parents=True)
    (empty_home / "downloads" / registry()["mtd"]["file"]).write_text("something else")
    fetch_dataset("mtd")
    assert served_mtd == ["/mtd.zip"]


def test_a_damaged_download_is_not_kept(served_mtd, empty_home, tmp_path):
    whole = (tmp_path / "served" / "mtd.zip").read_bytes()
    (tmp_path / "served" / "mtd.zip").write_bytes(whole[:-100])
    with pytest.raises(AdnError, match="Cannot unpack"):
        fetch_dataset("mtd")
    (tmp_path / "served" / "mtd.zip").write_bytes(whole)
    fetch_dataset("mtd")
    assert served_mtd == ["/mtd.zip"] * 2


@pytest.mark.parametrize("command", ["info", "fetch"])
def test_a_folder_of_ones_own_is_not_to_be_fetched(command, tmp_path, capsys):
    assert main(["data", command, f"folder:{tmp_path}"]) == 2
    assert capsys.readouterr().err == (
        f"adn: error: folder:{tmp_path} is your own folder, so there is nothing to fetch: "
        "`adn data check PATH` checks it.\n"
    )


def test_list_and_info(wafers, empty_home, capsys):
    assert main(["data", "list"]) == 0
    assert re.search(r"insplad_fault +fetch by hand +5 categories", capsys.readouterr().out)
    fetch_dataset("semiconductor_wafer", wafers[0])
    assert main(["data", "info", "semiconductor_wafer"]) == 0
    assert f"folder     {wafers[0]}" in capsys.readouterr().out
    for name, entry in registry().items():
        if "categories" in entry:
            assert main(["data", "info", name]) == 0
            printed = capsys.readouterr().out
            assert entry["licence"] in printed and entry["citation"] in printed
