"""What a training run is told: every flag and every `--set` key, checked, in one record.

Four sources, each stronger than the one before: the defaults below, a `--config` file, the flags,
and `--set key=value`. All of them use the same names and pass the same checks. The resolved
record is written to the run's `config.json`, which is itself a valid `--config` file.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minissr.errors import DataError, MinissrError

SYNTHETIC = "synthetic"
SYNTHETIC_EPOCHS = 10  # ends in under three minutes on two cores
REAL_EPOCHS = 30

BACKENDS = ("auto", "numpy", "numba", "cupy")
SCHEDULES = ("step", "cosine", "constant")  # as training/optim.py has them
OPTIMIZERS = ("adam", "sgd")
ADAM_FORMS = ("keras", "pytorch")
LOSSES = ("mae", "smooth", "distribution")  # as models/criterion.py has them
PIXELS = ("raw", "unit", "centered")  # as data/preprocessing.py has them


@dataclass(frozen=True)
class Kind:
    """What a value may be: the words for a message, and the conversion from text or JSON."""

    expected: str
    convert: Callable[[Any], Any]


def whole(low: int) -> Kind:
    """A whole number of at least `low`."""

    def convert(value: Any) -> int:
        if isinstance(value, str):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError
        return value

    return Kind(f"a whole number from {low} up", convert)


def number(low: float, *, above: bool = False, below: float = math.inf) -> Kind:
    """A finite number of at least (or strictly above) `low` and less than `below`."""

    def convert(value: Any) -> float:
        if isinstance(value, bool):
            raise ValueError
        value = float(value)
        if not math.isfinite(value) or value < low or value >= below or (above and value == low):
            raise ValueError
        return value

    words = ["a number"]
    if low > -math.inf:
        words.append(f"above {low:g}" if above else f"from {low:g} up")
    if below < math.inf:
        words.append(f"and below {below:g}")
    return Kind(" ".join(words), convert)


def choice(*names: str) -> Kind:
    """One of some names."""

    def convert(value: Any) -> str:
        if value not in names:
            raise ValueError
        return value

    return Kind(f"one of {', '.join(names)}", convert)


def text(what: str) -> Kind:
    """Any text that isn't empty."""

    def convert(value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError
        return value

    return Kind(what, convert)


def switch() -> Kind:
    """Yes or no."""

    def convert(value: Any) -> bool:
        if isinstance(value, str):
            value = {"true": True, "false": False}[value.lower()]
        if not isinstance(value, bool):
            raise TypeError
        return value

    return Kind("true or false", convert)


def whole_numbers() -> Kind:
    """Some whole numbers above 0: "3,3,3", or a JSON list."""

    def convert(value: Any) -> tuple[int, ...]:
        parts = value.split(",") if isinstance(value, str) else list(value)
        return tuple(whole(1).convert(part) for part in parts)

    return Kind("whole numbers above 0 with commas between, as in 3,3,3", convert)


def optional(kind: Kind) -> Kind:
    """That, or nothing (null in JSON)."""
    return Kind(kind.expected, lambda value: None if value is None else kind.convert(value))


def setting(default: Any, kind: Kind, about: str, *, quiet: bool = False) -> Any:
    """A field of TrainConfig with its check and its line of help.

    A quiet one is left out of the recipe while it has its default: checkpoints from before it was
    there can be resumed, and their bytes are made again.
    """
    return field(default=default, metadata={"kind": kind, "about": about, "quiet": quiet})


# Settings of the synthetic faces: how many of each split.
DATA_KINDS = {f"{split}_images": whole(1) for split in ("train", "val", "test")}


@dataclass(frozen=True)
class TrainConfig:
    """All that decides a training run. Ages in years, times in seconds."""

    data: str = setting(SYNTHETIC, text("'synthetic' or a prepared folder"), "what to learn from")
    model: str = setting("ssrnet", text("a model's name"), "the network")
    backend: str = setting("auto", choice(*BACKENDS), "what computes")
    epochs: int | None = setting(
        None,
        optional(whole(1)),
        f"passes over the training faces; by default {SYNTHETIC_EPOCHS} for synthetic faces, "
        f"{REAL_EPOCHS} for others (the paper: 90)",
    )
    batch_size: int = setting(50, whole(2), "images in a step")
    lr: float = setting(0.002, number(0, above=True), "learning rate at the start")
    schedule: str = setting(
        "cosine",
        choice(*SCHEDULES),
        "cosine: down to 0 after a short rise, the best of the three in short runs; "
        "step: a tenth after each third of the epochs, as the paper; constant",
    )
    warm_up: float | None = setting(
        None,
        optional(number(0)),
        "epochs in which the rate rises to lr; by default a twentieth of the run with cosine, "
        "else 0",
        quiet=True,
    )
    optimizer: str = setting("adam", choice(*OPTIMIZERS), "how parameters move")
    adam_form: str = setting("keras", choice(*ADAM_FORMS), "whose epsilon; see training/optim.py")
    sgd_momentum: float = setting(0.9, number(0, below=1), "how much of its last step sgd repeats")
    weight_decay: float = setting(
        0.0,
        number(0),
        "share of each weight that a step takes off, times the rate; apart from the gradient, as "
        "in AdamW; biases and batch norm are left alone",
        quiet=True,
    )
    average: float = setting(
        0.0,
        number(0, below=1),
        "a moving average of the network over steps, of this decay (0.999, say), is what is "
        "measured and kept as the best; 0: the network itself",
        quiet=True,
    )
    loss: str = setting(
        "mae",
        choice(*LOSSES),
        "what is made small: mae; smooth, quadratic up to smooth_delta; distribution, mae and how "
        "far the stages' distribution is from the label with its doubt (models/criterion.py)",
        quiet=True,
    )
    smooth_delta: float = setting(
        3.0, number(0, above=True), "years up to which loss smooth is quadratic", quiet=True
    )
    label_sigma: float = setting(
        3.0,
        number(0, above=True, below=1000),  # its square has to be a number
        "years of doubt in a label, of loss distribution",
        quiet=True,
    )
    divergence_weight: float = setting(
        1.0, number(0), "of what loss distribution adds to mae, in years a nat", quiet=True
    )
    pixels: str = setting(
        "raw",
        choice(*PIXELS),
        "what the network is fed: raw 0 to 255; unit, 0 to 1; centered, -1 to 1; kept in the "
        "checkpoint",
        quiet=True,
    )
    augment: str = setting(
        "paper",
        text("names as in paper+light+blur, or none"),
        "changes to training faces: paper, paper-nearest, half, flip; light, color, blur, erase",
    )
    seed: int = setting(0, whole(0), "of initial weights, order, augmentation, dropout, faces")
    threads: int | None = setting(None, optional(whole(1)), "by default all cores")
    checkpoint_every: float = setting(60.0, number(0), "seconds between saves within an epoch")
    init: str | None = setting(
        None, optional(text("a checkpoint")), "a checkpoint whose weights to start from"
    )
    data_settings: Mapping[str, int] = field(default_factory=dict)
    model_settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The record as one flat JSON object, a valid `--config` file."""
        flat = {key: getattr(self, key) for key in fields()}
        flat |= {**self.data_settings, **self.model_settings}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in flat.items()}

    def recipe(self) -> dict[str, Any]:
        """The part that shapes the result: no paths, nothing that only costs time, and of the
        network nothing that it would be without being told.

        Equal recipes on equal data give equal checkpoints, wherever and with however many threads
        they are trained.
        """
        places = ("data", "init", "threads", "backend", "checkpoint_every")
        unsaid = [
            key
            for key, f in fields().items()
            if f.metadata["quiet"] and getattr(self, key) == f.default
        ]
        unsaid += self.model_settings.keys() - telling(self.model, self.model_settings).keys()
        return {k: v for k, v in self.to_json().items() if k not in (*places, *unsaid)}

    def resolved(self) -> TrainConfig:
        """With everything decided that was left open: epochs, backend, full paths."""
        from minissr.kernels.backend import resolve

        synthetic = self.data == SYNTHETIC
        epochs = self.epochs or (SYNTHETIC_EPOCHS if synthetic else REAL_EPOCHS)
        return dataclasses.replace(
            self,
            epochs=epochs,
            backend=resolve(self.backend),
            data=self.data if synthetic else os.path.abspath(self.data),
            init=self.init and absolute(self.init),
        )


def absolute(checkpoint: str) -> str:
    """A full path, unless it is the name of a network that comes with the package."""
    return os.path.abspath(checkpoint) if os.path.exists(checkpoint) else checkpoint


def fields() -> dict[str, dataclasses.Field[Any]]:
    """The keys of TrainConfig that are single values."""
    return {f.name: f for f in dataclasses.fields(TrainConfig) if "kind" in f.metadata}


def model_kinds(model: str) -> dict[str, Kind]:
    """The settings of a network and what each may be, told from its defaults."""
    defaults = default_settings(model)
    return {key: like(value) for key, value in defaults.items() if key != "name"}


def default_settings(model: str) -> dict[str, Any]:
    """What a network says of itself when nothing was asked for."""
    from minissr.models.registry import build

    network: Any = build(model)
    return network.config()


def telling(model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a network without those that change nothing, such as the usual variant."""
    from minissr.models.registry import build

    def network(told: Mapping[str, Any]) -> dict[str, Any] | None:
        try:
            built: Any = build(model, **told)
        except ValueError:  # nothing can be built from these: levels of stages that aren't told
            return None
        return built.config()

    told, whole = dict(settings), network(settings)
    for key in settings:
        fewer = {k: v for k, v in told.items() if k != key}
        if whole and network(fewer) == whole:
            told = fewer
    return told


def like(default: Any) -> Kind:
    """Values of the same type as `default`; what they may be is the network's to say."""
    if isinstance(default, bool):
        return switch()
    if isinstance(default, int):
        return whole(0)
    if isinstance(default, float):
        return number(-math.inf)
    if isinstance(default, list | tuple):
        return whole_numbers()
    return text("a name")


def build_config(*sources: tuple[str, Mapping[str, Any]]) -> TrainConfig:
    """One record from several sources, the later ones winning.

    Parameters
    ----------
    sources : (where, values) pairs
        A message begins with `where` and the key: "--" and "lr", or "--set " and "lr". Values may
        be text, as typed, or JSON values; keys may be written with dashes.

    Raises
    ------
    MinissrError
        Naming the source, key and value, and what would do.
    """
    given: dict[str, tuple[str, Any]] = {}  # key -> the words for a message, the value
    for where, values in sources:
        given |= {key.replace("-", "_"): (where + key, value) for key, value in values.items()}
    own = {key: f.metadata["kind"] for key, f in fields().items()}
    words, model = given.get("model", ("model", TrainConfig.model))
    of_model = model_kinds(_converted(words, model, own["model"]))

    parts: dict[str, dict[str, Any]] = {"own": {}, "data": {}, "model": {}}
    for key, (words, value) in given.items():
        for part, kinds in (("own", own), ("data", DATA_KINDS), ("model", of_model)):
            if key in kinds:
                parts[part][key] = _converted(words, value, kinds[key])
                break
        else:
            raise MinissrError(_unknown(words, key, [*own, *DATA_KINDS, *of_model]))
    config = TrainConfig(**parts["own"], data_settings=parts["data"], model_settings=parts["model"])
    if config.data_settings and config.data != SYNTHETIC:
        key = next(iter(config.data_settings))
        raise MinissrError(f"{key} is of the synthetic faces; leave it out with --data DATA")
    return config


def read_config_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object in a `--config` file. Raises DataError naming the file."""
    try:
        record = json.loads(Path(path).read_bytes())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path} can't be read: {reason}; name a JSON file") from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} is not JSON ({error}); a run's config.json is an example"
        ) from error
    if not isinstance(record, dict):
        raise DataError(f"{path} is not a JSON object of keys and values; see --help-set")
    return record


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """`--set` arguments, "key=value" each, as a dict."""
    result = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not (key and equals and value):
            raise MinissrError(f"--set {assignment}; expected key=value; see --help-set for keys")
        result[key] = value
    return result


def describe_keys(model: str) -> str:
    """The list of `--set` keys that `--help-set` prints, each with its default."""
    from minissr.data.synthetic import SETTINGS

    lines = ["keys for --set key=value and for --config files", "", "training"]
    for key, f in fields().items():
        lines += [f"  {key:<18} [{show(f.default)}] {f.metadata['about']}"]
        lines += [f"  {'':<18} {f.metadata['kind'].expected}"]
    lines += ["", "synthetic faces: how many are drawn"]
    lines += [f"  {key:<18} [{default}]" for key, default in SETTINGS.items()]
    lines += ["", f"the network {model}; see its class for what they mean"]
    defaults = default_settings(model)
    for key, kind in model_kinds(model).items():
        lines.append(f"  {key:<18} [{show(defaults[key])}] {kind.expected}")
    return "\n".join(lines)


def show(default: Any) -> str:
    if isinstance(default, list):
        return ",".join(map(str, default))
    return "decided at the start" if default is None else str(default)


def _converted(words: str, value: Any, kind: Kind) -> Any:
    try:
        return kind.convert(value)
    except (ValueError, TypeError, KeyError, OverflowError):
        shown = value if isinstance(value, str) else json.dumps(value)
        raise MinissrError(f"{words} {shown}; expected {kind.expected}") from None


def _unknown(words: str, key: str, known: list[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"{words}: no such key; " + (f"did you mean {close[0]}?" if close else "see --help-set")
