"""Shared fixtures: a tiny inspection data set with planted defects, and a folder for downloads that starts empty."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path

os.environ["ADN_CACHE_GB"] = "0"  # before adnlib is imported: tests leave nothing in the user's cache
if "PYTEST_XDIST_WORKER" in os.environ:  # a process for each core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import papermill
import pytest
from PIL import Image

import adnlib
from adnlib.system.folders import ROOT

REAL_CATEGORIES = ("mvtec_bottle", "mtd", "cplid_insulator", "wafer_sem_carinthia")
REAL_DATA = Path(os.environ.get("ADN_REAL_DATA", ROOT.parent / "shared" / "data"))


# The slowest files first, so that the workers end together (pytest.ini: --no-loadscope-reorder)
SLOWEST = [
    "test_sweeps",
    "test_notebooks",
    "test_training",
    "test_detectors",
    "test_maps",
    "test_backbones",
    "test_recipes",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts the tests by their file's time."""
    names = {name: number for number, name in enumerate(SLOWEST)}
    items.sort(key=lambda item: names.get(item.path.stem, len(names)))


@pytest.fixture(autouse=True)
def _only_marked_tests_execute_notebooks(request, monkeypatch):
    """`make quick` leaves out what is marked, so the mark must not be forgotten."""

    def refuse(*_, **__):
        pytest.fail("this test executes a notebook: mark it with @pytest.mark.notebook")

    if not request.node.get_closest_marker("notebook"):
        monkeypatch.setattr(papermill, "execute_notebook", refuse)


@pytest.fixture(autouse=True)
def _no_image_is_chosen():
    """The panels of a kernel share one chosen image, those of two tests must not."""
    if selection := sys.modules.get("adnlib.panels.selection"):
        selection.ImagePanel.choice = ()
        selection.ImagePanel.panels.clear()


def save_image(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def make_category(folder: Path, train: int = 12, test: int = 4, size: int = 64, seed: int = 0) -> Path:
    """A category in MVTec's layout: soft grey noise is normal, a bright square in it a "spot", with its mask."""
    rng = np.random.default_rng(seed)
    for part, defect, count in (("train", "good", train), ("test", "good", test), ("test", "spot", test)):
        for index in range(count):
            pixels = rng.normal(120, 8, (size, size, 3)).clip(0, 255).astype(np.uint8)
            if defect != "good":
                square = (slice(size // 4, size // 2),) * 2
                pixels[square] = 250
                mask = np.zeros((size, size), np.uint8)
                mask[square] = 255
                save_image(folder / "ground_truth" / defect / f"{index:03d}_mask.png", mask)
            save_image(folder / part / defect / f"{index:03d}.png", pixels)
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A folder of data with one category, `tiny`."""
    root = tmp_path_factory.mktemp("data")
    make_category(root / "tiny")
    return root


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    return adnlib.load_dataset(f"folder:{tiny_folder}", "tiny")


def tiny_parameters(notebook: str, tiny_folder: Path, runs: Path) -> dict:
    """The tiny data set and a folder of runs, for those parameters that a notebook has."""
    given = {"dataset": f"folder:{tiny_folder}", "category": "tiny", "runs": str(runs)}
    given |= {"folder": str(tiny_folder / "tiny"), "output": str(runs / "own")}
    known = papermill.inspect_notebook(str(ROOT / "notebooks" / f"{notebook}.ipynb"))
    return {name: value for name, value in given.items() if name in known}


@pytest.fixture
def empty_home(tmp_path, monkeypatch) -> Path:
    """No downloads at all, no torch cache, and a package index that holds nothing."""
    home = tmp_path / "home"
    monkeypatch.setenv("ADN_HOME", str(home))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    return home


@contextmanager
def full_disk(size: int):
    """Inside the block a file that grows beyond `size` bytes fails like one on a full disk (Linux and macOS)."""
    resource = pytest.importorskip("resource", reason="file-size limits exist on Linux and macOS only")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:  # before pytest writes its own log
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
