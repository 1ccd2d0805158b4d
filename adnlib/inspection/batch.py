"""Scoring of many files: every file gets a row, a stopped command resumes, and outputs are written whole or not at all.

Rows are appended to a file FILE.partial beside the first output while the images are scored. If the command is stopped
or killed, the same command continues after the last complete chunk of images and ends with the same rows.
"""

import json
import math
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from adnlib.calibration import APPEARANCE, drift
from adnlib.errors import AdnError
from adnlib.imagesets.layouts import MOST_FOLDERS, name_problem
from adnlib.imagesets.reading import ENDINGS, list_folder
from adnlib.inspection.scoring import Scorer, model_input
from adnlib.system.files import machine_lock, write_whole

OVERLAY = re.compile(r"\d{5}_.*\.png")  # the name of an overlay
CHUNK = 32  # images that are scored together; a resumed command repeats the chunk in which it was stopped
NORMAL, ANOMALOUS, SKIPPED = "normal", "anomalous", "skipped"


@dataclass(frozen=True)
class Row:
    """One file: verdict "normal", "anomalous" or "skipped"; remark: why it was skipped, or what is unusual."""

    path: str
    verdict: str
    score: float = math.nan
    p_value: float = math.nan
    seconds: float = 0.0
    remark: str = ""
    appearance: tuple[float, ...] = ()

    @property
    def line(self) -> str:
        """The row as one line of text."""
        numbers = "" if self.verdict == SKIPPED else f"score {self.score:.4g}, p {self.p_value:.3g}"
        return "  ".join(filter(None, [f"{self.verdict:<9}", self.path, numbers, self.remark]))


