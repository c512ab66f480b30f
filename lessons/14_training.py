# %% [markdown]
# # 14. Training it
#
# **Question:** What happens between random numbers and a network that is eight years off?
#
# **Minutes:** 20 · **Needs:** NumPy, Numba
#
# ## Goal
#
# To write the training loop on one page, to read its curves, and to see *where* a network is wrong,
# decade by decade.
#
# ## What you need
#
# Lesson 13 for the network, lesson 02 for gradient descent. Numba makes it fast enough (lesson 05);
# without it this lesson runs too, but takes minutes.
#
# ## In the paper
#
# Section 4.1: the L1 loss, Adam, 90 epochs, the learning rate 0.002 that falls by a factor 0.1
# every 30 epochs, batches of 50, "zooming, shifting, shearing, and flipping". And Figure 2, the
# curves.

# %%
import json
import sys
from pathlib import Path

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

import lessons
from lessons import style
from lessons.check import check, hint
from minissr import no_grad, use_backend
from minissr.data.augment import parse_augment
from minissr.data.faces import FaceSet
from minissr.data.loader import Batches
from minissr.data.synthetic import draw_faces
from minissr.models import registry
from minissr.training import metrics
from minissr.training.optim import Adam, build_schedule

style.begin()

# %% [markdown]
# ## Faces, and their augmentation
#
# We train on 400 drawn faces, so few that it is over in seconds. A training face hardly looks the
# same twice: it is mirrored, turned, sheared, shifted and zoomed by chance, and the chance depends
# on seed, epoch and face alone, so that a training can be repeated.
#
# **Predict.** Which of these changes could make a face look *older* than its label?

# %%
train, val = (FaceSet(*draw_faces(n, stream=s)[:2]) for n, s in ((400, "train"), (200, "val")))
augment = parse_augment("paper")
fig, axs = style.figure(2, 6, width=8, height=2.9)
for column in range(6):
    changed = augment(train.images[:2], seed=0, epoch=column, index=np.arange(2))
    for row in range(2):
        style.picture(axs[row, column], changed[row], f"epoch {column + 1}")
style.show(
    fig,
    "Two drawn faces in six epochs each: turned, shifted, mirrored, zoomed or left alone by "
    "chance.",
)

# %% [markdown]
# None of them, and that is the point: they change the picture and not the age. (A change of colour
# might: grey hair is an age cue.)
#
# ## The learning rate
#
# The paper divides by ten twice. We use half a cosine after a short rise: it has no steps to place,
# and ends at zero however short the training is.

# %%
steps = 20
fig, ax = style.figure()
for name, line in (("step", "--"), ("cosine", "-")):
    rate = build_schedule(name, lr=0.002, epochs=90, steps_per_epoch=steps)
    every = np.arange(90 * steps)
    ax.plot(every / steps, [rate(int(step)) for step in every], line, label=name)
style.label(ax, "epoch", "learning rate")
ax.legend()
style.show(
    fig,
    "Learning rate against epoch. The step schedule is 0.002, then a tenth from epoch 30 and a "
    "hundredth from epoch 60. The cosine rises for a few epochs and falls smoothly to zero.",
)
rate = build_schedule("step", lr=0.002, epochs=90, steps_per_epoch=steps)
assert np.isclose(rate(30 * steps) / rate(0), 0.1)

# %% [markdown]
# ## The loop
#
# Everything of this course in a dozen lines: batches, forward, loss, backward, step.


# %%
def train_epoch(model, batches, optimizer, rate, epoch):
    """One pass over the faces; the mean absolute error in years while learning."""
    model.train()
    errors = []
    for images, ages, _ in batches.epoch(epoch):
        optimizer.lr = rate(optimizer.steps)
        model.zero_grad()
        masks = np.random.default_rng((0, optimizer.steps))  # of dropout, where there is any
        loss, predicted = model.loss(images, ages, rng=masks)
        loss.backward()
        optimizer.step()
        errors.append(np.abs(predicted.numpy() - ages).mean())
    return float(np.mean(errors))


def predict(model, images):
    """Ages (N,) in years, in evaluation mode."""
    model.eval()
    with no_grad():
        return model(images).numpy()


# %% [markdown]
# **Predict.** Before any training: is the error nearer to 5, 20 or 50 years?


