"""Runs: one folder per trained model, with everything needed to reproduce, compare and use it.

    parameters.json   parameters, versions, image counts, times, metrics
    history.csv       a row per epoch
    scores.csv        a row per validation, calibration and test image
    calibration.csv   score and appearance of the normal images that set the threshold
    model.safetensors flow, attention and feature scale; AlexNet's weights are identified by their sha256

A folder is written completely or not at all. parameters.json has the sha256 of the other files and of itself: a run
with a changed, truncated or missing file is refused.
"""

import json
import math
import platform
import sys
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import safetensors.torch

from adnlib.datasets import Dataset, load_dataset
from adnlib.differnet import DifferNet
from adnlib.engine.checkpoint import drop_checkpoint
from adnlib.errors import AdnError
from adnlib.evaluation import Evaluation, evaluate, watch_test
from adnlib.experiments.config import RunConfig
from adnlib.experiments.ledger import (
    FORMAT,
    DamagedRunError,
    damaged,
    facts_digest,
    image_change,
    preset_change,
    read_facts,
    run_config,
)
from adnlib.imagesets.registry import registry
from adnlib.presets import Preset
from adnlib.system.files import recover, sha256, whole_folder
from adnlib.system.precision import resolve
from adnlib.training import History, fit

RESOLVED = ("precision", "flow_precision")  # of a preset: a run records what "auto" was resolved to
PACKAGES = ("torch", "torchvision", "FrEIA", "numpy", "scikit-learn", "attentdiffernet")


@dataclass(frozen=True)
class Run:
    """A finished run, read from its folder."""

    folder: Path
    facts: dict  # parameters.json

    @cached_property
    def config(self) -> RunConfig:
        """The parameters of the run. An older run may not name the only category of its data set; it is filled in."""
        config = run_config(self.facts)
        return config if config.category else config.canonical()

    @property
    def parameters(self) -> dict:
        """`config` as a dict."""
        return self.config.parameters

    @property
    def variant(self) -> str:
        """The run's name in tables, see `RunConfig.variant`."""
        return self.config.variant

    @cached_property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self._file("history.csv"))

    @cached_property
    def scores(self) -> pd.DataFrame:
        try:
            scores = pd.read_csv(self._file("scores.csv"), dtype={"score": float, "label": int}, keep_default_na=False)
            if scores[["part", "image", "defect", "label", "score"]]["score"].isna().any():  # infinite scores are valid
                raise ValueError
        except (ValueError, KeyError) as error:
            raise error if isinstance(error, AdnError) else damaged(self.folder, "scores.csv is incomplete") from error
        return scores

    @property
    def test(self) -> pd.DataFrame:
        return self.scores[self.scores["part"] == "test"]

    @cached_property
    def calibration(self) -> pd.DataFrame:
        """The normal images that set the threshold: score, brightness, contrast, sharpness. Older runs stored only the
        scores of the validation images."""
        if "calibration.csv" not in self.facts.get("digests", {}):
            return self.scores.loc[self.scores["part"] == "validation", ["score"]].reset_index(drop=True)
        return pd.read_csv(self._file("calibration.csv"))

    @property
    def calibrated(self) -> bool:
        """Whether `calibration` has images of its own. Otherwise they are the validation images, which also selected
        the epoch, and a promised rate holds only approximately."""
        return bool(self.facts["images"].get("calibration normal"))

    def dataset(self) -> Dataset:
        """The data set of the run, with the same split. AdnError if its images have changed since."""
        dataset = load_dataset(self.config.dataset, self.config.category)
        if change := image_change(self.facts, dataset):
            raise AdnError(f"{self.folder} was trained with {change}: train it again with --replace.")
        return dataset

    def model(self) -> DifferNet:
        """The trained model. AdnError if the saved state is not that of the model that the parameters describe."""
        precisions = {name: self.facts[name] for name in RESOLVED if name in self.facts}
        try:
            model = build_model(self.config, Preset(**{**self.facts["preset"], **precisions}))
            if self.facts["alexnet_sha256"] not in (None, registry()["alexnet"]["tensors_sha256"]):
                raise AdnError("it was trained with other weights of AlexNet")
            model.load_own_state(safetensors.torch.load_file(self._file("model.safetensors")))
        except (AdnError, KeyError, TypeError, safetensors.SafetensorError) as error:
            if str(self.folder) in str(error):
                raise
            raise damaged(self.folder, str(error).rstrip(".")) from error
        return model.eval()

    @cached_property
    def has_model(self) -> bool:
        """Whether the saved model is in the folder and intact."""
        try:
            self._file("model.safetensors")
        except DamagedRunError:
            return False
        return True

    def _file(self, name: str) -> Path:
        """The path of one of the run's files. AdnError if the file is missing or has changed since it was saved."""
        path = self.folder / name
        if not path.is_file():
            raise damaged(self.folder, f"{name} is missing")
        if self.facts.get("digests", {}).get(name) not in (None, sha256(path)):
            raise damaged(self.folder, f"{name} has been changed since it was written")
        return path


