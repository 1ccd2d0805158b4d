"""The single description of a run. It does not import torch.

Each parameter of RunConfig is an option of `adn train`, a key of a grid file, a parameter of notebooks/07_train, a part
of the run's folder name, a column of the ledger and an entry of parameters.json. Its default, types and help text are
defined here.
"""

import argparse
import ast
import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from adnlib.errors import AdnError
from adnlib.experiments.names import check_option, check_seed, check_word, file_name, path_part
from adnlib.imagesets.own_folder import PREFIX, is_own, own_folder

TRAINED: dict[bool | str, str] = {False: "frozen", True: "trained"}  # other values are words already
LABELS = {  # names of attention modules; the others are acronyms
    "se-lab": "SE-lab",
    "cbam-lab": "CBAM-lab",
    "constant": "constant gate",
    "coordinate": "coordinate attention",
    "simam": "SimAM",
    "gather_excite": "gather-excite",
    "global_context": "global context",
}
# Modules as public code of AttentDifferNet has them, whose connection with the paper's authors is not confirmed:
# attention, placement and options.
FORMS = {
    "se-lab": ("se", "before-pool", {"reduction": 2}),
    "cbam-lab": ("cbam", "before-pool", {"kernel_size": 49, "residual": True}),
}
TYPE_NAMES = {str: "a string", int: "a whole number", bool: "true or false", dict: "a table"}
CONSTANTS = {"none": None, "true": True, "false": False}  # on the command line, in grids


def _parameter(default, help: str, *types: type) -> Any:
    """A field with its help text and its allowed types. Without `types`, only the type of the default is allowed."""
    metadata = {"help": help, "types": types or (type(default),)}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class RunConfig:
    """Everything that defines a run. A value that is of the wrong type or cannot be part of a name raises AdnError.

    The path in "folder:PATH" becomes absolute here, see `adnlib.imagesets.own_folder`.
    """

    dataset: str = _parameter("elpv", "a known data set, or folder:PATH (in the project, from its top folder)")
    category: str | None = _parameter("mono", "a category of the data set, or all for every category", str, type(None))
    attention: str | None = _parameter(
        None,
        "se, cbam, se-lab, cbam-lab, constant, matched or another of adnlib.attention",
        str,
        type(None),
    )
    placement: str = _parameter("figure", "where attention is inserted: figure, before-pool or after-pool5")
    train_attention: bool | str = _parameter(
        False, "False, True (with the flow), guarded, cutpaste, wild_parts or background", bool, str
    )
    preset: str = _parameter("fast", "paper, fast, lean, unscaled, surprise or smoke")
    weights: str = _parameter("imagenet", "AlexNet's weights: imagenet or random")
    seed: int = _parameter(0, "seed of the initial weights, the order of the images and their views")
    options: dict = _parameter({}, "options of the attention module: reduction, kernel_size, residual, value, …")
    device: str = _parameter("auto", "auto, cpu or cuda; not part of the run's name")

    def __post_init__(self):
        for parameter in fields(self):
            value, types = getattr(self, parameter.name), parameter.metadata["types"]
            if type(value) not in types:  # exactly: true is not a seed
                wanted = " or ".join(TYPE_NAMES[kind] for kind in types if kind in TYPE_NAMES)
                raise AdnError(f"{parameter.name} = {value!r} has the wrong type: write {wanted}.")
        words = ["attention", "placement", "train_attention", "preset", "weights"]
        if is_own(self.dataset):
            object.__setattr__(self, "dataset", f"{PREFIX}{own_folder(self.dataset)}")
        else:
            words.insert(0, "dataset")
        for name in words:
            if isinstance(value := getattr(self, name), str):
                check_word(name, value)
        if self.category == "":
            raise AdnError("category = '' names no category: write its name, or None if the data set has only one.")
        check_seed(self.seed)
        self._expand_form()
        for option in self.options.items():
            check_option(*option)

    def _expand_form(self) -> None:
        """Replaces the name of one of FORMS, of the attention or of what a matched gate is like, by its meaning."""
        control = self.attention == "matched"
        name = self.options.get("like") if control else self.attention
        if name not in FORMS:
            return
        attention, placement, options = FORMS[name]
        if self.placement not in ("figure", placement):
            raise AdnError(
                f"{name} is inserted {placement}, not {self.placement}: leave placement out, or choose {attention}."
            )
        like = {"like": attention} if control else {}
        object.__setattr__(self, "attention", "matched" if control else attention)
        object.__setattr__(self, "placement", placement)
        object.__setattr__(self, "options", {**options, **self.options, **like})

    @classmethod
    def from_dict(cls, values: dict) -> "RunConfig":
        """A config from the parameters that differ from their defaults. AdnError names an unknown parameter."""
        known = [parameter.name for parameter in fields(cls)]
        for name in values:
            if name not in known:
                raise AdnError(f"{name!r} is not a parameter of a run: choose from {', '.join(known)}.")
        return cls(**values)

    @property
    def parameters(self) -> dict:
        """All parameters except the device, in the order of parameters.json."""
        return {name: value for name, value in asdict(self).items() if name != "device"}

    @property
    def folder_name(self) -> str:
        """The run's folder name, such as "elpv-mono-se-figure-frozen-fast-seed0": one part of a path, of any category.

        A folder of images is named by the last part of its path and six digits of the path's sha256, because two
        folders can have the same name.
        """
        dataset, category = self.dataset, self.category
        if is_own(dataset):
            path = Path(dataset.removeprefix(PREFIX))
            dataset = f"{path_part(path.name)}_{hashlib.sha256(str(path).encode()).hexdigest()[:6]}"
        parts = [dataset, category and path_part(category), self.attention or "none"]
        if self.attention:
            parts += [self.placement, TRAINED.get(self.train_attention, self.train_attention)]
        parts += [path_part(f"{name}{value}") for name, value in sorted(self.options.items())]
        parts += [self.preset, "random-weights" if self.weights == "random" else None, f"seed{self.seed}"]
        return file_name("-".join(filter(None, parts)))

    @property
    def variant(self) -> str:
        """The run's name in tables: "DifferNet", "SE, frozen", "CBAM, trained, reduction 2, after-pool5", …"""
        if self.attention is None:
            return "DifferNet"
        name, placement, options = self.attention, self.placement, dict(self.options)
        if name == "constant":
            parts = [f"constant gate {options.pop('value', 0.5)}"]
        else:
            if name == "matched":
                name = options.pop("like", "nothing")
            for form, meaning in FORMS.items():
                if meaning == (name, placement, options):
                    name, placement, options = form, "figure", {}
            parts = [attention_label(name), TRAINED.get(self.train_attention, self.train_attention)]
            if self.attention == "matched":
                parts = [f"gate matched to {attention_label(name)}"]
        parts += [option if value is True else f"{option} {value}" for option, value in sorted(options.items())]
        return ", ".join(parts + [placement] * (placement != "figure"))

    @property
    def row(self) -> dict:
        """The run's columns in the ledger: its variant and its parameters, with the options as JSON."""
        parameters = self.parameters
        options = json.dumps(parameters.pop("options"), sort_keys=True)
        return {"variant": self.variant, **parameters, "options": options}

    def canonical(self) -> "RunConfig":
        """This config with the category's name as the data set writes it, so that a run always has the same name.

        Unchanged if the data set is not on this machine or has no such category. torch is not imported.
        """
        from adnlib.imagesets.layouts import pick_category
        from adnlib.imagesets.sources import present_categories

        try:
            category = pick_category(present_categories(self.dataset), self.category, self.dataset)
        except AdnError:
            return self
        return replace(self, category=category)

    def without_attention(self) -> "RunConfig":
        """This config for the plain DifferNet."""
        return replace(self, attention=None, placement="figure", options={}, train_attention=False)


