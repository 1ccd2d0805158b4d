"""A run's folder that was damaged, cut off or edited: one sentence with the folder and the remedy, never a number."""

import shutil

import pytest
from bad_input.runs import FACTS, FILES, OLD, edit, flip

from adnlib import AdnError, RunConfig, train_run
from adnlib.cli import main
from adnlib.experiments.ledger import read_ledger
from adnlib.experiments.runs import read_run, read_runs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def saved(tiny_folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("saved")
    options = dict(category="tiny", preset="smoke", weights="random")
    return [
        train_run(root, RunConfig(f"folder:{tiny_folder}", attention=name, **options)).folder for name in ("se", None)
    ]


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / "runs" / saved[0].name)


@pytest.mark.parametrize("kind", FACTS)
def test_edited_parameters_are_refused(folder, kind):
    change, sentence, _ = FACTS[kind]
    edit(folder / "parameters.json", change)
    with pytest.raises(AdnError, match=f"The run {folder} is damaged .*{sentence}"):
        read_run(folder)
    assert read_runs(folder.parent) == [] and list(read_ledger(folder.parent)["status"]) == ["damaged"]


@pytest.mark.parametrize("kind", [kind for kind, row in FACTS.items() if row[2]])
@pytest.mark.parametrize("form", ["sealed", "old"])
def test_what_cannot_be_true_is_refused_without_a_digest_too(folder, kind, form):
    change, _, sentence = FACTS[kind]
    edit(folder / "parameters.json", change, **{form: True})
    with pytest.raises(AdnError, match=f"The run {folder} is damaged .*{sentence}"):
        read_run(folder).model()


def use(run):
    run.model(), run.test, run.history


@pytest.mark.parametrize("kind", FILES)
def test_damaged_files_are_refused(folder, saved, kind):
    change, sentence = FILES[kind]
    change(folder, saved)
    with pytest.raises(AdnError, match=f"The run {folder} is damaged .*{sentence}"):
        use(read_run(folder))


@pytest.mark.parametrize("kind", OLD)
def test_damaged_files_of_an_older_run_are_refused(folder, saved, kind):
    edit(folder / "parameters.json", lambda facts: None, old=True)
    use(read_run(folder))
    change, sentence = OLD[kind]
    change(folder, saved)
    with pytest.raises(AdnError, match=f"The run {folder} is damaged .*{sentence}"):
        use(read_run(folder))


def test_explain_says_the_sentence(folder, tmp_path, capsys, tiny_folder):
    flip(folder / "model.safetensors")
    image = next((tiny_folder / "tiny" / "test" / "good").iterdir())
    assert main(["explain", str(image), "--run", str(folder), "--out", str(tmp_path / "out.png")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"adn: error: The run {folder} is damaged") and error.count("\n") == 1
    assert not (tmp_path / "out.png").exists()
