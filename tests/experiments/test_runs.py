import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from conftest import full_disk

from adnlib import AdnError, RunConfig, load_dataset, train_run
from adnlib.evaluation import score
from adnlib.experiments.ledger import FORMAT, facts_digest, read_ledger
from adnlib.experiments.runs import Run, comparison, finished_run, read_run, read_runs, refuse_other_runs
from adnlib.experiments.sweeps import changed_runs

ARGUMENTS = dict(category="tiny", preset="smoke", weights="random")


@pytest.fixture(scope="module")
def runs(tiny_folder, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for attention in ("cbam", None):
        train_run(root, RunConfig(f"folder:{tiny_folder}", attention=attention, **ARGUMENTS))
    return root


def test_a_run_says_everything_and_repeats(runs, tiny_folder, tmp_path):
    run = read_runs(runs, attention="cbam")[0]
    assert run.facts["images"]["train normal"] == 10
    assert run.facts["versions"]["torch"] and run.facts["parameters"]["seed"] == 0
    assert set(p.name for p in run.folder.iterdir()) == {
        "parameters.json",
        "history.csv",
        "scores.csv",
        "calibration.csv",
        "model.safetensors",
    }
    again = train_run(tmp_path, run.config)
    for name in ("scores.csv", "model.safetensors"):
        assert (again.folder / name).read_bytes() == (run.folder / name).read_bytes()
    assert again.facts["metrics"] == run.facts["metrics"]


def test_a_read_model_scores_as_the_trained_one(runs):
    run = read_runs(runs, attention="cbam")[0]
    dataset = run.dataset()
    assert np.array_equal(score(run.model(), dataset.test), run.test["score"].to_numpy())


def test_a_run_of_the_previous_format_is_read_and_a_newer_one_refused(runs, tmp_path):
    """Format 1 did not state its number; a parameter or preset field that it lacks has its default."""
    [run] = read_runs(runs, attention="cbam")
    folder = shutil.copytree(run.folder, tmp_path / run.folder.name)
    facts = dict(run.facts, parameters=dict(run.facts["parameters"]), preset=dict(run.facts["preset"]))
    del facts["format"], facts["parameters"]["options"], facts["preset"]["max_norm"]
    (folder / "parameters.json").write_text(json.dumps(facts))
    old = read_run(folder)
    assert old.config == run.config
    assert np.array_equal(score(old.model(), run.dataset().test), run.test["score"].to_numpy())
    (folder / "parameters.json").write_text(json.dumps(facts | {"format": 99}))
    with pytest.raises(AdnError, match="is from a newer version of this library: update the library"):
        read_run(folder)


def test_a_run_of_other_images_is_not_replaced_unless_asked(tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "images")
    config = RunConfig(f"folder:{folder}", **ARGUMENTS)
    run = train_run(tmp_path / "runs", config)
    scores = (run.folder / "scores.csv").read_bytes()
    train_run(tmp_path / "runs", config)  # the same images: the same run
    assert (run.folder / "scores.csv").read_bytes() == scores and changed_runs([config], tmp_path / "runs") == {}
    image = next((folder / "tiny" / "train" / "good").iterdir())
    shutil.copy(image, image.with_name(f"copy{image.suffix}"))
    message = (
        rf"{run.folder} was trained with other images \(20 then, 21 now\): choose another --runs folder, or replace"
    )
    with pytest.raises(AdnError, match=message):
        train_run(tmp_path / "runs", config)
    with pytest.raises(AdnError, match="was trained with other images"):
        read_run(run.folder).dataset()
    assert (run.folder / "scores.csv").read_bytes() == scores
    assert changed_runs([config], tmp_path / "runs") == {run.folder.name: "other images (20 then, 21 now)"}
    path = run.folder / "parameters.json"
    content = path.read_text()
    path.write_text(content.replace(f'"format": {FORMAT}', '"format": 99'))
    with pytest.raises(AdnError, match="is from a newer version of this library"):
        train_run(tmp_path / "runs", config)
    path.write_text(content)
    again = train_run(tmp_path / "runs", config, replace=True)
    assert again.folder == run.folder and sum(again.facts["images"].values()) == 21
    assert again.dataset().digest != run.facts["images_digest"]


def test_a_run_of_an_old_preset_has_its_old_name_and_is_not_replaced_unless_asked(tiny_folder, tmp_path):
    """The presets fast, lean and unscaled meant something else before format 4."""
    config = RunConfig(f"folder:{tiny_folder}", "tiny", weights="random")
    folder = tmp_path / config.folder_name
    run = train_run(tmp_path, replace(config, preset="smoke"))
    facts = {**run.facts, "format": 3, "parameters": config.parameters}
    facts["digest"] = facts_digest(facts)
    run.folder.rename(folder)
    (folder / "parameters.json").write_text(json.dumps(facts))
    assert read_run(folder).parameters["preset"] == read_ledger(tmp_path)["preset"].item() == "fast-2026-11"
    assert changed_runs([config], tmp_path) == {folder.name: "the preset fast-2026-11"}
    assert finished_run(tmp_path, config) is None
    with pytest.raises(AdnError, match="was trained with the preset fast-2026-11: choose another --runs folder"):
        refuse_other_runs(tmp_path, config, run.dataset())


@pytest.mark.parametrize("part", ["train/good", "test/good", "test/spot", "ground_truth/spot"])
def test_the_digest_of_images_sees_content_names_and_parts(tiny_folder, tmp_path, part):
    digests = set()
    for number, change in enumerate((None, "content", "name", "removed")):
        folder = shutil.copytree(tiny_folder, tmp_path / str(number))
        path = max((folder / "tiny" / part).iterdir())
        if change == "content":
            path.write_bytes(path.read_bytes() + b"0")
        elif change == "name":
            path.rename(path.with_name(f"x{path.name}"))
        elif change == "removed":
            path.unlink()
        digests.add(load_dataset(f"folder:{folder}", "tiny").digest)
    assert len(digests) == (3 if part.startswith("ground_truth") else 4)  # a mask of another name belongs to no image


def test_plain_comes_first_and_the_table_has_what_readers_ask(runs):
    table = comparison(read_runs(runs))
    assert list(table["variant"]) == ["DifferNet", "CBAM, frozen"]
    assert {"AUROC", "95 % from", "to", "training (s)", "scoring (s)", "parameters", "in attention"} <= set(table)
    assert (table["95 % from"] <= table["AUROC"]).all() and (table["AUROC"] <= table["to"]).all()
    assert table["in attention"][0] == 0 < table["in attention"][1]


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({"attention": None}, "DifferNet"),
        ({"attention": "se"}, "SE, frozen"),
        ({"attention": "cbam", "train_attention": True, "placement": "after-pool5"}, "CBAM, trained, after-pool5"),
        ({"attention": "se", "options": {"reduction": 2}}, "SE, frozen, reduction 2"),
        ({"attention": "se", "train_attention": "guarded", "options": {"identity": True}}, "SE, guarded, identity"),
        ({"attention": "se", "train_attention": "cutpaste"}, "SE, cutpaste"),
        ({"attention": "constant", "options": {"value": 0.25}}, "constant gate 0.25"),
    ],
)
def test_a_variants_name_tells_it_from_others(tmp_path, parameters, words):
    assert RunConfig(**parameters).variant == Run(tmp_path, {"parameters": parameters}).variant == words


