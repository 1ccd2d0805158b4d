"""The structure of the project: one set of dependencies, one direction of imports, clean code, commands that exist."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
import yaml

from adnlib.system.folders import ROOT

# The rooms of adnlib, top-level modules and packages: an import goes to an earlier line or stays within its room.
ORDER = [
    "errors",
    "system",
    "imagesets",
    "attention",
    "models",
    *("datasets", "views", "pooling", "features", "flow", "presets", "differnet"),  # the road from an image to a score
    "engine",
    *("training", "intervals", "calibration", "evaluation"),  # its end
    "plots",
    "book",
    "experiments",
    "explain",
    "detectors",
    "inspection",
    "lessons",
    "panels",
    "commands",
    "cli",
]
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


def imports(source: str) -> set[str]:
    """The rooms of adnlib that a module imports, at any depth of its code; "" for adnlib's own names."""
    rooms = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "adnlib" else [node.module]
            )
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name and name.startswith("adnlib.")}
    return rooms


def wrong_imports(room: str, source: str) -> set[str]:
    """The imports of a module of `room` that go to a later room, or to a name of adnlib itself."""
    return {name for name in imports(source) if name not in ORDER or ORDER.index(name) > ORDER.index(room)}


@pytest.mark.parametrize("room", ORDER)
def test_imports_go_one_way(room):
    path = ROOT / "adnlib" / room
    for file in path.glob("*.py") if path.is_dir() else [path.with_suffix(".py")]:
        assert not wrong_imports(room, file.read_text(encoding="utf-8")), file


@pytest.mark.parametrize(
    "room, source, wrong",
    [
        ("views", "from adnlib.experiments.findings import published", "experiments"),
        ("views", "from adnlib import plots", "plots"),
        ("differnet", "def late():\n    import adnlib.training\n", "training"),
        ("attention", "from adnlib import DifferNet", "DifferNet"),
    ],
)
def test_a_planted_import_is_found(room, source, wrong):
    assert wrong_imports(room, source) == {wrong}


def test_every_room_has_its_place():
    found = {
        path.stem for path in (ROOT / "adnlib").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert found - {"__init__"} == set(ORDER)


def test_adnlib_can_be_seen_at_a_glance():
    assert len(list((ROOT / "adnlib").glob("*.py"))) <= 14
    lengths = {
        path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "adnlib").rglob("*.py")
    }
    lengths.pop("wild_parts.py")  # a renderer, best read from top to bottom
    assert max(lengths.values()) <= 320, max(lengths, key=lengths.get)


@pytest.mark.process
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


def readmes_python() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)


def test_the_readmes_python_is_the_library():
    import adnlib

    for name in re.findall(r"adnlib\.(\w+)", "".join(readmes_python())):
        assert getattr(adnlib, name)


@pytest.mark.slow
def test_the_readmes_camera_loop_runs(tiny_folder, tmp_path, capsys):
    from adnlib import RunConfig, load_dataset, train_run

    config = RunConfig(f"folder:{tiny_folder}", "tiny", preset="smoke", weights="random")
    run = train_run(tmp_path, config, progress=False)
    [code] = [block for block in readmes_python() if "camera" in block]
    camera = (sample.path for sample in load_dataset(f"folder:{tiny_folder}", "tiny").test)
    exec(code.replace("runs/RUN", str(run.folder)), {"camera": camera})
    assert code.count("\n") <= 10
    printed = capsys.readouterr().out
    assert "calibration images" in printed and "anomalous: score" in printed
