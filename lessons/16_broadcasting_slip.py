# %% [markdown]
# # 16. A broadcasting slip in the wild
#
# **Question:** What do the published age weights really compute, and how could one have noticed?
#
# **Minutes:** 20 · **Needs:** NumPy, Numba
#
# ## Goal
#
# To see how two shapes, (N,) and (N, 1), turned a loss into another one, to train both, and to
# find the difference with *stage health*: a few numbers a stage, by which every training of ours
# tells the live ones.
#
# ## What you need
#
# Lesson 11 (Equation 7), lesson 14 (training).
#
# ## In the paper
#
# Section 3.5, Equation 7, as it is printed; and the 9.29 of Section 4.4. What follows is about the
# *program* that trained the first published weights, which its authors repaired in May 2018.

# %%
import json
import os
import sys
from pathlib import Path

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

import lessons
import minissr
from lessons import style
from lessons.check import check, hint
from lessons.studies.common import faces_of, train_network
from minissr import Tensor, gradcheck, ops
from minissr.errors import MinissrError
from minissr.models.heads import StageAnswer, slipped_regression
from minissr.training.health import stage_health

style.begin()

# %% [markdown]
# ## Two shapes
#
# The numerator $q_k$ of Equation 7 was a sum over bins, shape (N,). The denominator came from a
# dense layer with one unit, shape (N, 1).
#
# **Predict.** What is the shape of (N,) divided by (N, 1), for N = 3?

# %%
numerator = np.array([1.0, 2.0, 3.0])  # (N,)
denominator = np.array([[1.0], [10.0], [100.0]])  # (N, 1)
print(numerator / denominator)
assert (numerator / denominator).shape == (3, 3)

# %% [markdown]
# Three by three: NumPy, like TensorFlow, lines up shapes from the right and stretches what is 1.
# Row $r$, column $c$ holds the numerator of face $c$ with the widths of face $r$. The ages that
# were meant are on the diagonal; everything else is a mixture of two people. There was no error, no
# warning, and the loss compared all of it with the ages.

# %%
rng = np.random.default_rng(16)
N = 4
arrays = [
    (rng.dirichlet(np.ones(3), N), rng.uniform(-0.5, 0.5, (N, 3)), rng.uniform(-0.4, 0.6, (N, 1)))
    for _ in range(3)
]
formula = {"min_age": 0.0, "max_age": 101.0, "c_delta": 1.0, "c_eta": 1.0, "floor": 0.0}


def answers(*flat):
    """Nine arrays, p, eta, delta of three stages, as the heads give them."""
    tensors = [Tensor(a) if isinstance(a, np.ndarray) else a for a in flat]
    return [StageAnswer(*tensors[3 * k : 3 * k + 3], hidden={}) for k in range(3)]


flat = [array for stage in arrays for array in stage]
every = slipped_regression(answers(*flat), **formula).data
fig, ax = style.figure(width=3.4, height=3.0)
style.picture(ax, every, "age [years] of row r, column c", vmin=0, vmax=130)
style.numbers(ax, every.round(0), colour="white")
style.show(fig, "A four by four table of ages: those that were meant are on the diagonal only.")

# %%
p, eta, delta = (np.concatenate([stage[i] for stage in arrays], axis=1) for i in range(3))
meant = ops.soft_stagewise_regression(Tensor(p), Tensor(eta), Tensor(delta), stages=(3, 3, 3))
print("meant   ", meant.data)
print("diagonal", np.diag(every))
assert np.allclose(meant.data, np.diag(every))
report = gradcheck(lambda *flat: slipped_regression(answers(*flat), **formula), flat)
print(f"gradient check: off by {report.worst.error:.0e}, allowed {report.worst.allowed:.0e}")

# %% [markdown]
# The gradient checker is content: the gradient of the *slipped* formula is right. It is a correct
# derivative of the wrong function, which is why no such check finds it.
#
# ## What such a loss teaches
#
# Column $c$ is scored against the ages of *all* rows. So the numerator of a face is pulled towards
# what suits everybody in its batch.
#
# **Predict.** What is the best numerator for a face, if it is judged by everybody's age?

# %%
ages = np.array([5.0, 20, 35, 60, 80])
guess = np.linspace(0, 90, 901)
meant_loss = np.abs(guess[:, None] - ages)  # each face by itself
slipped_loss = meant_loss.mean(axis=1)  # by all
fig, ax = style.figure()
for age, loss in zip(ages, meant_loss.T, strict=True):
    ax.plot(guess, loss, color=style.GREY, lw=1, ls="--", label="its own age" * int(age == 5))
