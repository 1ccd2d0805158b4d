"""The worst turns of phrase stay out of everything that a person reads; CONTRIBUTING.md has the word list."""

import io
import re
import token
import tokenize
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest

from adnlib.system.folders import ROOT

# What we avoid, and what to write instead. Each is a whole phrase, wherever its line is broken.
PHRASES = {
    r"mend(s|ed|ing)?": "fix",
    r"at hand": "available, here",
    r"goes on": "continues, resumes",
    r"who(m|so)?ever": "anyone who",
    r"stands? (here|there|beside|behind|by|under)": "is, follows",
    r"behind (a|an|the|each|every) (layer|stage|ReLU|pooling|convolution|block)s?": "after",
    r"but for": "except",
    r"of (its|their) own accord": "by itself",
    r"a coin": "chance",
    r"dice": "random generator",
    r"anew": "again",
    r"and the like": "such as",
    r"(of )?one's own": "your own",
    r"(has|have) not got": "has no",
    r"by the likelihood": "by maximising the likelihood",
    r"random starts?": "random initial weights",
    r"looks? at the test set": "evaluation on the test set",
    r"dims? as much": "has the same mean",
}
BREAK = r"(?:\s|#|//)+"  # between two words, also across two lines of a comment
PATTERN = re.compile("|".join(rf"\b{phrase.replace(' ', BREAK)}\b" for phrase in PHRASES))
FOLDERS = ("adnlib", "tests", "benchmarks", "notebooks", "data", "grids", "site", ".github")
KINDS = {".py", ".md", ".ipynb", ".toml", ".yml", ".js", ".j2", ".cff"}


def readable() -> Iterator[Path]:
    """Every file that a person reads."""
    for folder in FOLDERS:
        yield from (path for path in sorted((ROOT / folder).rglob("*")) if path.suffix in KINDS)
    yield from (path for path in sorted(ROOT.glob("*")) if path.suffix in KINDS or path.name == "Makefile")


def is_allowed(name: str, line: str) -> bool:
    """This test and the table in CONTRIBUTING.md name the phrases."""
    return name == "tests/test_prose.py" or (name == "CONTRIBUTING.md" and line.startswith("|"))


def prose_of(code: str) -> str:
    """Python code with its docstrings, comments and strings alone; each stays in its line."""
    kinds = {token.COMMENT, token.STRING, getattr(token, "FSTRING_MIDDLE", token.STRING)}
    lines = [""] * (code.count("\n") + 1)
    for one in tokenize.generate_tokens(io.StringIO(code).readline):
        if one.type in kinds:
            is_f_string = re.match(r"[a-zA-Z]*[fF]", one.string) and one.type == token.STRING  # before Python 3.12
            prose = re.sub(r"\{[^{}]*\}", "{}", one.string) if is_f_string else one.string
            for number, line in enumerate(prose.split("\n"), one.start[0] - 1):
                lines[number] += f" {line}" if not lines[number] else f" | {line}"
    return "\n".join(lines)


def lines_of(path: Path) -> list[tuple[str, str]]:
    """(place, line) of each line; the place in a notebook is its cell's id and the line there."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = prose_of(text)
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    if path.suffix != ".ipynb":
        return [(f"{name}:{number}", line) for number, line in enumerate(text.splitlines(), 1)]
    cells = nbformat.reads(text, as_version=4).cells
    return [
        (f"{name}:{cell.get('id', index)}:{number}", line)
        for index, cell in enumerate(cells)
        for number, line in enumerate(cell.source.splitlines(), 1)
    ]


def hits(path: Path) -> list[str]:
    """Every phrase to avoid in a file, as "file:line: phrase"."""
    lines = lines_of(path)
    text = "\n".join(line for _, line in lines)
    found = []
    for match in PATTERN.finditer(text):
        place, line = lines[text.count("\n", 0, match.start())]
        if not is_allowed(place.rsplit(":", 1)[0], line):
            phrase = re.sub(BREAK, " ", match[0])
            found.append(f"{place}: {phrase} (write: {instead(phrase)})")
    return found


def instead(phrase: str) -> str:
    """What to write instead of a phrase."""
    return next(better for pattern, better in PHRASES.items() if re.fullmatch(pattern, phrase))


def test_no_phrase_to_avoid_is_left():
    found = [hit for path in readable() for hit in hits(path)]
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize(
    "name, text, found",
    [
        ("a.md", "It is\nat\nhand.\n", ["a.md:2: at hand (write: available, here)"]),
        ("a.py", "x = 1\n# The module stands\n# behind it.\n", ["a.py:2: stands behind (write: is, follows)"]),
        ("a.py", 'dice = f(at, hand)\nf(f"{dice} anew", "at", "hand")\n', ["a.py:2: anew (write: again)"]),
        ("a.py", '"""An amended text, by handling a coinage."""\nmended_at_hand = 1\n', []),
    ],
)
def test_the_prose_test_can_fail(tmp_path, name, text, found):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert hits(tmp_path / name) == found


def test_a_hit_in_a_notebook_has_its_cell(tmp_path):
    cells = [nbformat.v4.new_markdown_cell("Fine.", id="a"), nbformat.v4.new_code_cell("x = 1\n# by a coin", id="b")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "n.ipynb")
    assert hits(tmp_path / "n.ipynb") == ["n.ipynb:b:2: a coin (write: chance)"]
