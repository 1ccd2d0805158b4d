"""A finished run that was damaged, cut off or edited."""

import json
import shutil

import safetensors.torch
import torch

from adnlib.experiments.ledger import facts_digest


def edit(path, change, sealed=False, old=False):
    """Changes parameters.json; sealed: with a matching digest, as a deliberate edit could; old: as format 2."""
    facts = json.loads(path.read_text())
    change(facts)
    if sealed:
        facts["digest"] = facts_digest(facts)
    if old:
        facts = {key: value for key, value in facts.items() if key not in ("digest", "digests")} | {"format": 2}
    path.write_text(json.dumps(facts))


def tensors(path, change):
    state = safetensors.torch.load_file(path)
    change(state)
    path.write_bytes(safetensors.torch.save(state))


def flip(path, share=0.5):
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 1
    path.write_bytes(content)


def poison(state, value):
    state[next(name for name, tensor in state.items() if tensor.is_floating_point())].view(-1)[0] = value


def preset(name, value):
    return lambda facts: facts["preset"].update({name: value})


def metric(name, value):
    return lambda facts: facts["metrics"].update({name: value})


CHANGED, DAMAGED = "parameters.json has been changed since it was written", "is damaged"
FACTS = {  # kind: (change, sentence if it was edited in place, sentence with a matching digest)
    "clamp edited": (preset("clamp", 2.0), CHANGED, None),
    "clamp is text": (preset("clamp", "3"), CHANGED, "clamp='3' is out of range"),
    "clamp is not a number": (preset("clamp", float("nan")), CHANGED, "clamp=nan is out of range"),
    "image_size edited": (preset("image_size", 320), CHANGED, None),
    "image_size of a million": (preset("image_size", 10**6), CHANGED, "image_size=1000000 is out of range"),
    "hidden of a billion": (preset("hidden", 10**9), CHANGED, "hidden=1000000000 is out of range"),
    "blocks differ": (preset("blocks", 3), CHANGED, "the tensor flow"),
    "unknown preset field": (preset("colour", 1), CHANGED, "colour"),
    "weights edited": (lambda f: f["parameters"].update(weights="imagenet"), CHANGED, None),
    "attention edited": (lambda f: f["parameters"].update(attention="cbam"), CHANGED, "the tensor features.attention"),
    "attention unknown": (lambda f: f["parameters"].update(attention="sse"), CHANGED, "attention='sse' is not known"),
    "reduction edited": (lambda f: f["parameters"].update(options={"reduction": 2}), CHANGED, "the tensor features"),
    "seed is text": (lambda f: f["parameters"].update(seed="0"), "seed = '0' has the wrong type", "seed = '0'"),
    "other AlexNet": (lambda f: f.update(alexnet_sha256="0" * 64), CHANGED, "other weights of AlexNet"),
    "threshold edited": (metric("threshold", 1.0), CHANGED, None),
    "threshold is text": (metric("threshold", "high"), "threshold is 'high', not a number", "threshold is 'high'"),
    "threshold is null": (metric("threshold", None), "threshold is None, not a number", "threshold is None"),
    "threshold is NaN": (metric("threshold", float("nan")), "threshold is nan, not a number", "threshold is nan"),
    "no metrics": (lambda f: f.pop("metrics"), "incomplete", "incomplete"),
    "no threshold": (lambda f: f["metrics"].pop("threshold"), "incomplete", "incomplete"),
    "no preset": (lambda f: f.pop("preset"), CHANGED, "preset"),
    "digest removed": (lambda f: f.pop("digest"), CHANGED, None),
    "digest edited": (lambda f: f.update(digest="0" * 64), CHANGED, None),
}


FILES = {
    "weights of another variant": (
        lambda folder, saved: shutil.copy(saved[1] / "model.safetensors", folder),
        "model.safetensors has been changed",
    ),
    "one more tensor": (
        lambda folder, _: tensors(folder / "model.safetensors", lambda s: s.update(other=torch.zeros(2))),
        "model.safetensors has been changed",
    ),
    "NaN weights": (
        lambda folder, _: tensors(folder / "model.safetensors", lambda s: poison(s, float("nan"))),
        "model.safetensors has been changed",
    ),
    "a flipped bit in the weights": (
        lambda folder, _: flip(folder / "model.safetensors"),
        "model.safetensors has been",
    ),
    "truncated weights": (
        lambda folder, _: (folder / "model.safetensors").write_bytes(b"half"),
        "model.safetensors has been changed",
    ),
    "no weights": (lambda folder, _: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
    "a flipped bit in the scores": (lambda folder, _: flip(folder / "scores.csv"), "scores.csv has been changed"),
    "no scores": (lambda folder, _: (folder / "scores.csv").unlink(), "scores.csv is missing"),
    "a flipped bit in the history": (lambda folder, _: flip(folder / "history.csv"), "history.csv has been changed"),
    "no history": (lambda folder, _: (folder / "history.csv").unlink(), "history.csv is missing"),
}

OLD = {  # without digests
    "weights of another variant": (
        FILES["weights of another variant"][0],
        "the tensor features.attention.* is missing",
    ),
    "one more tensor": (FILES["one more tensor"][0], "the tensor other is .*, not part of this model"),
    "NaN weights": (FILES["NaN weights"][0], "has values that are not finite"),
    "infinite weights": (
        lambda folder, _: tensors(folder / "model.safetensors", lambda s: poison(s, float("inf"))),
        "has values that are not finite",
    ),
    "truncated weights": (FILES["truncated weights"][0], "header"),
    "no weights": (FILES["no weights"][0], "model.safetensors is missing"),
    "text scores": (
        lambda folder, _: (folder / "scores.csv").write_text("part,image,defect,label,score\ntest,a,good,0,high\n"),
        "scores.csv is incomplete",
    ),
    "NaN scores": (
        lambda folder, _: (folder / "scores.csv").write_text("part,image,defect,label,score\ntest,a,good,0,nan\n"),
        "scores.csv is incomplete",
    ),
    "other columns": (lambda folder, _: (folder / "scores.csv").write_text("a,b\n1,2\n"), "scores.csv is incomplete"),
    "empty scores": (lambda folder, _: (folder / "scores.csv").write_text(""), "scores.csv is incomplete"),
}
