"""The reader's answers in the notebooks of the lessons: which are right, and a reset that loses none of them."""

import contextlib
import inspect
import io
import math
import re
from pathlib import Path

import nbformat
import numpy as np
import torch
import torch.nn.functional as F
from nbformat import NotebookNode

from adnlib.errors import AdnError
from adnlib.lessons.exercise import Mistake, exercises, fill_exercises, lesson_module, stub_source
from adnlib.system.files import write_whole

CELL = "# %% "  # begins each answer in a file of answers, followed by the exercise's name
SOLVED, UNWRITTEN, WRONG = "solved", "not written", "not yet"


def lessons(folder: Path) -> dict[str, Path]:
    """The notebooks in a folder that have exercises, by the two digits of their names."""
    return {path.stem[:2]: path for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")) if lesson_module(path)}


def pick_lesson(folder: Path, wanted: str) -> Path:
    """The notebook of a lesson such as "02", "2" or "02_squeeze_and_excitation"."""
    found = lessons(folder)
    name = Path(wanted).stem
    key = name.zfill(2) if name.isdigit() else name[:2]
    if key not in found or not found[key].stem.startswith(name.zfill(2) if name.isdigit() else name):
        known = ", ".join(path.stem for path in found.values())
        raise AdnError(f"{wanted!r} is not a lesson with exercises in {folder}: choose one of {known}.")
    return found[key]


def answers_in(notebook: NotebookNode, lesson) -> dict[str, str]:
    """The answers that were written: exercise -> source of its cell. Untouched stubs are left out."""
    stubs = {name: stub_source(check.solution) for name, check in exercises(lesson).items()}
    written = {}
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            kind, _, name = tag.partition(":")
            untouched = f"{name} is yours to write" in cell.source  # also a stub of an older version
            code = [line for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#")]
            if kind == "stub" and code and cell.source.strip() != stubs.get(name, "").strip() and not untouched:
                written[name] = cell.source
    return written


def progress(path: Path) -> dict[str, tuple[str, str]]:
    """For each exercise of a lesson whether it is solved, not written or not yet right, and the check's message."""
    lesson = lesson_module(path)
    written, states = answers_in(nbformat.read(path, as_version=4), lesson), {}
    for name, check in exercises(lesson).items():
        if name not in written:
            states[name] = (UNWRITTEN, "")
            continue
        own = vars(inspect.getmodule(check.solution))  # names that its solution uses
        namespace = {**own, **vars(lesson), "torch": torch, "np": np, "F": F, "nn": torch.nn, "math": math}
        try:
            exec(written[name], namespace)
            with contextlib.redirect_stdout(io.StringIO()):
                check(namespace[name])
            states[name] = (SOLVED, "")
        except Mistake as mistake:
            states[name] = (WRONG, str(mistake))
        except Exception as error:
            states[name] = (WRONG, f"The cell raises {type(error).__name__}: {error}")
    return states


def reset(path: Path) -> Path | None:
    """Restores the exercises of a notebook and clears its outputs; returns the file in which the answers were saved,
    None if there were none. The file is new: FILE.answers.py, then FILE.answers2.py, …"""
    notebook, lesson = nbformat.read(path, as_version=4), lesson_module(path)
    written = answers_in(notebook, lesson)
    saved = None
    if written:
        files = (path.with_suffix(f".answers{number}.py") for number in ("", *range(2, 10_000)))
        saved = next(file for file in files if not file.exists())
        write_whole(saved, "".join(f"{CELL}{name}\n{source}\n\n" for name, source in written.items()).encode())
    write_notebook(fill_exercises(_without_outputs(notebook), lesson), path)
    return saved


def restore(path: Path, file: Path) -> list[str]:
    """Writes the answers of a file into the notebook; returns the names of their exercises.

    AdnError if the file has no answer to an exercise of this lesson, or if the notebook has other answers, which a
    reset would save.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AdnError(f"{file} cannot be read ({error}): name a file that `adn reset` has saved.") from error
    notebook, lesson = nbformat.read(path, as_version=4), lesson_module(path)
    parts = re.split(rf"^{CELL}(\w+)\n", text, flags=re.MULTILINE)
    answers = {name: source.rstrip() for name, source in zip(parts[1::2], parts[2::2], strict=True)}
    known = answers.keys() & exercises(lesson).keys()
    if not known:
        raise AdnError(f"{file} has no answer to an exercise of {path.stem}: name a file that `adn reset` has saved.")
    other = [name for name, source in answers_in(notebook, lesson).items() if source.rstrip() != answers.get(name)]
    if other:
        raise AdnError(f"{path.name} has other answers ({', '.join(other)}): save them first with `adn reset`.")
    for cell in notebook.cells:
        for tag in cell.metadata.get("tags", []):
            kind, _, name = tag.partition(":")
            if kind == "stub" and name in answers:
                cell.source = answers[name]
    write_notebook(notebook, path)
    return sorted(known)


def _without_outputs(notebook: NotebookNode) -> NotebookNode:
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Writes a notebook as the project's are written."""
    write_whole(path, (nbformat.writes(notebook, indent=1) + "\n").encode())