def test_filters_and_missing_runs(runs, tmp_path):
    assert read_runs(runs, seed=7) == [] == read_runs(tmp_path)
    with pytest.raises(AdnError, match="holds no finished run"):
        read_run(tmp_path)


def test_names_tell_runs_apart(tmp_path):
    assert RunConfig().folder_name == "elpv-mono-none-fast-seed0"
    assert RunConfig(attention="se", train_attention=True, weights="random", seed=3).folder_name == (
        "elpv-mono-se-figure-trained-fast-random-weights-seed3"
    )
    names = {RunConfig(attention="se", options={"reduction": r}).folder_name for r in (2, 16)}
    assert names == {f"elpv-mono-se-figure-frozen-reduction{r}-fast-seed0" for r in (2, 16)}
    first, second = (RunConfig(f"folder:{tmp_path / name / 'images'}", "a").folder_name for name in ("first", "second"))
    assert first != second and first.startswith("images_")


@pytest.mark.slow
def test_a_full_disk_keeps_the_older_run(runs, tiny_folder):
    run = read_runs(runs, attention=None)[0]
    before = {path.name: path.read_bytes() for path in run.folder.iterdir()}
    with pytest.raises(AdnError, match="The disk is full while writing to"), full_disk(50_000):
        train_run(runs, RunConfig(f"folder:{tiny_folder}", **ARGUMENTS))
    assert {path.name: path.read_bytes() for path in run.folder.iterdir()} == before
    assert not list(runs.glob(".tmp*"))


def test_files_are_plain(runs):
    run = read_runs(runs)[0]
    assert json.loads((run.folder / "parameters.json").read_text())["preset"]["name"] == "smoke"
    assert list(pd.read_csv(run.folder / "history.csv")) == [
        "epoch",
        "train_nll",
        "validation_nll",
        "seconds",
        "test_auroc",
    ]
    assert list(run.scores) == ["part", "image", "defect", "label", "score"]
