"""Without a clone: a wheel has the registry and the committed tables, and trains and scores."""

import shutil
import subprocess
import sys
import zipfile

import pytest

from adnlib.system.folders import ROOT

pytestmark = pytest.mark.process

CODE = """
import sys, adnlib
from adnlib.experiments.findings import committed_ledger, published
from adnlib.system.folders import DATA
assert adnlib.__file__.startswith(sys.argv[1]), adnlib.__file__
assert str(DATA).startswith(sys.argv[1]), DATA
dataset = adnlib.load_dataset("folder:" + sys.argv[2], "tiny")
model = adnlib.DifferNet(attention="se", preset="smoke", weights="random")
adnlib.fit(model, dataset, progress=False)
print(adnlib.evaluate(model, dataset).auroc, len(published("mvtec_ad")), len(committed_ledger()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the project."""
    copy, folder = tmp_path_factory.mktemp("copy") / "project", tmp_path_factory.mktemp("wheel")
    for name in ("adnlib", "data"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "sample"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", folder, copy], check=True, capture_output=True)
    [path] = folder.glob("*.whl")
    return path


def test_every_file_that_the_library_reads_is_inside(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {str(path.relative_to(ROOT)) for path in (ROOT / "adnlib").rglob("*.py")}
    panels = {str(path.relative_to(ROOT)) for path in (ROOT / "adnlib" / "panels").rglob("*.*")}
    panels = {name for name in panels if "__pycache__" not in name}
    tables = {
        f"adnlib/data/{path.name}" for path in (ROOT / "data").iterdir() if path.suffix in (".csv", ".toml", ".txt")
    }
    assert code | panels | tables <= names


def test_it_trains_scores_and_shows_the_published_tables(wheel, tiny_folder, tmp_path):
    with zipfile.ZipFile(wheel) as archive:  # what an installer does
        archive.extractall(tmp_path / "site")
    environment = {"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path), "PATH": "", "ADN_CACHE_GB": "0"}
    command = [sys.executable, "-c", CODE, str(tmp_path), str(tiny_folder)]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    auroc, published, runs = result.stdout.split()
    assert 0 <= float(auroc) <= 1 and int(published) > 10 and int(runs) > 100


def test_without_notebooks_the_commands_that_need_them_say_so(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = {"PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path), "PATH": ""}
    command = [sys.executable, "-m", "adnlib.cli", "run"]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 2 and "clone the project" in result.stderr, result.stderr
