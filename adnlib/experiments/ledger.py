"""The ledger: the runs in a folder as one table. It is fast because it does not import torch."""

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from adnlib.errors import AdnError, check_choice
from adnlib.experiments.config import RunConfig
from adnlib.system.files import machine_lock, recover, write_whole

if TYPE_CHECKING:
    import pandas as pd

    from adnlib.datasets import Dataset

PAIRED_BY = ["dataset", "category", "preset", "weights", "seed"]  # two runs can be compared if they share these
KEY = [*PAIRED_BY, "variant"]  # identifies a row of a shared ledger
PROTOCOLS = {  # columns of the ledger; all three are always shown together
    "auroc": "epoch chosen on normal validation images",
    "auroc_last": "last epoch",
    "auroc_best_on_test": "best on test (optimistic, as published)",
}
FORMAT = 4  # of parameters.json: 1 does not state a number; 2 has no digests; 3 is older than today's presets
RENAMED = ("fast", "lean", "unscaled")  # presets that meant something else before format 4
OLD = "-2026-11"  # added to their names


def read_ledger(root: Path | str) -> "pd.DataFrame":
    """A table with a row for each run in `root`, whether it is finished, in training (or stopped), failed or damaged.

    Columns: status (done, failed, training or damaged), the parameters, the AUROC under the three PROTOCOLS, seconds,
    and the error of a failed or damaged run.
    """
    import pandas as pd

    rows = []
    recover(Path(root))
    for path in sorted(Path(root).glob("*")):
        if (path / "parameters.json").exists():
            try:
                rows.append({"run": path.name, "status": "done", **ledger_row(read_facts(path))})
            except AdnError as error:  # the other runs are listed all the same
                rows.append({"run": path.name, "status": "damaged", "error": str(error)})
        elif path.suffix == ".failed":
            error = (path / "error.txt").read_text(encoding="utf-8").strip()
            rows.append({"run": path.stem, "status": "failed", "error": error})
        elif path.suffix == ".training":
            rows.append({"run": path.stem, "status": "training"})
    table = pd.DataFrame(rows, columns=None if rows else ["run", "status"])
    return table.drop_duplicates("run", ignore_index=True)


def read_facts(folder: Path) -> dict:
    """The parameters.json of a finished run. AdnError if the run is damaged or from a newer version of the library.

    Files of format 3 contain a digest of themselves and of the run's other files; older ones have none to compare.
    """
    try:
        facts = json.loads((folder / "parameters.json").read_text(encoding="utf-8"))
        version = facts.get("format", 1)
        if version <= FORMAT:
            numbers = {**facts["metrics"], **facts["seconds"], "chosen_epoch": facts["chosen_epoch"]}
            tested = facts.get("images", {}).get("test normal", 1)  # without test images there is no AUROC
            for name, value in [*numbers.items(), ("threshold", facts["metrics"]["threshold"])]:
                if value is None and not tested and name.startswith("auroc"):
                    continue
                if not isinstance(value, (int, float)) or type(value) not in (int, float) or not math.isfinite(value):
                    raise AdnError(f"{name} is {value!r}, not a number")
            ledger_row(facts)
            missing = [name for name in facts.get("digests", {}) if not (folder / name).is_file()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error) if isinstance(error, AdnError) else "its parameters.json is incomplete"
        raise damaged(folder, reason.rstrip(".")) from error
    if version > FORMAT:
        raise AdnError(f"{folder} is from a newer version of this library: update the library or train the run again.")
    if version >= 3 and facts.get("digest") != facts_digest(facts):
        raise damaged(folder, "its parameters.json has been changed since it was written")
    if missing:
        raise damaged(folder, f"{missing[0]} is missing")
    return facts


class DamagedRunError(AdnError):
    """A run that must not be used."""


def damaged(folder: Path, reason: object) -> DamagedRunError:
    """The error for a damaged run, with its folder, the reason and the remedy."""
    return DamagedRunError(
        f"The run {folder} is damaged ({reason}): restore the folder from a copy or train the run again."
    )


def run_config(facts: dict) -> RunConfig:
    """The parameters of a run. A preset that meant something else when the run was trained has its old name now."""
    values = facts["parameters"]
    if facts.get("format", 1) < 4 and (preset := values.get("preset", RunConfig.preset)) in RENAMED:
        values = {**values, "preset": preset + OLD}
    return RunConfig.from_dict(values)


