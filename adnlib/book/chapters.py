"""The execution of notebooks with papermill."""

import logging
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from adnlib.errors import AdnError, KernelDiedError
from adnlib.system.folders import ROOT

NOTEBOOKS = ROOT / "notebooks"
RUNS = ROOT / "runs"
VARIANTS = (None, "se", "cbam")


@dataclass(frozen=True)
class Chapter:
    """One execution of one notebook. `notebook` names the source, `name` the executed notebook."""

    notebook: str
    parameters: dict = field(default_factory=dict)
    name: str = ""

    @property
    def title(self) -> str:
        return self.name or self.notebook


def training_chapters(**parameters) -> list[Chapter]:
    """07_train once for each variant."""
    return [Chapter("07_train", {"attention": v, **parameters}, f"07_train_{v or 'none'}") for v in VARIANTS]


def main_path() -> list[Chapter]:
    """What `make run` executes."""
    return [Chapter("00_start_here"), *training_chapters(), Chapter("08_results")]


def whole_book() -> list[Chapter]:
    """What `make book` executes: every notebook, in the order of their numbers."""
    names = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    return [c for name in names for c in (training_chapters() if name == "07_train" else [Chapter(name)])]


def check_notebook(path: Path, parameters: Iterable[str]) -> NotebookNode:
    """Reads a notebook; AdnError unless one cell is tagged `parameters` and assigns each of `parameters`.

    Without that cell, papermill runs the notebook with its defaults, and it only logs unknown parameters: the run would
    succeed, but not with the parameters that it was given.
    """
    if not path.exists():
        raise AdnError(f"There is no notebook {path}: clone the project, the installed library has no notebooks.")
    notebook = nbformat.read(path, as_version=4)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise AdnError(f"{path.name} has {len(tagged)} cells tagged 'parameters': tag exactly one.")
    known = papermill.inspect_notebook(str(path))
    for name in parameters:
        if name not in known:
            raise AdnError(f"{path.name} has no parameter {name!r}: choose from {', '.join(known)}.")
    return notebook


def execute(chapter: Chapter, folder: Path, label: str = "", notebooks: Path = NOTEBOOKS) -> Path:
    """Executes a chapter with papermill into `folder`; a bar shows notebook, cell and seconds.

    A failing cell raises AdnError with notebook, cell and error; the notebook executed so far is saved in `folder`.
    """
    source, target = notebooks / f"{chapter.notebook}.ipynb", folder / f"{chapter.title}.ipynb"
    check_notebook(source, chapter.parameters)
    folder.mkdir(parents=True, exist_ok=True)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")  # hides a debugger's warning in every kernel
    bar = {"desc": f"{label}{chapter.title}", "unit": "cell", "leave": True}
    try:
        with _kernel_settings() as config:
            papermill.execute_notebook(
                str(source),
                str(target),
                chapter.parameters,
                kernel_name="python3",
                cwd=str(notebooks),
                progress_bar=bar,
                config=config,
            )
    except DeadKernelError as error:
        raise KernelDiedError(
            f"The kernel of {source.name} was killed in cell [{_unfinished_cell(target)}], perhaps because memory ran "
            "out: close other programs and run it again."
        ) from error
    except PapermillExecutionError as error:
        raise AdnError(
            f"{source.name} failed in cell [{error.exec_count}] ({error.ename}: {error.evalue}); {target} shows where."
        ) from error
    return target


def _unfinished_cell(executed: Path) -> int:
    """The number of the first code cell that papermill has not completed."""
    cells = [cell for cell in nbformat.read(executed, as_version=4).cells if cell.cell_type == "code"]
    completed = [cell.metadata.get("papermill", {}).get("status") == "completed" for cell in cells]
    return completed.index(False) + 1 if False in completed else len(cells)


@contextmanager
def _kernel_settings() -> Iterator[Config]:
    """Kernel settings with sockets in a private folder instead of open ports: nobody else on the machine can listen,
    and the kernel has no reason to warn about it. Windows has no such sockets and uses ports."""
    with tempfile.TemporaryDirectory(prefix="adn-") as folder:
        unix = os.name == "posix"
        yield Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}} if unix else {})


def execute_all(chapters: list[Chapter], folder: Path) -> dict[str, float]:
    """Executes chapters one after the other; returns the seconds by title."""
    seconds = {}
    for number, chapter in enumerate(chapters, 1):
        start = time.perf_counter()
        execute(chapter, folder, f"{number}/{len(chapters)} ")
        seconds[chapter.title] = time.perf_counter() - start
    return seconds
