"""Remarks on a result: one sentence for each property of its test images or scores that makes it uncertain."""

import os
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from adnlib.datasets import Dataset
from adnlib.evaluation import threshold_in_words
from adnlib.inspection.looks import look

FEW = 10  # fewer test images of a kind deserve a remark
SHOWN = 3  # file names per sentence


def image_remarks(dataset: Dataset) -> list[str]:
    """Remarks on few test images, and on held-out images of a single colour or with the same pixels."""
    remarks = [] if dataset.test else ["No test images: there is no AUROC, only a threshold from normal images."]
    for kind in ("normal", "anomalous") if dataset.test else ():
        if (count := dataset.counts[f"test {kind}"]) < FEW:
            remarks.append(
                f"Few {kind} test images ({count}): with fewer than {FEW}, the AUROC depends on single images."
            )
    samples = [*dataset.validation, *dataset.calibration, *dataset.test]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = list(pool.map(look, [sample.path for sample in samples]))
    constant, digests = [seen.constant for seen in looks], [seen.digest for seen in looks]
    names = pd.Series([f"{sample.path.parent.name}/{sample.path.name}" for sample in samples])
    if any(constant):
        remarks.append(f"Images of a single colour, such as black ones: {_listed(names[constant])}. Remove them.")
    if any(repeated := pd.Series(digests).duplicated()):
        remarks.append(
            f"Images with the same pixels as another one: {_listed(names[repeated])}. The intervals assume different "
            "images and are too narrow: remove the copies."
        )
    return remarks


def score_remarks(scores: pd.DataFrame, threshold: float, false_positive_rate: float) -> list[str]:
    """Remarks on the threshold and on equal scores, from an evaluation's table of scores."""
    by_part = dict(tuple(scores.groupby("part")))
    part = "calibration" if "calibration" in by_part else "validation"
    remarks = [threshold_in_words(by_part[part]["score"].to_numpy(), threshold, false_positive_rate, part)]
    test = by_part.get("test", scores[:0])
    equal = test.loc[test["score"].duplicated(keep=False), "image"]
    if len(equal):
        remarks.append(
            f"Test images with equal scores: {_listed(equal)}. They are copies, or the model cannot tell them apart."
        )
    return remarks


def _listed(names: pd.Series) -> str:
    """The number of names and the first of them."""
    return f"{len(names)} ({', '.join(names.head(SHOWN))}{', …' if len(names) > SHOWN else ''})"
