"""The recipes of CONTRIBUTING.md, each followed on a copy of the project, and the project's files beside the code."""

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from test_project import ORDER

from adnlib.imagesets.registry import registry
from adnlib.system.folders import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (Add an? [^\n]+)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL))
# Tests that each recipe must pass besides its own: they must not demand more files than the recipe names.
RECIPES = {
    "Add an attention module": ("tests/experiments/test_attention_matrix.py", "committed_matrix"),
    "Add a data set": ("tests/imagesets/test_layouts.py", "elpv or published"),
    "Add a detector": ("tests/detectors/test_detectors.py", "committed or reaches"),
    "Add a lesson": ("tests/lessons/test_exercises.py", "refused"),
    "Add a panel": ("tests/panels/test_panels.py", "drawn_again or servers"),
}
STRUCTURE = "imports or glance"  # of tests/test_project.py
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The forms of a block's first line: "# PATH", "# PATH, below: TEXT", "# PATH, at the end".
FORM = re.compile(r"# (?P<path>[\w./-]+)(?:, (?:below: (?P<anchor>.+)|(?P<end>at the end)))?")
NOT_COPIED = (".git", ".venv", "runs", "sample", "__pycache__", "*.egg-info", ".*_cache", "*checkpoints")
TIMEOUT_S = 300  # for a block of commands on a busy machine; each takes a few seconds
RUNNER = """
import json, runpy, sys
for words in json.loads(sys.argv[1]):
    sys.argv = words
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise
"""


def follow(recipe: str, folder: Path) -> list[str]:
    """Follows every block of a recipe in a copy of the project; returns the files that it wrote or changed."""
    changed = set()
    for language, block in BLOCK.findall(SECTIONS[recipe]):
        first, _, rest = block.partition("\n")
        if language == "sh":
            run([widened(command, *RECIPES[recipe]) for command in block.splitlines()], folder)
        elif first == "# run":
            changed |= {name.split('"')[0] for name in re.findall(r'"(notebooks/\w+\.ipynb)', rest)}
            with contextlib.chdir(folder):
                exec(rest, {})
        else:
            changed.add(write(first, rest, folder))
    return sorted(changed)


def widened(command: str, path: str, names: str) -> str:
    """A command of pytest with more tests, in one process because its start takes seconds; others as they are."""
    if "pytest" not in command:
        return command
    command, _, own = command.partition(" -k ")
    own = own.strip('"')
    return f'{command} {path} tests/test_project.py -k "({own}) or {names} or {STRUCTURE}"'


def write(first: str, lines: str, folder: Path) -> str:
    """Writes, inserts or appends the lines of a block as its first line says; returns the path of the file."""
    form = FORM.fullmatch(first)
    assert form, f"the block begins with {first!r}: name a file there"
    path = folder / form["path"]
    if form["end"]:
        text = path.read_text(encoding="utf-8") + lines
    elif form["anchor"]:
        old = path.read_text(encoding="utf-8").splitlines(keepends=True)
        found = [index for index, line in enumerate(old) if line.strip().startswith(form["anchor"])]
        assert found, f"{form['path']} has no line that begins with {form['anchor']}"
        text = "".join([*old[: found[-1] + 1], lines, *old[found[-1] + 1 :]])
    else:
        assert not path.exists(), f"{form['path']} exists: it is not a new file"
        text = lines
    path.write_text(text, encoding="utf-8")
    return form["path"]