ax.plot(guess, slipped_loss, color=style.RED, label="all ages of the batch")
style.label(ax, "predicted age [years]", "loss [years]")
ax.legend()
style.show(
    fig,
    "Loss against predicted age. Five dashed lines, one for each face, are zero at that face's own "
    "age. The solid line, the mean over all ages, is lowest at 35 years, the median, for every "
    "face.",
)
assert guess[slipped_loss.argmin()] == np.median(ages) == 35

# %% [markdown]
# A constant: the same for every face. (And the widths? Row $r$ is scored against the age of $r$
# only, so $\Delta$ may still look at the face. It becomes the only thing that does.)
#
# That is a suspicion about 9.29, too: switch the dynamic range off *with the slip*, and the widths
# can't look either. Nothing but a constant is left. How widely must ages be spread for "always the
# median" to be 9.29 years off? For a bell-shaped spread:

# %%
bell = np.random.default_rng(0).normal(size=100_000)
share = np.abs(bell - np.median(bell)).mean()  # of the standard deviation
PAPER = 9.29  # years, Section 4.4
print(f"always the median is off by {share:.2f} standard deviations")
print(f"{PAPER} years off: a standard deviation of {PAPER / share:.1f} years")
assert 11 < PAPER / share < 12

# %% [markdown]
# That is plausible for ages from 16 to 77, the range of MORPH2 (Section 4.4), but it is no proof:
# we have neither that program nor those faces.
#
# ## Training both, live
#
# The authors' graph on 300 drawn faces, a few epochs, with the formula as printed and with the
# slip.

# %%
train, val = faces_of("train", 300), faces_of("val", 200)
networks = {}
for words, slip in (("as printed", False), ("with the slip", True)):
    settings = {"variant": "released", "slip": slip, "momentum": 0.9}
    networks[words], history = train_network(settings, train, val, epochs=8, seed=0, batch_size=25)
    print(f"{words:<14} validation MAE {[round(e['val_mae'], 1) for e in history]} years")

# %% [markdown]
# ## Stage health
#
# The errors hardly give the slip away. So look inside: over many faces, how much does each stage's
# own answer move? `own_std` is that, in years, with all widths held at their means; `p_std` is how
# much its probabilities move. A stage whose answer is the same for every face is *dead*, however
# good the age.
#
# **Predict.** Which of the two networks has the larger `own_std` in stage 1?

# %%
for words, network in networks.items():
    print(words)
    for stage in stage_health(network, val.images):
        print(f"  stage {stage.stage}: own_std {stage.own_std:5.2f} years of bins of "
              f"{stage.mean_width:5.1f}, p_std {stage.p_std:.3f}, "
              f"{'alive' if stage.alive else 'DEAD'}")  # fmt: skip

# %% [markdown]
# A few seconds of training are anecdote. The stored study has the same two, longer, with three
# seeds.

# %%
stored = Path(lessons.__file__).parent / "studies" / "results" / "slip.json"
study = json.loads(stored.read_text())
print(study["about"]["made_by"], "on", study["about"]["date"], study["faces"], study["recipe"])
rows = {words: [r for r in study["runs"] if r["formula"] == words] for words in networks}
for words, runs in rows.items():
    for run in runs:
        first = run["history"][-1]["stage_health"][0]
        print(f"{words:<14} seed {run['seed']}: MAE {run['test']['mae']:5.2f}, youngest answer "
              f"{run['youngest']:5.1f}, stage 1 own_std {first['own_std']:5.2f} years")  # fmt: skip
mae = {words: np.mean([r["test"]["mae"] for r in runs]) for words, runs in rows.items()}
print(
    f"always the median {study['median_mae']:.2f}",
    {words: f"{years:.2f} years" for words, years in mae.items()},
)

# %%
fig, axs = style.figure(1, 2, width=8, height=3)
for ax, (words, runs) in zip(axs, rows.items(), strict=True):
    for run in runs:
        own = [[s["own_std"] for s in epoch["stage_health"]] for epoch in run["history"]]
        for k, line in enumerate(("-", "--", ":")):
            ax.plot(np.arange(1, len(own) + 1), np.array(own)[:, k], line, color=style.CYCLE[k],
                    lw=1.2, label=f"stage {k + 1}" if run["seed"] == 0 else None)  # fmt: skip
    style.label(ax, "epoch", "own std [years]", words)
    ax.set_ylim(0, 15)