def preset_change(facts: dict) -> str:
    """The old preset under whose present name a run's folder is; "" if it still means the same."""
    preset = run_config(facts).preset
    return "" if preset == facts["parameters"].get("preset", RunConfig.preset) else f"the preset {preset}"


def image_change(facts: dict, dataset: "Dataset") -> str:
    """How the images of a run's data set have changed since the run was trained; "" if they have not."""
    if facts.get("images_digest") in (None, dataset.digest):  # runs of an older format do not know their images
        return ""
    before, now = sum(facts["images"].values()), sum(dataset.counts.values())
    how = f"{before} then, {now} now" if before != now else "the same number with other contents or names"
    return f"other images ({how})"


def facts_digest(facts: dict) -> str:
    """The sha256 of a parameters.json without its entry "digest"."""
    content = {key: value for key, value in facts.items() if key != "digest"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def ledger_row(facts: dict) -> dict:
    """The parameters.json of a run as a row of the ledger."""
    metrics, seconds = facts["metrics"], facts["seconds"]
    row = run_config(facts).row | metrics
    return row | {"seconds": seconds["fit"] + seconds["evaluate"], "chosen_epoch": facts["chosen_epoch"]}


def read_shared(path: Path) -> "pd.DataFrame":
    """A ledger written by `share`. AdnError if the file contains anything else."""
    import pandas as pd

    try:
        ledger = pd.read_csv(path, keep_default_na=False, na_values=[""])  # "NA" may be the name of a category
    except ValueError:  # pandas' own errors and bytes that are not text
        ledger = pd.DataFrame()
    if not {"run", "status", "auroc", *KEY} <= set(ledger):
        raise AdnError(f"{path} exists but is not a ledger of runs: name another file.")
    return ledger


def share(ledger: "pd.DataFrame", path: Path) -> None:
    """Adds the finished runs of a ledger to a CSV file, without any path of this machine."""
    finished = ledger[ledger["status"] == "done"]
    if finished.empty:
        print(f"no run is finished yet: {path} is unchanged")
        return
    named = without_paths(finished)
    if same := list(finished["run"][named.duplicated(KEY, keep=False)][:2]):
        raise AdnError(
            f"{same[0]} and {same[1]} would become one row of {path}, which stores only the last part of a folder's "
            "path: rename one of the two folders and train its run again."
        )
    with machine_lock(path.resolve()):  # several processes may add their runs at the same time
        earlier = read_shared(path) if path.exists() else finished[:0]
        shared = merged(named, earlier)
        write_whole(path.resolve(), shared.to_csv(index=False, float_format="%.6g").encode())


def without_paths(ledger: "pd.DataFrame") -> "pd.DataFrame":
    """A ledger in which each folder of images is named by the last part of its path, without the digest of the path."""
    folders = ledger["dataset"].fillna("").str.startswith("folder:")
    run = ledger["run"].where(~folders, ledger["run"].str.replace(r"_[0-9a-f]{6}-", "-", n=1, regex=True))
    dataset = ledger["dataset"].str.replace(r"(?s)^folder:(?:.*/)?([^/]+)/*$", r"folder:\1", regex=True)
    return ledger.assign(run=run, dataset=dataset)


def merged(ledger: "pd.DataFrame", earlier: "pd.DataFrame") -> "pd.DataFrame":
    """The finished runs of two ledgers as one table. For a run in both, the row of the first ledger is kept."""
    import pandas as pd

    both = pd.concat([finished_runs(ledger), finished_runs(earlier)], ignore_index=True)
    both = both.drop_duplicates(KEY, ignore_index=True).drop(columns="error", errors="ignore")
    return both.sort_values("run", ignore_index=True)


def finished_runs(ledger: "pd.DataFrame", protocol: str = "auroc") -> "pd.DataFrame":
    """The finished runs that have an AUROC under a protocol (a column of the ledger)."""
    check_choice("protocol", protocol, PROTOCOLS)
    if protocol not in ledger:
        raise AdnError(f"The ledger has no column {protocol!r}: its runs are from another version, train them again.")
    done = ledger[(ledger["status"] == "done") & ledger[protocol].notna()]
    return done.fillna({"category": "single category"})  # pandas would drop such runs from every group