# %%
def new_training(epochs, augment, lr=0.002):
    with use_backend("auto") as backend:
        model = registry.build("ssrnet", rng=np.random.default_rng(0)).to(backend)
        optimizer = Adam(model.parameters(), lr)
        batches = Batches(train, 25, seed=0, augment=augment)
        rate = build_schedule("cosine", lr=lr, epochs=epochs, steps_per_epoch=len(batches))
    return model, batches, optimizer, rate


EPOCHS = 8
model, *rest = new_training(EPOCHS, "none")
before = metrics.mean_absolute_error(predict(model, val.images), val.ages)
always = metrics.mean_absolute_error(np.full_like(val.ages, np.median(train.ages)), val.ages)
print(f"untrained {before:.1f} years; always the median of the training ages {always:.1f} years")
assert 10 < always < 25

# %% [markdown]
# The second number is the one to beat: a program that never looks.

# %%
history = []
for epoch in range(EPOCHS):
    learning = train_epoch(model, *rest, epoch)
    error = metrics.mean_absolute_error(predict(model, val.images), val.ages)
    history.append((learning, error))
    print(f"epoch {epoch + 1}: training {learning:5.2f}, validation {error:5.2f} years")
assert history[-1][1] < always

# %% [markdown]
# ## A longer training, from our files
#
# 400 faces and eight epochs only show that it moves. A real curve takes minutes, so we keep one:
# the same loop, 2,000 faces, three seeds, with and without augmentation. The file says when and
# how it was made.

# %%
results = Path(lessons.__file__).parent / "studies" / "results"
stored = json.loads((results / "training.json").read_text())
print("made by ", stored["about"]["made_by"], "on", stored["about"]["date"])
print("faces   ", stored["faces"], "recipe", stored["recipe"])
for augment in ("none", "paper"):
    found = [run["test"]["mae"] for run in stored["runs"] if run["augment"] == augment]
    print(f"augment {augment:<6} test MAE of {len(found)} seeds:", np.round(found, 2), "years")
print(f"best possible {stored['best_possible_mae']:.2f} years")
assert stored["faces"]["train"] == 2_000

# %%
fig, axs = style.figure(1, 2, width=8, height=3.1)
for ax, augment in zip(axs, ("none", "paper"), strict=True):
    for run in stored["runs"]:
        if run["augment"] == augment:
            epochs = np.arange(1, len(run["val_mae"]) + 1)
            first = run["seed"] == 0
            ax.plot(epochs, run["train_mae"], "--", color=style.BLUE, lw=1,
                    label="training" if first else None)  # fmt: skip
            ax.plot(epochs, run["val_mae"], color=style.RED, lw=1.5,
                    label="validation" if first else None)  # fmt: skip
    ax.axhline(stored["best_possible_mae"], color=style.GREY, linestyle=":", label="best possible")
    style.label(ax, "epoch", "mean absolute error [years]", f"augmentation: {augment}")
    ax.set_ylim(0, 25)
axs[0].legend()
style.show(
    fig,
    "Training and validation error of three seeds against epoch, without augmentation on the left "
    "and with it on the right. Both fall from about 20 years; training and validation stay close "
    "together with augmentation, and the bound of 2.5 years is far below.",
)

# %% [markdown]
# The paper's Figure 2 is about the gap between the two curves: a gap means learning by heart.

# %%
for augment in ("none", "paper"):
    gaps = [run["val_mae"][-1] - run["train_mae"][-1] for run in stored["runs"]
            if run["augment"] == augment]  # fmt: skip
    print(f"augment {augment:<6} validation minus training error: {np.round(gaps, 2)} years")
    assert (min(gaps) > 2) == (augment == "none")

# %% [markdown]
# Without augmentation the network begins to learn the training faces by heart, with it it doesn't,
# though the test errors are still alike after so few epochs. (With it, training is even the harder
# task: the faces it is shown are turned and cut off, those of the validation are not.) The
# synthetic faces have a floor below which nobody gets, because age cues are noisy; the real world
# has one too, and nobody knows where.
#
# ## Where is it wrong?
#
# One number hides much. The same error decade by decade, of the stored runs:
#
# **Predict.** Which people are judged worst: the youngest, the middle or the oldest? In which
# direction?