axs[1].legend()
style.show(
    fig,
    "How much each stage's own answer moves over faces, in years, against the epoch, three seeds. "
    "As printed, one stage or another stays between 6 and 13 years. With the slip all stages fall "
    "below two years.",
)
moved = {w: [max(s["own_std"] for s in r["history"][-1]["stage_health"]) for r in runs]
         for w, runs in rows.items()}  # fmt: skip
assert max(moved["with the slip"]) < min(moved["as printed"])

# %% [markdown]
# There it is: nearly the same error, and entirely different insides. With the slip stage 1 hardly
# looks at the face, with any seed; the others still move a little after so short a training. After
# a longer one on real faces (`released-slip` in the ablation's report, in `benchmarks/results`) no
# stage moves with any of three seeds, and the ages come from the widths alone. It shows at the
# ends, too: the youngest answer is several years older, because widths can only be halved by
# $\Delta < 1$.
#
# ## The authors' files
#
# By the same measure the published imdb, wiki and morph2 files have no live stage: $p$ and $\eta$
# are constants for every face. If you have one of them, name it in the environment variable
# `MINISSR_RELEASED_H5` and run this cell.

# %%
path = os.environ.get("MINISSR_RELEASED_H5")
if not path:
    print("skipped: MINISSR_RELEASED_H5 names no file of the authors")
else:
    try:
        for stage in minissr.load(path).health(val.images):
            print({name: stage[name] for name in ("stage", "own_std", "p_std", "alive")})
    except MinissrError as error:
        print("skipped:", error)

# %% [markdown]
# What such a file can reach follows from Equation 7 alone. With constant $q_k$ and $\Delta_k < 1$
# the lowest age is reached when every stretch doubles its number of bins. With the constants that
# we measured in the imdb file:
#
# **Predict.** Can it say that somebody is ten?

# %%
q = np.array([0.92162, 0.82221, 1.08681])  # imdb, the same for 600 faces
lowest = 101 * (q / np.cumprod([3 * 2, 3 * 2, 3 * 2])).sum()
print(f"the lowest age of the imdb weights is {lowest:.2f} years")
assert round(lowest, 2) == 18.33

# %% [markdown]
# ## What to do about it
#
# - In minissr the losses refuse unequal shapes, and `metrics.errors` too: broadcasting is an error
#   where a pair of lists is meant.
# - The per-image formula alone isn't enough: products of ReLUs die with it as well. Our network has
#   softmax and softplus there.
# - Stage health is printed with every training and evaluation.
#
# ## Break it
#
# The same slip in a loss, in two lines, and what catches it.


# %%
def careless_mae(predicted, ages):
    return np.abs(predicted - ages).mean()


predicted = np.array([10.0, 40.0, 70.0])
print("right ", careless_mae(predicted, np.array([12.0, 41, 66])), "years")
print("broken", careless_mae(predicted, np.array([[12.0], [41], [66]])).round(2), "years")
try:
    ops.mae(Tensor(predicted), np.array([[12.0], [41], [66]]))
except ValueError as error:
    print("minissr:", error)
else:
    raise AssertionError("the slip went through")

# %% [markdown]
# ## Exercises
#
# Write your answers in `lessons/my/e16.py`.
#
# **Exercise 16.1** `shape_of(a, b)`: the shape of the result of `a / b` for two shapes, as a
# tuple, by NumPy's rule and without NumPy: line up from the right; a 1, or nothing, takes the
# other's number. If the shapes don't fit, return the text `"error"`.

# %%
check("16.1")

# %% [markdown]
# **Exercise 16.2** `lowest_age(q, stages, V)`: the lowest age of constant indices `q` (K,) when
# every $\Delta_k$ may come as near to 1 as it likes.

# %%
check("16.2")

# %% [markdown]
# **Exercise 16.3** `own_std(width, index)`: for one stage, both (N,), the standard deviation over
# faces of its own answer in years, the width held at its mean.

# %%
check("16.3")

# %% [markdown]
# **Exercise 16.4** (open-ended) `suspicious(ages)`: true if a network's answers (N,) look as if it
# could not go below some age, though there must be children among the faces. The checker shows it
# networks that can and networks that can't. Stuck? Run this cell again.

# %%
check("16.4")
hint("16.4")

# %% [markdown]
# ## What we learned
#
# - (N,) against (N, 1) is (N, N), silently; the diagonal is what was meant.
# - Such a loss wants an image-independent numerator; the error hardly shows it, stage health does.
# - A gradient check proves the derivative, not the function. Shapes deserve a check of their own.
#
# ## Next
#
# [Lesson 17](17_explain_a_face.ipynb): a network that works, and why it says what it says.
