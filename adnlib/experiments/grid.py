"""Grid files: many runs in a few lines of TOML.

A grid is a list of tables [[grid]]. Each key is a parameter of a run, with one value or a list of values. A table
describes all combinations of its values, the points of the grid.

    [[grid]]
    dataset = "elpv"
    category = ["mono", "poly"]
    attention = ["none", "se", "cbam"]
    seed = [0, 1, 2]

`attention = "none"` is the plain DifferNet; `category = "all"` means every category of the data set. A relative
"folder:PATH" starts from the project's top folder or, for a grid file outside the project, from its folder.
"""

import itertools
import json
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from adnlib.errors import AdnError
from adnlib.experiments.config import RunConfig
from adnlib.imagesets.own_folder import PREFIX, is_own, own_folder


def read_tables(path: Path | str) -> list[dict]:
    """The tables of a grid file. AdnError if it cannot be read or contains anything else."""
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise AdnError(f"There is no grid file {path}: grids/ has examples.") from error
    except ValueError as error:
        raise AdnError(f"The grid file {path} cannot be read ({error}): fix that line.") from error
    tables = content.get("grid")
    if set(content) != {"grid"} or not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables):
        raise AdnError(f"The grid file {path} must contain only tables [[grid]]: see grids/quick.toml.")
    return tables


def expand(tables: Iterable[dict], base: Path | None = None) -> Iterator[dict]:
    """All combinations of the values of each table, in order. A relative "folder:PATH" starts from `base`, see
    `adnlib.imagesets.own_folder`."""
    for table in tables:
        values = [value if isinstance(value, list) else [value] for value in table.values()]
        for combination in itertools.product(*values):
            point = dict(zip(table, combination, strict=True))
            dataset = point.get("dataset")
            if base and isinstance(dataset, str) and is_own(dataset):
                point["dataset"] = f"{PREFIX}{own_folder(dataset, base)}"
            yield point


def point_name(point: dict) -> str:
    """The key of a grid point in a table: its values, without the path of a folder."""
    return json.dumps({**point, "dataset": point["dataset"].split(":")[0]}, sort_keys=True)


def read_grid(path: Path | str) -> list[RunConfig]:
    """The runs of a grid file. AdnError names what is wrong in it."""
    return grid_runs(read_tables(path), str(path), Path(path).resolve().parent)


def grid_runs(tables: Iterable[dict], source: str = "the grid", base: Path | None = None) -> list[RunConfig]:
    """The runs of grid tables, in order and without duplicates. Parameters that a table omits have their defaults."""
    runs = {}
    for point in expand(tables, base):
        try:
            config = RunConfig.from_dict(point)
        except AdnError as error:
            raise AdnError(f"{source}: {error}") from error
        if config.attention in (None, "none"):
            config = config.without_attention()
        for category in _category_names(config.dataset) if config.category == "all" else [config.category]:
            run = replace(config, category=category).canonical()
            runs[run.folder_name] = run
    if not runs:
        raise AdnError(f"{source} has no points: write at least one table [[grid]].")
    return list(runs.values())


def _category_names(dataset: str) -> list[str]:
    from adnlib.datasets import category_names  # imports torch, which other grids do not need

    return category_names(dataset)
