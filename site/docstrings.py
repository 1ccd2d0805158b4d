"""Docstrings as reStructuredText, and the links between classes and lessons, as an extension of Sphinx.

Our docstrings are plain text: `code` is in backticks, and indented lines are formulas, tables or code.
"""

import inspect
import json
import re
from pathlib import Path

LESSON = re.compile(r"notebooks/(\d\d_\w+)")


def to_rst(text: str, pages: dict[str, str]) -> str:
    """A plain docstring as reStructuredText: code stays code, indented lines become a literal block.

    pages: the page of each lesson."""
    lines, kind = [], "text"
    for line in text.split("\n"):
        before, kind = kind, _kind(line, kind)
        if kind != before and not {kind, before} & {"blank", "block blank"}:
            lines.append("")
        if kind == "block" and before not in ("block", "block blank"):
            lines += ["::", ""]
        lines.append(line if kind == "block" else _inline(line, pages))
    return "\n".join(lines)


def _kind(line: str, before: str) -> str:
    """What a line belongs to: "text", "list", "block" (indented), or "blank", also within a block."""
    if not line.strip():
        return "block blank" if before.startswith("block") else "blank"
    if line.startswith("    "):
        return "block"
    return "list" if line.startswith("- ") or (before == "list" and line.startswith("  ")) else "text"


def _inline(line: str, pages: dict[str, str]) -> str:
    """One line of prose, in which only backticks and links to lessons have a meaning."""
    parts = re.split(r"`([^`]+)`", line)
    for index, part in enumerate(parts):
        if index % 2:
            letters = re.match(r"\w", parts[index + 1])  # as in `Score`s
            parts[index] = f"``{part}``" + "\\ " * bool(letters)
        else:
            part = re.sub(r"([\\*|`])", r"\\\1", part)
            part = re.sub(r"(?<=\w)_(?!\w)", r"\\_", part)
            parts[index] = LESSON.sub(lambda m: f":doc:`{m[1]} <{pages[m[1]]}>`" if m[1] in pages else m[1], part)
    return "".join(parts)


def process(app, kind, name, thing, options, lines) -> None:
    """Rewrites a docstring in place, and adds the lessons that use the class or function."""
    text = "\n".join(lines)
    named = set(LESSON.findall(text))
    try:
        key = f"{inspect.unwrap(thing).__module__}.{thing.__qualname__}"
    except AttributeError:
        key = name
    used = [lesson for lesson in app.config.lessons["lessons_by_object"].get(key, []) if lesson not in named]
    if kind in ("class", "function") and used:
        text += "\n\nUsed in " + ", ".join(f"notebooks/{lesson}" for lesson in used) + "."
    lines[:] = to_rst(text, app.config.lessons["pages"]).split("\n")


def setup(app):
    table = json.loads((Path(app.confdir) / "facts.json").read_text(encoding="utf-8"))
    app.add_config_value("lessons", table, "env")
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}
