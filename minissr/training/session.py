"""Everything a training needs in one place, made from its configuration."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minissr.data.augment import parse_augment
from minissr.data.faces import Dataset
from minissr.data.loader import Batches
from minissr.data.opening import open_dataset
from minissr.errors import CheckpointError, DataError
from minissr.kernels.backend import use_backend
from minissr.kernels.blas import quiet_blas
from minissr.models.criterion import Criterion
from minissr.models.registry import build
from minissr.models.summary import trace
from minissr.training.average import Average
from minissr.training.checkpoint import read_checkpoint
from minissr.training.config import TrainConfig, fields, show
from minissr.training.network import Network, load_network
from minissr.training.optim import SGD, Adam, Optimizer, Schedule, build_schedule
from minissr.training.profile import NoProfile, Profile
from minissr.training.rundir import RunDirectory
from minissr.training.signals import StopRequest
from minissr.training.state import Progress, recall_times, restore

# Of a network's configuration, what only training reads: with it a face gets the same age.
OF_TRAINING = ("dropout", "momentum", "stage_loss", "first_bias", "head_rate")


@dataclass
class Session:
    """A training that is ready to begin or to go on.

    Attributes
    ----------
    about : dict
        What every checkpoint of this run says: network, preprocessing, recipe, data.
    profile : Profile or NoProfile
        Watches the steps.
    """

    config: TrainConfig
    run: RunDirectory
    stop: StopRequest
    data: Dataset
    model: Any  # a Module with `loss` and `config`; see models/registry.py
    batches: Batches
    optimizer: Optimizer
    schedule: Schedule
    progress: Progress
    about: dict[str, Any]
    criterion: Criterion
    average: Average | None  # of the network over steps, where the configuration wants one
    init: Network | None = None  # the network whose weights it begins with, if any
    profile: Profile | NoProfile = field(default_factory=NoProfile)

    def measured(self) -> contextlib.AbstractContextManager[None]:
        """Inside this the model is what is validated and kept: the average, if there is one."""
        return self.average.shown() if self.average else contextlib.nullcontext()

    @property
    def epochs(self) -> int:
        """Epochs in all."""
        assert self.config.epochs is not None  # a resolved configuration has everything decided
        return self.config.epochs

    @property
    def images(self) -> int:
        """Training images of one epoch."""
        return self.batches.count


def is_finished(config: TrainConfig, run: RunDirectory) -> bool:
    """Whether there is nothing left to do; the report is written last."""
    if not (run.report.exists() and run.last.exists()):
        return False
    progress = read_checkpoint(run.last).metadata.get("progress", {})
    return progress.get("epoch") == config.epochs


def open_session(config: TrainConfig, run: RunDirectory, stop: StopRequest) -> Session:
    """Open the data, build the network, and take up the run where it is.

    Raises
    ------
    DataError, CheckpointError, ValueError
        If the data, the checkpoints or a setting can't be used.
    """
    # What is quick to refuse comes before faces are drawn.
    choose_threads(config)
    model: Any = build(
        config.model, rng=np.random.default_rng(config.seed), **config.model_settings
    )
    augment = parse_augment(config.augment)
    criterion = build_criterion(config)
    criterion.check(model.config())
    resuming = run.last.exists()
    init = load_network(config.init) if config.init and not resuming else None
    if init is not None:
        start_from(init, model)
    data = open_dataset(config.data, seed=config.seed, settings=dict(config.data_settings))
    check_enough(data)
    check_size(data, model)
    fed = data.preprocessing.fed(config.pixels)
    data = dataclasses.replace(data, preprocessing=fed)
    faces = data.split("train")
    batches = Batches(faces, config.batch_size, seed=config.seed, augment=augment)
    about: dict[str, Any] = {
        "model": model.config(),
        "preprocessing": data.preprocessing.to_json(),
        "training": config.recipe(),
        "data": {
            "digest": data.digest,
            "train_median": float(np.median(faces.ages)),
            "best_possible_mae": data.best_possible_mae,
        },
        "init": init and init.sha256,
    }
    model.to(config.backend)
    optimizer = build_optimizer(config, model)
    average = Average(model, optimizer, config.average) if config.average else None
    progress = Progress()
    if resuming:
        progress, about["init"] = restore(run.last, model, optimizer, average, about)
        recall_times(run.metrics, progress.history)
    schedule = build_schedule(
        config.schedule,
        lr=config.lr,
        epochs=config.epochs or 1,
        steps_per_epoch=len(batches),
        warm_up=config.warm_up,
    )
    return Session(
        config,
        run,
        stop,
        data,
        model,
        batches,
        optimizer,
        schedule,
        progress,
        about,
        criterion,
        average,
        init,
    )


def start_from(network: Network, model: Any) -> None:
    """Copy a trained network's weights, as the paper's chain of data sets does."""
    theirs: Any = network.model
    try:
        model.load_state_dict(theirs.state_dict())
    except CheckpointError as error:
        what = differences(theirs.config(), model.config()) or str(error)
        raise CheckpointError(
            f"{network.path}: {what}; choose the --model, --stages and --set it was trained with"
        ) from error


def differences(theirs: dict[str, Any], mine: dict[str, Any]) -> str:
    """How two configurations of networks differ, in words; hundreds of shapes would say less."""
    if theirs["name"] != mine["name"]:
        return f"is a network {theirs['name']}, not {mine['name']}"
    changed = [
        f"{key} {show(theirs[key])} instead of {show(value)}"
        for key, value in mine.items()
        if key in theirs and theirs[key] != value
    ]
    return f"is a network with {', '.join(changed)}" if changed else ""


def build_optimizer(config: TrainConfig, model: Any) -> Optimizer:
    """The optimiser that the configuration names."""
    decay = config.weight_decay
    if config.optimizer == "sgd":
        momentum = config.sgd_momentum
        return SGD(model.parameters(), config.lr, momentum=momentum, weight_decay=decay)
    return Adam(model.parameters(), config.lr, form=config.adam_form, weight_decay=decay)


def build_criterion(config: TrainConfig) -> Criterion:
    """The loss that the configuration names."""
    return Criterion(config.loss, config.smooth_delta, config.label_sigma, config.divergence_weight)


def check_enough(data: Dataset) -> None:
    """Refuse data that nothing can be learnt from, or whose learning can't be watched."""
    if "train" not in data.splits:
        raise DataError(
            f"{data.name} has no training faces; give some of its pictures the split train and "
            "prepare it again"
        )
    if len(data.split("train")) < 2:
        raise DataError(
            f"{data.name} has one training face; batch normalisation needs at least 2, "
            "so prepare more pictures"
        )
    if "val" not in data.splits:
        raise DataError(
            f"{data.name} has no validation faces, by which the best network is chosen; "
            "prepare more pictures, or give some of them the split val"
        )