def build_model(config: RunConfig, preset: Preset | None = None) -> DifferNet:
    """The untrained model of a run; `preset` replaces the one that the config names."""
    return DifferNet(
        config.attention,
        config.placement,
        config.train_attention,
        preset=preset or config.preset,
        weights=config.weights,
        seed=config.seed,
        **config.options,
    )


def train_run(root: Path | str, config: RunConfig, *, progress: bool = True, replace: bool = False) -> Run:
    """Trains, evaluates and saves one run under `root`; progress: whether to show progress bars.

    replace: whether to replace a run of the same name that was trained with other images or an old preset; otherwise
    AdnError.
    """
    config = config.canonical()
    dataset, model = load_dataset(config.dataset, config.category), build_model(config)
    if not replace:
        refuse_other_runs(root, config, dataset)
    history = fit(
        model,
        dataset,
        seed=config.seed,
        device=config.device,
        progress=progress,
        checkpoint=checkpoint_folder(root, config),
        watch=watch_test(dataset, model.preset.test_every),
    )
    return save_run(root, config, model, dataset, history, evaluate(model, dataset))


def finished_run(root: Path | str, config: RunConfig) -> Run | None:
    """The run of `config` under `root` if it is finished, intact and was trained on the images of today, else None."""
    config = config.canonical()
    try:
        run = read_run(Path(root).resolve() / config.folder_name)
        old = preset_change(run.facts) or image_change(run.facts, load_dataset(config.dataset, config.category))
        return None if old else run
    except AdnError:
        return None


def refuse_other_runs(root: Path | str, config: RunConfig, dataset: Dataset) -> None:
    """AdnError if a run of this name was trained with other images or an old preset. A damaged one may be replaced."""
    folder = Path(root).resolve() / config.folder_name
    try:
        facts = read_facts(folder)
    except (FileNotFoundError, DamagedRunError):
        return
    if change := preset_change(facts) or image_change(facts, dataset):
        raise AdnError(
            f"{folder} was trained with {change}: choose another --runs folder, or replace the run with "
            "--replace (replace_run in 07_train)."
        )


def checkpoint_folder(root: Path | str, config: RunConfig) -> Path:
    """The folder of a run's checkpoint until `save_run`, next to the run's folder."""
    return Path(root).resolve() / f"{config.folder_name}.training"


