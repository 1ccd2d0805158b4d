"""Grid files, and the one description of a run that their points become."""

from dataclasses import asdict

import nbformat
import pytest
from conftest import make_category

from adnlib import AdnError, RunConfig
from adnlib.book.chapters import NOTEBOOKS
from adnlib.experiments.config import notebook_parameters
from adnlib.experiments.grid import grid_runs, read_grid


def test_points_are_all_combinations_once():
    runs = grid_runs([{"attention": ["none", "se"], "placement": ["figure", "before-pool"], "seed": [0, 1]}])
    assert len(runs) == 6  # the plain DifferNet has no placement
    assert [run.seed for run in runs if run.attention is None] == [0, 1]


def test_a_relative_folder_starts_from_the_grid_file(tmp_path):
    (tmp_path / "grids").mkdir()
    (tmp_path / "grids" / "a.toml").write_text('[[grid]]\ndataset = "folder:../data"\ncategory = "tiny"\n')
    assert read_grid(tmp_path / "grids" / "a.toml")[0].dataset == f"folder:{tmp_path / 'data'}"


def test_all_stands_for_each_category(tmp_path):
    for category in ("one", "two"):
        make_category(tmp_path / category)
    tables = [{"dataset": f"folder:{tmp_path}", "category": "all"}]
    assert [run.category for run in grid_runs(tables)] == ["one", "two"]


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "There is no grid file"),
        ("[[grid]\n", "cannot be read .*line 1.*: fix that line"),
        ("seed = 1\n", r"must contain only tables \[\[grid\]\]"),
        ("[grid]\nseed = 1\n", "must contain only tables"),
        ("[[grid]]\nsed = 1\n", "'sed' is not a parameter of a run: choose from dataset, category"),
        ("[[grid]]\nseed = []\n", "has no points"),
        ("grid = [1, 2]\n", r"must contain only tables \[\[grid\]\]"),
        ("[[grid]]\ndataset = 3\n", "grid.toml: dataset = 3 has the wrong type: write a string."),
        ("[[grid]]\ncategory = ['mono', 1]\n", "category = 1 has the wrong type: write a string."),
        ("[[grid]]\nattention = true\n", "attention = True has the wrong type: write a string."),
        ("[[grid]]\noptions = 5\n", "options = 5 has the wrong type: write a table."),
        ("[[grid]]\nseed = 'x'\n", "seed = 'x' has the wrong type: write a whole number."),
        ("[[grid]]\nseed = true\n", "seed = True has the wrong type: write a whole number."),
        ("[[grid]]\ntrain_attention = 1\n", "train_attention = 1 has the wrong type: write true or false or a string."),
    ],
)
def test_bad_grids(tmp_path, content, message):
    path = tmp_path / "grid.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(AdnError, match=message):
        read_grid(path)


def test_what_may_be_none_may_be_none():
    assert grid_runs([{"category": None, "attention": None}])[0].category is None


def test_07_trains_parameters_are_a_runs():
    """`adn stubs` writes them."""
    notebook = nbformat.read(NOTEBOOKS / "07_train.ipynb", as_version=4)
    [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert cell.source == notebook_parameters()
    namespace = {}
    exec(cell.source, namespace)
    assert {name: namespace[name] for name in asdict(RunConfig())} == asdict(RunConfig())