def run(commands: list[str], folder: Path) -> str:
    """Runs commands of a recipe in a copy of the project, on its adnlib, all in one Python process because imports take
    seconds; returns their output."""
    modules = []
    for command in commands:
        words = shlex.split(command.replace(".venv/bin/adn", ".venv/bin/python -m adnlib.cli"))
        assert words[:2] == [".venv/bin/python", "-m"], f"{command} is neither .venv/bin/adn nor .venv/bin/python -m"
        modules.append([*words[2:], *(("-q", "-p", "no:cacheprovider") if words[2] == "pytest" else ())])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "ADN_CACHE_GB": "0"}
    result = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps(modules)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    if result.returncode:
        raise AssertionError("\n".join([*commands, result.stdout[-6000:], result.stderr[-3000:]]))
    return result.stdout


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the project without images, results and environment."""
    folder = tmp_path / "copy"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*NOT_COPIED))
    return folder


@pytest.mark.process
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_works_as_written(recipe, copy):
    changed = follow(recipe, copy)
    code = [name for name in changed if name.endswith((".py", ".ipynb"))]
    for check in ("check", "format --check"):  # what `make lint` says of these files
        run([f".venv/bin/python -m ruff {check} --no-cache {' '.join(code)}"], copy)


@pytest.mark.process
def test_a_copy_imports_its_own_adnlib(tmp_path):
    (tmp_path / "adnlib").mkdir()
    (tmp_path / "adnlib" / "__init__.py").write_text("print(__file__)")
    (tmp_path / "adnlib" / "cli.py").touch()
    assert run([".venv/bin/adn data list"], tmp_path).startswith(str(tmp_path))


# --- the forms of a block ---


def test_every_recipe_is_tested():
    assert list(SECTIONS) == list(RECIPES)
    for section in SECTIONS.values():
        assert section.count("\n```") == 2 * len(BLOCK.findall(section))
        assert "```sh\n.venv/bin/" in section


def test_a_block_is_written_inserted_and_appended(tmp_path):
    write("# a.py", "x = {\n}\ny = {\n    1: 2,\n}\n", tmp_path)
    write("# a.py, below: 1:", "    3: 4,\n", tmp_path)
    write("# a.py, at the end", "\nz = 1\n", tmp_path)
    assert (tmp_path / "a.py").read_text() == "x = {\n}\ny = {\n    1: 2,\n    3: 4,\n}\n\nz = 1\n"


@pytest.mark.parametrize(
    "first, message",
    [
        ("import torch", "name a file there"),
        ("# a.py, below: x", "a.py has no line that begins with x"),
        ("# a.py", "a.py exists"),
    ],
)
def test_a_block_that_cannot_be_followed_is_named(tmp_path, first, message):
    (tmp_path / "a.py").write_text("y = 1\n")
    with pytest.raises(AssertionError, match=message):
        write(first, "", tmp_path)


def test_a_command_that_fails_stops_its_block_and_shows_its_output(tmp_path):
    (tmp_path / "first.py").write_text('raise SystemExit("no such thing")')
    (tmp_path / "second.py").write_text('print("reached")')
    commands = [f".venv/bin/python -m {name}" for name in ("second", "first", "second")]
    with pytest.raises(AssertionError, match="no such thing") as caught:
        run(commands, tmp_path)
    assert str(caught.value).count("reached") == 1
    with pytest.raises(AssertionError, match="make stubs is neither"):
        run(["make stubs"], tmp_path)


# --- what the recipes rest on ---


@pytest.mark.parametrize("layout, problem", [("elpv", None), ("", "layout = '' is not known; choose from elpv")])
def test_the_registry_checks_the_layout(tmp_path, layout, problem):
    path = tmp_path / "registry.toml"
    path.write_text(
        f'[buttons]\ntitle = "t"\nwhat = "w"\nlicence = "l"\ncitation = "c"\nurl = "https://example.org/a.zip"\n'
        f'file = "a.zip"\nlayout = "{layout}"\ncategories = {{ buttons = [7, 3, 4] }}\n',
        encoding="utf-8",
    )
    if problem is None:
        assert registry(path)["buttons"]["layout"] == layout
    else:
        with pytest.raises(ValueError, match=problem):
            registry(path)


def test_the_picture_lists_every_package_in_the_order_of_imports():
    picture = re.search(r"^adnlib/\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)[1]
    assert re.findall(r"^  (\w+)  ", picture, re.MULTILINE) == ORDER


def test_contributing_names_commands_that_exist():
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(re.findall(r"(?:`|    )make ([a-z-]+)", TEXT)) <= set(targets)


# --- the files beside the code ---


def read_yaml(path: str) -> dict:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_citation_has_pyprojects_version_and_both_papers():
    citation = read_yaml("CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == project["version"] and citation["license"] == project["license"]
    numbers = [one["value"] for reference in citation["references"] for one in reference["identifiers"]]
    assert numbers == ["arXiv:2311.02747", "arXiv:2008.12577"]
    assert all(reference["authors"] and reference["title"] for reference in citation["references"])


def test_the_workflow_runs_the_commands_of_contributing():
    workflow = read_yaml(".github/workflows/test.yml")
    [job] = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]
    assert commands == ["make lint", "make test"]
    versions = [step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")]
    assert versions == ["3.11"]  # the oldest that pyproject.toml allows


@pytest.mark.parametrize("name", ["bug", "question", "data_set"])
def test_an_issue_form_is_one(name):
    form = read_yaml(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert form["name"] and form["description"]
    fields = [part for part in form["body"] if part["type"] != "markdown"]
    assert fields and {part["type"] for part in fields} <= {"input", "textarea", "dropdown", "checkboxes"}
    assert all(part["attributes"]["label"] and part["id"] for part in fields)
    assert len({part["id"] for part in fields}) == len(fields)


def test_the_other_templates_can_be_read():
    assert set(read_yaml(".github/ISSUE_TEMPLATE/config.yml")) <= {"blank_issues_enabled", "contact_links"}
    assert "make test" in (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")


def test_the_hooks_are_ruff_of_the_pinned_version_and_nbstripout():
    repos = read_yaml(".pre-commit-config.yaml")["repos"]
    hooks = {hook["id"]: (repo, hook) for repo in repos for hook in repo["hooks"]}
    assert list(hooks) == ["nbstripout", "ruff-check", "ruff-format"]
    pinned = re.search(r"^ruff==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)[1]
    for name in ("ruff-check", "ruff-format"):
        repo, hook = hooks[name]
        assert repo["rev"] == f"v{pinned}" and "jupyter" in hook["types_or"]


def test_the_changelog_has_the_form_of_keep_a_changelog():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]" and all(re.match(r"\[\d+\.\d+\.\d+\]", heading) for heading in headings[1:])
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