def check_size(data: Dataset, model: Any) -> None:
    """Refuse faces of another size than the network looks at."""
    size = data.preprocessing.size
    wanted = model.config().get("image_size", size)
    if size != wanted:
        raise DataError(
            f"the network looks at faces of {wanted}x{wanted} pixels, those of {data.name} have "
            f"{size}x{size}; --set image_size={size}"
        )


def choose_threads(config: TrainConfig) -> None:
    """Compute with as many threads as were asked for; NumPy with one, so that bits are equal."""
    if config.backend == "numpy":
        quiet_blas()
    elif config.threads and config.backend == "numba":
        from minissr.kernels.threads import set_threads

        set_threads(config.threads)


def threads_in_words(backend: str) -> str:
    """How many threads compute, where that is ours to say."""
    if backend != "numba":
        return ""
    from minissr.kernels.threads import get_threads

    return f", {get_threads()} threads"


def introduction(session: Session) -> list[str]:
    """What is trained on what and how, before it begins."""
    config, model = session.config, session.model
    lines = [
        f"run       {session.run.path}",
        f"backend   {config.backend}{threads_in_words(config.backend)}",
        f"data      {session.data.describe()}",
        f"augment   {session.batches.augment.name}",
        f"network   {model_line(config.model, model, session.data.preprocessing.size)}",
        f"training  {counted(session.epochs, 'epoch')} of {counted(len(session.batches), 'step')}"
        f" of {config.batch_size} images; {config.optimizer}, learning rate {config.lr:g}, "
        f"{config.schedule} schedule{others_in_words(config)}",
        *(f"note      {note}" for note in notes(session)),
    ]
    if session.progress.step:
        lines.append(
            f"resumed   at epoch {session.progress.epoch + 1}, step {session.progress.step}"
        )
    return lines


def notes(session: Session) -> list[str]:
    """What is done with weights and data that don't quite fit the network or the batches."""
    faces, batch_size = len(session.data.split("train")), session.config.batch_size
    max_age = session.model.config().get("max_age")
    told = [f"{words}; its weights are taken all the same" for words in changes(session)]
    if max_age is not None and (above := labels_above(session.data, max_age)):
        told.append(
            f"{above:,} labels exceed the network's range of {max_age:g} years; they are kept"
        )
    if faces < batch_size:
        told.append(
            f"{faces} training faces don't fill a batch of {batch_size}; each step sees all of them"
        )
    if session.images < faces:
        told.append(
            f"one face of {faces:,}, another each epoch, is left out: batch normalisation can't "
            "train on a last batch of one"
        )
    return told


def changes(session: Session) -> list[str]:
    """How the network that this one begins with differs, where shapes alone don't tell."""
    if session.init is None:
        return []
    theirs: Any = session.init.model
    settings = {k: v for k, v in theirs.config().items() if k not in OF_TRAINING}
    words = [differences(settings, session.model.config())]
    fed, now = session.init.preprocessing.to_json(), session.data.preprocessing.to_json()
    other = [
        f"{key} {show(fed[key])} instead of {show(now[key])}"
        for key in ("color", "scale", "offset")
        if fed[key] != now[key]
    ]
    words += [f"was fed with {', '.join(other)}"] if other else []
    return [f"{session.init.path} {what}" for what in words if what]


def counted(n: int, what: str) -> str:
    """A number of things: "1 step", "2 steps"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def others_in_words(config: TrainConfig) -> str:
    """The quieter settings, where they are not as usual."""
    changed = [
        f"{key} {getattr(config, key)}"
        for key, f in fields().items()
        if f.metadata["quiet"] and getattr(config, key) != f.default
    ]
    return "".join(f", {words}" for words in changed)


def model_line(name: str, model: Any, size: int) -> str:
    """A network in one line."""
    with use_backend("numpy"):  # nothing has to be compiled to count
        rows = trace(model, np.zeros((1, size, size, 3), np.uint8))
    settings = model.config()
    words = [f"{name} {settings['variant']}" if "variant" in settings else name]
    if "stages" in settings:
        words.append(f"stages {','.join(map(str, settings['stages']))}")
    words.append(f"{model.parameter_count():,} parameters")
    words.append(f"{sum(row.macs for row in rows) / 1e6:.1f} million multiply-adds a face")
    return ", ".join(words)


def labels_above(data: Dataset, max_age: float) -> int:
    """How many faces are older than the network's range; they are kept all the same."""
    return sum(int((faces.ages > max_age).sum()) for faces in data.splits.values())
