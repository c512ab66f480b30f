"""The training loop, from the first step to the last on one page."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import numpy as np

from minissr.errors import Interrupted
from minissr.training import metrics
from minissr.training.feed import feed
from minissr.training.measure import health_of, network_input, predict_ages
from minissr.training.progress import Bar
from minissr.training.report import draw_progress
from minissr.training.results import describe
from minissr.training.session import Session
from minissr.training.state import save_best, save_last, write_metrics

WORTH_DRAWING = 10.0  # seconds: after longer epochs the curves are drawn anew each time


def train(session: Session) -> None:
    """Train to the last epoch, or until somebody asks to stop; either way it is saved."""
    progress, epochs = session.progress, session.epochs
    with Bar(epochs * session.images, progress.epoch * session.images + progress.images) as bar:
        save(session)  # from here on there is something to resume
        try:
            while progress.epoch < epochs:
                started = time.perf_counter()
                rate = train_epoch(session, bar)
                record = validate(session)
                record["seconds"] = round(time.perf_counter() - started, 3)
                record["images_per_s"] = round(rate, 1)
                end_epoch(session, record)
                bar.say(describe(progress.history, epochs))
                if record["seconds"] > WORTH_DRAWING:
                    draw_progress(session)
        except BrokenPipeError:  # from the bar, after a whole step or epoch: nobody reads on
            save(session)
            raise


def train_epoch(session: Session, bar: Bar) -> float:
    """The rest of the present epoch; returns images/s, loading and augmentation included."""
    config, progress, model = session.config, session.progress, session.model
    model.train()
    name = f"epoch {progress.epoch + 1}/{session.epochs}"
    images_before, started = progress.images, time.perf_counter()
    last_save = started
    faces: Any = session.batches.epoch(progress.epoch, start_batch=progress.batch)
    with contextlib.closing(faces):
        wanted = ((network_input(i, session.data.preprocessing), ages) for i, ages, _ in faces)
        for inputs, targets, ages in feed(wanted, config.backend):
            session.optimizer.lr = session.schedule(progress.step)
            masks = np.random.default_rng((config.seed, progress.step))

            with session.profile.step():
                session.optimizer.zero_grad()
                loss, predicted = model.loss(inputs, targets, masks, session.criterion)
                loss.backward()
                session.optimizer.step()
                if session.average:
                    session.average.update()

            progress.count_batch(metrics.mean_absolute_error(predicted.numpy(), ages), len(ages))
            bar.advance(len(ages), name, progress.train_mae)
            overdue = time.perf_counter() - last_save > config.checkpoint_every
            if overdue or session.stop.requested:
                save(session)
                session.stop.check()
                last_save = time.perf_counter()
    return (progress.images - images_before) / (time.perf_counter() - started)


def validate(session: Session) -> dict[str, Any]:
    """Measure the network on the validation faces; returns the epoch's line of metrics."""
    progress, faces = session.progress, session.data.split("val")
    pixels = session.data.preprocessing
    try:
        with session.measured():
            predicted = predict_ages(session.model, faces.images, pixels, session.stop.check)
            stages = health_of(session.model, faces.images, pixels)
    except Interrupted:
        save(session)  # the epoch's training is done; a resumed run comes back here
        raise
    return {
        "epoch": progress.epoch + 1,
        "step": progress.step,
        "lr": session.schedule(max(0, progress.step - 1)),
        "train_mae": progress.train_mae,
        "val_mae": metrics.mean_absolute_error(predicted, faces.ages),
        "val_ca3": metrics.cumulative_accuracy(predicted, faces.ages, 3),
        "val_ca5": metrics.cumulative_accuracy(predicted, faces.ages, 5),
        "stage_health": stages,
    }


def end_epoch(session: Session, record: dict[str, Any]) -> None:
    """Write the epoch down: its metrics, the best network so far, and last the whole state.

    In this order a run killed in between repeats the epoch's end and writes the same again.
    """
    is_best = session.progress.finish_epoch(record)
    with session.stop.writing():
        write_metrics(session.run.metrics, session.progress.history)
        if is_best:
            with session.measured():
                save_best(session.run.best, session.model, session.progress, session.about)
    save(session)
    session.stop.check()


def save(session: Session) -> None:
    """Write `last.safetensors`."""
    with session.stop.writing():
        save_last(
            session.run.last,
            session.model,
            session.optimizer,
            session.average,
            session.progress,
            session.about,
        )
