"""AttentDifferNet, step by step: attention modules in DifferNet for image-level anomaly detection.

    dataset = adnlib.load_dataset("elpv", "mono")
    model = adnlib.DifferNet(attention="se")
    adnlib.fit(model, dataset)
    adnlib.evaluate(model, dataset).auroc

These modules lead from an image to a score: datasets, views, features (+ attention), flow, differnet (presets),
training, intervals, evaluation. Everything else is in packages. The names below are imported when they are first used,
so that a command that needs no torch starts quickly.
"""

from importlib import import_module

_HOME = {
    "AdnError": "errors",
    "CBAM": "attention",
    "DifferNet": "differnet",
    "PRESETS": "presets",
    "RunConfig": "experiments.config",
    "SqueezeExcitation": "attention",
    "evaluate": "evaluation",
    "fit": "training",
    "load": "inspection.scoring",
    "load_dataset": "datasets",
    "train_run": "experiments.runs",
}
__all__ = list(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'adnlib' has no attribute {name!r}")
    return getattr(import_module(f"adnlib.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *_HOME])