COLUMNS = [field.name for field in fields(Row) if field.name != "appearance"]


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The files of all given files and folders, in the order of their names, without hidden ones.

    Sub-folders and links are followed; a folder is visited once. AdnError for a path that does not exist, or if there
    are more than MOST_FOLDERS folders.
    """
    found, seen = [], set()
    for path in paths:
        if not os.path.lexists(path):
            raise AdnError(f"There is no file or folder {path}: check the path.")
        if not os.path.isdir(path):
            found.append(path)
            continue
        waiting = [path]
        while waiting:
            folder = waiting.pop()
            if (real := folder.resolve()) in seen:
                continue
            seen.add(real)
            if len(seen) > MOST_FOLDERS:
                raise AdnError(f"There are more than {MOST_FOLDERS:,} folders in {path}: name a folder of images.")
            children = list_folder(folder)
            found += [child for child in children if not os.path.isdir(child)]
            waiting += reversed([child for child in children if os.path.isdir(child)])
    return list(dict.fromkeys(found))


def score_files(
    scorer: Scorer, files: list[Path], state: Path | None = None, *, progress: bool = False
) -> Iterator[Row]:
    """A row for each file, in order. state: a file that makes a stopped command resume; removed by `Outputs.write`.

    At most CHUNK images are in memory. A file that cannot be scored is skipped with the reason.
    """
    with (
        _State(state, scorer) as known,
        tqdm(total=len(files), desc="images", disable=not progress, leave=False) as bar,
    ):
        for start in range(0, len(files), CHUNK):
            chunk = files[start : start + CHUNK]
            rows = known.rows(chunk)
            if rows is None:
                rows = _score_chunk(scorer, chunk)
                known.add(chunk, rows)
            yield from rows
            bar.update(len(rows))


class _State:
    """The rows of an earlier, stopped command with the same run and rate, and those of this one; locked meanwhile."""

    def __init__(self, path: Path | None, scorer: Scorer):
        self.path, self.known = path, {}
        self.header = json.dumps({"run": scorer.run.facts.get("digest"), "rate": scorer.rule.rate}).encode() + b"\n"

    def __enter__(self) -> "_State":
        if self.path:
            self.lock = machine_lock(self.path)
            try:
                self.lock.acquire(timeout=0)
            except filelock.Timeout as error:
                raise AdnError(f"Another process writes {self.path}: wait for it or choose another output.") from error
            self.path.parent.mkdir(parents=True, exist_ok=True)
            content = self.path.read_bytes() if self.path.exists() else b""
            content = content[: content.rfind(b"\n") + 1]  # without a line that was cut off
            try:
                if not content.startswith(self.header):
                    raise ValueError
                for key, values in map(json.loads, content[len(self.header) :].splitlines()):
                    self.known[key] = Row(**{**values, "appearance": tuple(values["appearance"])})
            except (ValueError, TypeError, KeyError):
                content, self.known = self.header, {}
            write_whole(self.path, content)
            self.file = open(self.path, "ab")
        return self

    def __exit__(self, *_) -> None:
        if self.path:
            self.file.close()
            self.lock.release()

    def rows(self, paths: list[Path]) -> list[Row] | None:
        """The rows of a chunk, if all of them are known."""
        found = [self.known.get(_key(path)) for path in paths] if self.known else [None]
        rows = [row for row in found if row]
        return rows if len(rows) == len(paths) else None

    def add(self, paths: list[Path], rows: list[Row]) -> None:
        if self.path:
            lines = [json.dumps([_key(path), asdict(row)]) for path, row in zip(paths, rows, strict=True)]
            self.file.write("".join(f"{line}\n" for line in lines).encode())
            self.file.flush()


def _score_chunk(scorer: Scorer, paths: list[Path]) -> list[Row]:
    start = time.perf_counter()
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        pixels = list(pool.map(partial(_read, size=scorer.model.preset.image_size), paths))
    good = [x for x in pixels if isinstance(x, Tensor)]
    scores = iter(scorer.judge(torch.stack(good)) if good else [])
    seconds = round((time.perf_counter() - start) / len(paths), 4)
    rows = []
    for path, x in zip(paths, pixels, strict=True):
        name = os.fsencode(path).decode(errors="backslashreplace")
        if not isinstance(x, Tensor):
            rows.append(Row(name, SKIPPED, seconds=seconds, remark=x))
            continue
        score = next(scores)
        if not np.isfinite(score.value):
            rows.append(Row(name, SKIPPED, seconds=seconds, remark="its score is not finite: it cannot be judged"))
            continue
        value = float(f"{score.value:.6g}")
        verdict = ANOMALOUS if score.anomalous else NORMAL
        rows.append(Row(name, verdict, value, score.p_value, seconds, score.remark, score.appearance))
    return rows


def _read(path: Path, size: int) -> Tensor | str:
    """The input of the model, or why there is none."""
    if path.suffix.lower() not in ENDINGS:
        return "it has no image extension"
    if problem := name_problem(path):
        return problem
    try:
        return model_input(path, size)
    except AdnError as error:
        message, start = str(error), f"Cannot read the image {path} ("
        return message[len(start) : message.rfind(")")] if message.startswith(start) else message


def _key(path: Path) -> str:
    """What identifies a file and its content in the state."""
    try:
        found = path.stat()
        return json.dumps([str(path), found.st_size, found.st_mtime_ns])
    except (OSError, ValueError):
        return json.dumps([str(path), 0, 0])


class Outputs:
    """The files that a command writes: a CSV table, lines of JSON, an HTML report, a folder of overlays."""

    def __init__(self, csv: Path | None, jsonl: Path | None, report: Path | None, overlays: Path | None):
        self.csv, self.jsonl, self.report, self.overlays = csv, jsonl, report, overlays
        self.paths = [path for path in (csv, jsonl, report, overlays) if path]

    @property
    def partial(self) -> Path | None:
        """The file from which a stopped command resumes."""
        return self.paths[0].with_name(f"{self.paths[0].name}.partial").resolve() if self.paths else None

    def refuse_existing(self, overwrite: bool, files: list[Path]) -> None:
        """AdnError if a file to be written exists (unless `overwrite`), is one of the images, or is named twice."""
        images = {os.path.realpath(path) for path in files}
        for path in self.paths:
            wrong_kind = os.path.isdir(path) != (path == self.overlays)
            if os.path.lexists(path) and (not overwrite or wrong_kind or os.path.realpath(path) in images):
                raise AdnError(f"{path} exists: choose another name, or replace it with --overwrite.")
        if self.overlays and os.path.isdir(self.overlays):
            strange = [path for path in list_folder(self.overlays) if not OVERLAY.fullmatch(path.name)]
            if strange:
                raise AdnError(f"{self.overlays} has other files ({strange[0].name}): choose a new folder.")
        if len({os.path.abspath(path) for path in self.paths}) < len(self.paths):
            raise AdnError("Two outputs have the same name: give each its own.")

    def write(self, scorer: Scorer, rows: list[Row]) -> None:
        """Writes everything, then removes the file for resuming."""
        if self.overlays:
            from adnlib.inspection.score_report import write_overlays

            write_overlays(scorer, [row for row in rows if row.verdict == ANOMALOUS], self.overlays.resolve())
        if self.report:
            from adnlib.inspection.score_report import write_score_report

            write_score_report(scorer, rows, summary(scorer, rows), self.report.resolve())
        table = pd.DataFrame([[getattr(row, name) for name in COLUMNS] for row in rows], columns=COLUMNS)
        if self.jsonl:
            text = table.to_json(orient="records", lines=True, force_ascii=False, double_precision=10)
            write_whole(self.jsonl.resolve(), text.encode())
        if self.csv:
            write_whole(self.csv.resolve(), table.to_csv(index=False, float_format="%.6g").encode())
        if self.partial:
            self.partial.unlink(missing_ok=True)


def counts(rows: Iterable[Row]) -> dict[str, int]:
    """The number of rows with each verdict."""
    found = Counter(row.verdict for row in rows)
    return {verdict: found[verdict] for verdict in (NORMAL, ANOMALOUS, SKIPPED)}


def summary(scorer: Scorer, rows: list[Row]) -> list[str]:
    """Sentences on the result: counts, what the threshold promises, drift."""
    lines = [f"{len(rows)} files: " + ", ".join(f"{count} {verdict}" for verdict, count in counts(rows).items()) + "."]
    scored = len(rows) - counts(rows)[SKIPPED]
    low, high = scorer.rule.alarms(scored)
    lines.append(f"If all {scored} scored images were normal, {low} to {high} of them would be called anomalous.")
    table = [(row.score, *row.appearance) for row in rows if row.verdict != SKIPPED]
    found = drift(pd.DataFrame(table, columns=["score", *APPEARANCE]), scorer.calibration)
    return [*lines, *filter(None, [str(scorer.rule), scorer.note]), *found]