def save_run(
    root: Path | str, config: RunConfig, model: DifferNet, dataset: Dataset, history: History, evaluation: Evaluation
) -> Run:
    """Writes a run's folder under `root`, replacing any run of the same name, and removes the checkpoint."""
    folder = Path(root).resolve() / config.folder_name
    facts = {
        "format": FORMAT,
        "parameters": config.parameters,
        "preset": asdict(model.preset),
        "metrics": {
            **_auroc_metrics(evaluation),
            "threshold": evaluation.threshold,
            "false_positive_rate": evaluation.false_positive_rate,
            **_protocols(history.epochs, evaluation.auroc),
        },
        "chosen_epoch": history.chosen_epoch,
        "seconds": {"fit": round(history.seconds, 2), "evaluate": round(evaluation.seconds, 2)},
        "parameter_counts": model.parameter_counts(),
        "images": dataset.counts,
        "images_digest": dataset.digest,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "device": str(model.device),
        **{name: resolve(getattr(model.preset, name), model.device) for name in RESOLVED},
        "alexnet_sha256": registry()["alexnet"]["tensors_sha256"] if model.weights == "imagenet" else None,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.own_state().items()}
    with whole_folder(folder) as new:
        history.epochs.to_csv(new / "history.csv", index=False)
        evaluation.scores.to_csv(new / "scores.csv", index=False)
        evaluation.calibration.to_csv(new / "calibration.csv", index=False)
        (new / "model.safetensors").write_bytes(safetensors.torch.save(tensors))
        facts["digests"] = {path.name: sha256(path) for path in sorted(new.iterdir())}
        facts["digest"] = facts_digest(facts)
        (new / "parameters.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    drop_checkpoint(checkpoint_folder(root, config))
    return Run(folder, facts)


def _auroc_metrics(evaluation: Evaluation) -> dict[str, float | None]:
    """The AUROC and its interval; None without test images."""
    values = dict(zip(("auroc", "auroc_low", "auroc_high"), (evaluation.auroc, *evaluation.interval), strict=True))
    return {name: None if math.isnan(value) else value for name, value in values.items()}


def _protocols(epochs: pd.DataFrame, chosen: float) -> dict[str, float]:
    """The test AUROC of the last epoch and of the best epoch on the test set, which is optimistic."""
    if "test_auroc" not in epochs:
        return {}
    evaluated = epochs["test_auroc"].dropna()
    return {"auroc_last": float(evaluated.iloc[-1]), "auroc_best_on_test": max(float(evaluated.max()), chosen)}


def read_run(folder: Path | str) -> Run:
    """The finished run in `folder`."""
    folder = Path(folder)
    recover(folder.parent)
    try:
        return Run(folder, read_facts(folder))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AdnError(f"{folder} holds no finished run: train one with `adn train` or notebooks/07_train.") from error


def read_runs(root: Path | str, **wanted) -> list[Run]:
    """All finished runs under `root` whose parameters equal `wanted`, e.g. dataset="elpv", seed=0; plain ones first.

    A damaged run is left out, with a sentence on standard error.
    """
    if "dataset" in wanted:
        images = RunConfig(wanted["dataset"], wanted.get("category")).canonical()
        wanted |= {name: getattr(images, name) for name in ("dataset", "category") if name in wanted}
    runs = []
    recover(Path(root))
    for path in sorted(Path(root).glob("*/parameters.json")):
        try:
            runs.append(read_run(path.parent))
        except AdnError as error:
            print(error, file=sys.stderr)
    runs = [run for run in runs if all(run.parameters.get(key) == value for key, value in wanted.items())]
    order = {None: 0, "se": 1, "cbam": 2}
    return sorted(runs, key=lambda run: (order.get(run.parameters["attention"], 3), run.folder.name))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def comparison(runs: list[Run]) -> pd.DataFrame:
    """A comparison table with a row for each run. The interval is over test images, not over seeds."""
    rows = []
    for run in runs:
        metrics, seconds, counts = run.facts["metrics"], run.facts["seconds"], run.facts["parameter_counts"]
        rows.append(
            {
                "variant": run.variant,
                "seed": run.parameters["seed"],
                "AUROC": _number(metrics["auroc"]),
                "95 % from": _number(metrics["auroc_low"]),
                "to": _number(metrics["auroc_high"]),
                "selected epoch": run.facts["chosen_epoch"],
                "training (s)": round(seconds["fit"]),
                "scoring (s)": round(seconds["evaluate"]),
                "parameters": sum(counts.values()),
                "in attention": counts["attention"],
            }
        )
    table = pd.DataFrame(rows)
    categories = [run.parameters["category"] for run in runs]
    if len(set(categories)) > 1:
        table.insert(0, "category", categories)
    return table
