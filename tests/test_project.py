"""The project's own promises: one set of dependencies, one direction of imports, clean code, commands that exist."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from adnlib.files import ROOT

# An import goes from right to left only: adnlib's road from an image to a score, as in the README's picture.
ROAD = [
    "errors", "nodelay", "files", "fetch", "speed", "seeds", "weights", "archives", "elpv", "wild_parts", "images",
    "layouts", "datasets", "data_check", "views", "attention", "features", "backbones", "flow", "differnet",
    "compat", "cache", "extraction", "pretext", "training", "evaluation", "explain", "ledger", "evidence",
    "everywhere", "runs", "plots", "localisation", "panels", "peers", "checks", "book", "sweeps", "cli",
]  # fmt: skip
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(lines):
    return {re.sub(r"[-_.]+", "-", line.split(" #")[0].strip().lower()) for line in lines}


def test_environment_yml_is_pyprojects():
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    listed = yaml.safe_load(text)["dependencies"]
    pip = [line for line in listed[-1]["pip"] if not line.startswith("--")]
    conda = [line for line in listed[:-1] if not line.startswith("python=")]
    project = PYPROJECT["project"]
    assert requirements(pip + conda) == requirements(project["dependencies"] + project["optional-dependencies"]["test"])
    for line in text.splitlines():
        if re.match(r"\s+- [\w-]+>=", line):
            assert " # " in line, f"environment.yml gives no reason for {line.strip()}"


def test_constraints_pin_every_dependency_and_name_no_host():
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = {re.sub(r"[-_.]+", "-", name.lower()) for name in re.findall(r"^([\w.-]+)==[\w.]+", text, re.M)}
    wanted = {re.split(r">=", line)[0] for line in requirements(PYPROJECT["project"]["dependencies"])}
    assert wanted - {"pip"} <= pinned
    assert not re.search(r"https?://|--", text)


def files_of(name):
    """A module's file, or all files of a package."""
    path = ROOT / "adnlib" / name
    return sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


@pytest.mark.parametrize("name", ROAD)
def test_imports_go_one_way(name):
    for node in (node for file in files_of(name) for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adnlib."):
            imported = node.module.split(".")[1]
            assert ROAD.index(imported) <= ROAD.index(name), f"{name} imports {imported}, which stands behind it"


def test_every_module_is_on_the_road():
    found = {
        path.stem for path in (ROOT / "adnlib").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert found - {"__init__"} == set(ROAD)


def test_importing_has_no_side_effect():
    code = "import sys, adnlib; assert not {'torch', 'numpy', 'pandas'} & set(sys.modules); adnlib.DifferNet"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]])
def test_code_and_notebooks_are_clean(arguments):
    result = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments, "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


def test_the_readmes_commands_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert set(re.findall(r"make ([a-z-]+)\b", readme)) - {"on", "or"} <= set(targets)
    for name in re.findall(r"`(\d\d_\w+)`", readme):
        assert (ROOT / "notebooks" / f"{name}.ipynb").exists()
    from adnlib.cli import _parser

    commands = next(action for action in _parser()._actions if action.choices).choices
    assert set(re.findall(r"\badn ([a-z]+)", readme)) <= set(commands)


def test_ci_runs_the_readmes_test_command():
    assert "    make test " in (ROOT / "README.md").read_text(encoding="utf-8")
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").endswith("\nmake test\nmake test-browser\n")


def test_the_readmes_python_is_the_library():
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)[1]
    import adnlib

    for name in re.findall(r"adnlib\.(\w+)", code):
        assert getattr(adnlib, name)
