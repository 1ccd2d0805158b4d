"""The ledger: what stands in a folder of runs, as one table that pandas reads. It needs no torch and is quick."""

import hashlib
import json
from pathlib import Path

from adnlib.errors import AdnError

TRAINED = {False: "frozen", True: "trained"}  # other values of train_attention are words already
LABELS = {  # of attention modules; others are acronyms
    "constant": "constant gate",
    "coordinate": "coordinate attention",
    "simam": "SimAM",
    "gather_excite": "gather-excite",
    "global_context": "global context",
}


def run_name(dataset: str, category: str, attention: str | None, placement: str, train_attention: bool | str,
             preset: str, weights: str, seed: int, options: dict | None = None) -> str:  # fmt: skip
    """A folder's name from what makes the run, "elpv-mono-se-figure-frozen-fast-seed0". A folder of images is named
    by its last part and six digits of its path's sha256, since two folders may be called the same."""
    place = [placement, TRAINED.get(train_attention, train_attention)] if attention else []
    place += [f"{name}{value}" for name, value in sorted((options or {}).items())]
    if dataset.startswith("folder:"):
        path = Path(dataset.removeprefix("folder:")).expanduser().resolve()
        dataset = f"{path.name}_{hashlib.sha256(str(path).encode()).hexdigest()[:6]}"
    parts = [dataset, category, attention or "none", *place, preset]
    return "-".join([*filter(None, parts), *(["random-weights"] if weights == "random" else []), f"seed{seed}"])


def label(attention: str) -> str:
    """What a table calls an attention module: "SE", "coordinate attention", …"""
    return LABELS.get(attention, attention.upper())


def variant(parameters: dict) -> str:
    """What a table calls a run: "DifferNet", "SE, frozen", "CBAM, trained, after-pool5, reduction 2", …"""
    attention, options = parameters["attention"], parameters["options"]
    if attention is None:
        return "DifferNet"
    if attention == "constant":
        words = [f"constant gate {options.get('value', 0.5)}"]
    else:
        how = parameters["train_attention"]
        words = [label(attention), TRAINED.get(how, how)]
        words += [f"{name} {value}" if value is not True else name for name, value in sorted(options.items())]
    return ", ".join(words + [parameters["placement"]] * (parameters["placement"] != "figure"))


def read_ledger(root: Path | str):
    """A table with a row for each run in `root`: finished, running (or stopped) and failed ones.

    status: done, failed, or training; then the parameters, the AUROC under three protocols (see `adnlib.runs`),
    seconds, and for a failed run its sentence.
    """
    import pandas as pd

    rows = []
    for path in sorted(Path(root).glob("*")):
        if (path / "parameters.json").exists():
            rows.append({"run": path.name, "status": "done", **flat(read_facts(path))})
        elif path.suffix == ".failed":
            error = (path / "error.txt").read_text(encoding="utf-8").strip()
            rows.append({"run": path.stem, "status": "failed", "error": error})
        elif path.suffix == ".training":
            rows.append({"run": path.stem, "status": "training"})
    table = pd.DataFrame(rows, columns=None if rows else ["run", "status"])
    return table.drop_duplicates("run", ignore_index=True)


def read_facts(folder: Path) -> dict:
    """A finished run's parameters.json; AdnError where it lacks what names the run or what the ledger shows."""
    try:
        facts = json.loads((folder / "parameters.json").read_text(encoding="utf-8"))
        run_name(**facts["parameters"])
        flat(facts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AdnError(f"{folder} has a parameters.json that is cut short or of another version of this library: "
                       "remove the folder and train the run again.") from error  # fmt: skip
    return facts


def flat(facts: dict) -> dict:
    """A run's parameters.json as one row of the ledger."""
    parameters, metrics, seconds = facts["parameters"], facts["metrics"], facts["seconds"]
    row = {"variant": variant(parameters)} | {name: v for name, v in parameters.items() if name != "options"}
    row |= {"options": json.dumps(parameters["options"], sort_keys=True)} | metrics
    return row | {"seconds": seconds["fit"] + seconds["evaluate"], "chosen_epoch": facts["chosen_epoch"]}
