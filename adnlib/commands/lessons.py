"""`adn progress`, `reset` and `stubs`: the exercises in the notebooks."""

from argparse import Namespace
from pathlib import Path

from adnlib.commands.output import add_command, print
from adnlib.errors import AdnError


def add_commands(commands) -> None:
    """Declares the commands."""
    progress = add_command(commands, "progress", _progress, "show which exercises of the lessons are solved")
    reset = add_command(commands, "reset", _reset, "restore a lesson's exercises, after saving your answers")
    reset.add_argument("lesson", help="the lesson, such as 02")
    reset.add_argument("--yes", action="store_true", help="do not ask first")
    reset.add_argument("--restore", type=Path, metavar="FILE", help="bring back the answers that a reset has saved")
    stubs = add_command(
        commands, "stubs", _stubs, "copy the exercises and 07_train's parameters from adnlib into the notebooks"
    )
    for sub in (progress, reset, stubs):
        sub.add_argument("--notebooks", type=Path, help="the folder of the notebooks (default: the project's)")


def _folder(arguments: Namespace) -> Path:
    from adnlib.book.chapters import NOTEBOOKS

    return (arguments.notebooks or NOTEBOOKS).resolve()


def _progress(arguments: Namespace) -> None:
    from adnlib.lessons.answers import SOLVED, lessons, progress

    solved = total = 0
    for path in lessons(_folder(arguments)).values():
        print(path.stem)
        for name, (state, message) in progress(path).items():
            print(f"    {name:<24} {state}{': ' if message else ''}{message}")
            solved, total = solved + (state == SOLVED), total + 1
    print(f"\n{solved} of {total} exercises are solved")


def _reset(arguments: Namespace) -> None:
    from adnlib.lessons.answers import pick_lesson, reset, restore

    path = pick_lesson(_folder(arguments), arguments.lesson)
    if arguments.restore:
        print(f"restored   {', '.join(restore(path, arguments.restore))} in {path}")
        return
    question = f"Restore the exercises of {path.name}? Your answers are saved beside it first. [y/N] "
    if not arguments.yes and input(question).strip().lower() not in ("y", "yes"):
        print("nothing was changed")
        return
    saved = reset(path)
    print(f"saved      {saved}" if saved else "no answers were found")
    print(f"reset      {path}")


def _stubs(arguments: Namespace) -> None:
    import nbformat

    from adnlib.experiments.config import notebook_parameters
    from adnlib.lessons.answers import answers_in, lessons, write_notebook
    from adnlib.lessons.exercise import fill_exercises, lesson_module

    folder = _folder(arguments)
    for path in lessons(folder).values():
        if written := answers_in(nbformat.read(path, as_version=4), lesson_module(path)):
            names = ", ".join(written)
            raise AdnError(f"{path.name} has answers ({names}): save them first with `adn reset {path.stem[:2]}`.")
    for path in sorted(folder.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if path.stem == "07_train":
            [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
            cell.source = notebook_parameters()
        elif lesson := lesson_module(path):
            fill_exercises(notebook, lesson)
        else:
            continue
        write_notebook(notebook, path)
        print(f"stubs    {path.name}")
