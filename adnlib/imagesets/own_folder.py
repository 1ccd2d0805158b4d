"""The user's own data sets: which folder "folder:PATH" names."""

from pathlib import Path

from adnlib.errors import AdnError
from adnlib.system.folders import ROOT

PREFIX = "folder:"


def is_own(name: str) -> bool:
    """Whether a data set is a folder of the user's, not one of data/registry.toml."""
    return name.startswith(PREFIX)


def own_folder(name: str, base: Path | None = None) -> Path:
    """The absolute path of "folder:PATH", without links; the folder need not exist.

    A relative PATH starts from `base` (default: the working directory). If that is anywhere inside a clone of the
    project, it starts from the clone's top folder, so it means the same in a notebook, in a command and in a grid.
    """
    path = name.removeprefix(PREFIX)
    if not path:
        raise AdnError(f"{name!r} names no folder: write {PREFIX}PATH.")
    try:
        folder = Path(path).expanduser()
        if not folder.is_absolute():
            folder = top_of(base or Path.cwd()) / folder
        folder = folder.resolve()
        str(folder).encode()
    except (ValueError, RuntimeError, OSError) as error:  # such as NUL, bytes that are no text, or links in a circle
        raise AdnError(f"{name!r} is not a path that can be used ({error}): name another folder.") from error
    return folder


def top_of(folder: Path) -> Path:
    """The top folder of the project's clone if `folder` is inside it, else `folder`."""
    inside = (ROOT / "notebooks").is_dir() and folder.resolve().is_relative_to(ROOT)
    return ROOT if inside else folder