def attention_label(attention: str) -> str:
    """The name of an attention module in tables: "SE", "coordinate attention", …"""
    return LABELS.get(attention, attention.upper())


def notebook_parameters() -> str:
    """The source of the parameters cell of 07_train."""
    lines = []
    for parameter, value in zip(fields(RunConfig), asdict(RunConfig()).values(), strict=True):
        text = json.dumps(value) if isinstance(value, str) else repr(value)
        lines.append(f"{parameter.name} = {text}  # {parameter.metadata['help']}")
    lines.append('runs = "../runs"  # the folder with the runs')
    lines.append("replace_run = False  # True replaces a run of the same name that was trained with other images")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds one command-line option for each parameter of a run."""
    for parameter in fields(RunConfig):
        flag, help = "--" + parameter.name.replace("_", "-"), parameter.metadata["help"]
        if parameter.name == "options":
            parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help=help)
        elif parameter.name == "train_attention":
            parser.add_argument(flag, nargs="?", const=True, default=False, metavar="HOW", help=help)
        elif parameter.name == "category":
            parser.add_argument(flag, help=f"{help} (default: {parameter.default} for {RunConfig.dataset})")
        else:
            default = "none" if parameter.default is None else parameter.default
            kind = int if parameter.metadata["types"] == (int,) else str
            parser.add_argument(flag, type=kind, default=parameter.default, help=f"{help} (default: {default})")


def from_arguments(arguments: argparse.Namespace) -> RunConfig:
    """The config described by the options that `add_arguments` adds."""
    values: dict[str, Any] = {known.name: getattr(arguments, known.name, None) for known in fields(RunConfig)}
    for name in ("attention", "train_attention"):
        values[name] = CONSTANTS.get(values[name], values[name])
    if values["dataset"] == RunConfig.dataset and values["category"] is None:
        values["category"] = RunConfig.category
    values["options"] = dict(map(_read_option, arguments.option))
    return RunConfig(**values)


def _read_option(text: str) -> tuple[str, object]:
    try:
        name, value = text.split("=")
        value = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise AdnError(f"--option {text:.60} cannot be read: write NAME=VALUE, as in --option reduction=2.") from error
    if name in {parameter.name for parameter in fields(RunConfig)}:
        raise AdnError(f"--option {text} is not an option of an attention module: see `adn train --help`.")
    return name, value