# %%
runs = [run for run in stored["runs"] if run["augment"] == "none"]
decades = [d["from"] for d in runs[0]["by_decade"]]
mae = np.mean([[d["mae"] for d in run["by_decade"]] for run in runs], axis=0)
bias = np.mean([[d["bias"] for d in run["by_decade"]] for run in runs], axis=0)
count = [d["n"] for d in runs[0]["by_decade"]]
fig, ax = style.figure(width=7)
at = np.arange(len(decades))
ax.bar(at - 0.2, mae, 0.4, color=style.BLUE, label="mean absolute error")
ax.bar(at + 0.2, bias, 0.4, color=style.RED, hatch="//", edgecolor="white", label="bias")
ax.axhline(0, color="black", linewidth=0.8)
ax.set_xticks(at, [f"{d}-{d + 9}\n({n})" for d, n in zip(decades, count, strict=True)], fontsize=8)
style.label(ax, "true age [years] (number of faces)", "error [years]")
ax.legend()
style.show(
    fig,
    "Bars of error and bias for each decade of age. The error is largest for the oldest, where "
    "faces are few, and there the bias is as large and negative: old people are judged too young.",
)
assert np.argmax(mae) >= 7
assert bias[-1] < 0

# %% [markdown]
# The oldest, by far, and too young: there are few of them, and the mean absolute error is made by
# the many. A reported MAE says as much about the ages of the test people as about the network.
#
# ## Is the gradient right?
#
# A training that works is no proof; lessons 03 and 12 are. But one check costs nothing: a small
# step against the gradient must lower the loss, by learning rate times the squared length of the
# gradient.

# %%
model, *_ = new_training(1, "none")
model.astype(np.float64).train()
images, ages = train.images[:10].astype(np.float64), train.ages[:10].astype(np.float64)
no_mask = {"rng": np.random.default_rng(0)}
with use_backend("numpy"):
    model.to("numpy")
    model.zero_grad()
    loss, _ = model.loss(images, ages, rng=np.random.default_rng(0))
    loss.backward()
    square = sum(float((w.grad**2).sum()) for w in model.parameters() if w.grad is not None)
    step = 1e-7 / square
    for w in model.parameters():
        w.data -= step * (0 if w.grad is None else w.grad)
    after, _ = model.loss(images, ages, rng=np.random.default_rng(0))
print(f"the loss fell by {loss.item() - after.item():.3e}, predicted {step * square:.3e}")
assert np.isclose(loss.item() - after.item(), step * square, rtol=0.02)

# %% [markdown]
# ## Break it
#
# The classic mistake: forgetting `zero_grad`. Gradients of all earlier batches add up, and the step
# goes where the past points. `forget=True` shows it on one batch, repeated.


# %%
def ten_steps(forget):
    model, _, optimizer, _ = new_training(1, "none")
    model.train()
    lengths = []
    for _ in range(10):
        if not forget:
            model.zero_grad()
        loss, _ = model.loss(train.images[:25], train.ages[:25], rng=np.random.default_rng(0))
        loss.backward()
        lengths.append(sum(float((w.grad**2).sum()) for w in model.parameters()
                           if w.grad is not None) ** 0.5)  # fmt: skip
        optimizer.step()
    return np.array(lengths)


right, wrong = ten_steps(False), ten_steps(True)
print("length of the gradient, right: ", right.round(0))
print("length of the gradient, broken:", wrong.round(0))
assert wrong[-1] > 2 * right[-1]

# %% [markdown]
# ## Exercises
#
# Write your answers in `lessons/my/e14.py`.
#
# **Exercise 14.1** `step_schedule(step, lr, epochs, steps_per_epoch)`: the paper's learning rate at
# `step`, counted from 0: divided by 10 after a third and after two thirds of the epochs.

# %%
check("14.1")

# %% [markdown]
# **Exercise 14.2** `by_decade(predicted, true)`: a dict from the first year of each decade that
# occurs (0, 10, ...) to the mean absolute error in it, in years.

# %%
check("14.2")

# %% [markdown]
# **Exercise 14.3** `flip(images, chosen)`: faces (N, H, W, 3) of which those with `chosen` (N,)
# true are mirrored left to right. The input must stay as it was.

# %%
check("14.3")

# %% [markdown]
# **Exercise 14.4** (open-ended) `weights(ages)`: a positive weight for each face, (N,), with mean
# 1, so that every decade that occurs has the same total weight. What would training with them
# change? Stuck? Run this cell again.

# %%
check("14.4")
hint("14.4")

# %% [markdown]
# ## What we learned
#
# - The loop: batch, forward, loss, backward, step; the rate falls, the pictures vary, the age
#   doesn't.
# - Compare with "always the median" and with the best possible, and look at several seeds.
# - The oldest are judged worst and too young: an average hides them.
#
# ## Next
#
# [Lesson 15](15_heads_compared.ipynb): is the stagewise head any good? We measure.
