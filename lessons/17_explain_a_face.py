# %% [markdown]
# # 17. Why this age?
#
# **Question:** Which bins made this face so old, and which pixels made the bins?
#
# **Minutes:** 15 · **Needs:** NumPy, Numba
#
# ## Goal
#
# To take one answer apart: first into what each stage adds, exactly; then into pixels, as far as
# that is possible.
#
# ## What you need
#
# Lesson 11 for the bins, lesson 14 for training. Nothing of the paper's is needed for the pixels:
# a gradient with respect to the picture is the same chain rule.
#
# ## In the paper
#
# Section 3.3: "Both the scale and shift of bins are regression results of the input image." The
# paper shows no example; here is one.

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

from lessons import style
from lessons.check import check, hint
from lessons.rulers import rulers
from lessons.studies.common import faces_of, train_network
from minissr import Tensor, no_grad

style.begin()

# %% [markdown]
# ## A network that has seen some faces
#
# 600 drawn faces, a dozen epochs. It is no good network, but one that looks; a better one, trained
# by `python -m minissr.train`, can be taken apart with the same cells.

# %%
train, test = faces_of("train", 600), faces_of("test", 60)
net, history = train_network(
    {"variant": "minissr", "momentum": 0.9}, train, test, epochs=12, seed=0, batch_size=25
)
net.eval()
print(f"test MAE {history[-1]['val_mae']:.1f} years")
with no_grad():
    predicted = net(test.images).numpy()
chosen = int(np.argmin(np.abs(predicted - test.ages) + np.abs(test.ages - 45)))
face, true = test.images[chosen], test.ages[chosen]
print(f"face {chosen}: true age {true:.0f}, predicted {predicted[chosen]:.1f} years")

# %% [markdown]
# ## The stages' shares
#
# `explain` returns what each stage said. The shares add up to the age, to the last digit: nothing
# is approximated here.
#
# **Predict.** Which stage adds most to this face? How much can stage 3 add at most, with everything
# in its last bin, and that shifted by a whole bin?

# %%
told = net.explain(face[None])
for k, stage in enumerate(told["stages"], 1):
    width, adds = stage["width"][0], stage["contribution"][0]
    print(f"stage {k}: bins of {width:5.1f} years, p {stage['p'][0].round(2)}, "
          f"adds {adds:5.1f} of at most {3 * width:5.1f} years")  # fmt: skip
total = sum(stage["contribution"][0] for stage in told["stages"])
print(f"together {total:.2f} years")
assert np.isclose(total, told["age"][0], rtol=1e-4)

# %% [markdown]
# Beside it the face that the network takes for the youngest, with its own bins.


# %%
def draw_bins(ax, image):
    """The rulers of one face; returns its age in years."""
    stages = net.explain(image[None])["stages"]
    p, eta = (np.concatenate([stage[name][0] for stage in stages]) for name in ("p", "eta"))
    stretch = net.settings.lambda_d * np.array([stage["delta"][0] for stage in stages])
    return rulers(ax, p, net.settings.lambda_local * eta, stretch, stages=(3, 3, 3), V=101.0)


fig, axs = style.figure(2, 2, width=8, height=6)
for row, n in zip(axs, (chosen, int(predicted.argmin())), strict=True):
    style.picture(row[0], test.images[n], f"true age {test.ages[n]:.0f}")
    assert np.isclose(draw_bins(row[1], test.images[n]), predicted[n], rtol=1e-3)
style.show(
    fig,
    "Two drawn faces, and beside each the rulers of its three stages: bins darker where p is "
    "larger, with an arrow for what each stage adds, down to the line of the age. The bins of the "
    "two faces lie in other places and have other widths.",
)

# %% [markdown]
# Two faces, two sets of bins: that is dynamic range. What each stage adds, over all test faces:

# %%
every = net.explain(test.images)["stages"]
fig, ax = style.figure()
for k, marker in enumerate("os^"):
    ax.plot(test.ages, every[k]["contribution"], marker, color=style.CYCLE[k], ms=4,
            label=f"stage {k + 1}")  # fmt: skip
style.label(ax, "true age [years]", "what the stage adds [years]")
ax.legend()
style.show(
    fig,
    "What each stage adds against the true age, for sixty faces. Stage 1's share rises with the "
    "age; those of stages 2 and 3 are small.",
)
print(
    "widths of stage 1:", every[0]["width"].min().round(1), "to", every[0]["width"].max().round(1)
)

# %% [markdown]
# ## Which pixels?
#
# The gradient of the age with respect to the *picture*: how many years more, if this pixel were
# brighter? Large values, of either sign, are where the network is sensitive.
#
# **Predict.** Will the gradient be smooth, like a photo of the important places, or noisy?


# %%
def pixel_gradient(image):
    """image (64, 64, 3) -> d age / d pixel, (64, 64, 3), in years for one unit of brightness."""
    pixels = Tensor(image[None].astype(np.float32), requires_grad=True)
    net(pixels).sum().backward()
    return pixels.grad[0]


gradient = pixel_gradient(face)
green = gradient[:, :, 1]
limit = np.abs(green).max()
fig, axs = style.figure(1, 2, width=6.4, height=2.9)
style.picture(axs[0], face, "the face")
drawn = style.picture(axs[1], green, "gradient, green channel", cmap=style.DIVERGING,
                      vmin=-limit, vmax=limit)  # fmt: skip
fig.colorbar(drawn, ax=axs[1]).set_label("years for one unit\nof brightness")
style.show(
    fig,
    "The face, and the gradient of its age with respect to the green channel, pixel by pixel: a "
    "noisy pattern of both signs in which the face can hardly be made out.",
)
agree = np.mean(np.sign(green[:, 1:]) == np.sign(green[:, :-1]))
print(f"neighbours in a row have the same sign in {agree:.0%} of the pairs")

# %% [markdown]
# Noisy: neighbours often disagree even in sign, though no age depends on a single pixel. Is it
# right at all? The finite difference along the gradient itself, in steps of half a unit of
# brightness, spread over all pixels.

# %%
direction = gradient / np.sqrt((gradient**2).sum())
ages = []
with no_grad():
    for step in (0.5, -0.5):
        ages.append(float(net(face[None].astype(np.float32) + step * direction).numpy()[0]))
slope = ages[0] - ages[1]
length = float(np.sqrt((gradient**2).sum()))
print(f"length of the gradient {length:.4f}, finite difference {slope:.4f} years")
assert np.isclose(slope, length, rtol=0.1)  # the network bends, and this is float32

# %% [markdown]
# ## A second witness: cover a part
#
# A gradient tells of tiny changes. What if a patch were not there at all? Grey it out, patch by
# patch, and see how the age moves.


# %%
def cover(image, size=8):
    """Years by which the age changes as each patch is replaced by the picture's mean colour."""
    places = range(0, 64, size)
    covered = np.repeat(image[None], len(places) ** 2, axis=0)
    for n, (row, column) in enumerate((r, c) for r in places for c in places):
        covered[n, row : row + size, column : column + size] = image.mean(axis=(0, 1))
    with no_grad():
        change = net(covered).numpy() - net(image[None]).numpy()
    return change.reshape(len(places), len(places))


# %%
change = cover(face)
smooth = np.abs(gradient).sum(axis=2).reshape(8, 8, 8, 8).mean(axis=(1, 3))
fig, axs = style.figure(1, 3, width=9, height=2.7)
style.picture(axs[0], face, "the face")
drawn = style.picture(axs[1], smooth, "size of the gradient", cmap=style.SEQUENTIAL)
fig.colorbar(drawn, ax=axs[1]).set_label("years a unit")
limit = np.abs(change).max()
drawn = style.picture(axs[2], change, "change if covered", cmap=style.DIVERGING,
                      vmin=-limit, vmax=limit)  # fmt: skip
fig.colorbar(drawn, ax=axs[2]).set_label("years")
style.show(
    fig,
    "The face, the size of the gradient in patches of eight pixels, and the change of the age as "
    "each patch is covered. Both maps are strongest on the face, and they agree in part only.",
)
together = np.corrcoef(smooth.ravel(), np.abs(change).ravel())[0, 1]
print(f"correlation of the two maps {together:.2f}")

# %% [markdown]
# Two witnesses, two questions, two answers: the gradient says where a *little* change would matter,
# covering says what the network *uses*. Neither says why. A synthetic face has an advantage over a
# photo: we know which of its features depend on the age (`minissr/data/people.py`), so one can
# check.
#
# ## A test that needs no truth
#
# A mirrored face is as old as before.
#
# **Predict.** Training flipped no faces here. Is the difference smaller or larger than the error of
# the network?

# %%
with no_grad():
    mirrored = net(np.ascontiguousarray(test.images[:, :, ::-1])).numpy()
difference = np.abs(mirrored - predicted).mean()
print(f"mean difference between a face and its mirror image: {difference:.1f} years")
error = np.abs(predicted - test.ages).mean()
print(f"mean absolute error: {error:.1f} years")
both = np.abs((predicted + mirrored) / 2 - test.ages).mean()
print(f"mean of both answers: {both:.1f} years off")
assert 0.5 < difference < error
assert both <= (error + np.abs(mirrored - test.ages).mean()) / 2

# %% [markdown]
# Smaller, but years: nothing in a convolution is symmetric, the network would have to learn it.
# Training with mirrored faces (lesson 14) teaches it. And the mean of both answers costs only time,
# and is never worse than the two are on average.
#
# ## Break it
#
# The classic mistake: asking for the gradient in *training* mode. Batch norm then uses the
# statistics of the batch, and this face's age depends on its neighbours' pixels. `training=True`
# shows it.


# %%
def gradient_of_first(training):
    """How strongly the first face's age reacts to its own pixels and to the others'."""
    net.train(training)
    pixels = Tensor(test.images[:8].astype(np.float32), requires_grad=True)
    net(pixels, rng=np.random.default_rng(0))[:1].sum().backward()
    net.eval()
    size = np.abs(pixels.grad).sum(axis=(1, 2, 3))
    return size[0], size[1:].sum()


for training in (False, True):
    own, others = gradient_of_first(training)
    print("broken" if training else "right ", f"own pixels {own:7.1f}, other faces {others:7.1f}")
    assert (others > 0) == training

# %% [markdown]
# ## Exercises
#
# Write your answers in `lessons/my/e17.py`.
#
# **Exercise 17.1** `shares(p, eta, delta, stages, V)`: for one face, what each stage adds, (K,), in
# years. `p` and `eta` are (s_1 + ... + s_K,), `delta` is (K,).

# %%
check("17.1")

# %% [markdown]
# **Exercise 17.2** `cover(predict, image, size)`: a map (H / size, W / size) of how the answer of
# `predict` changes as each patch is set to 0. `predict` takes images (N, H, W) and returns (N,).

# %%
check("17.2")

# %% [markdown]
# **Exercise 17.3** (open-ended) `attribute(predict, gradient, image)`: a map of the image's shape
# that *adds up* to `predict(image) - predict(0)`, to one part in a hundred. (A plain gradient
# times the image doesn't, unless the function is a straight line.) `gradient(image)` is given.
# Stuck? Run this cell again.

# %%
check("17.3")
hint("17.3")

# %% [markdown]
# ## What we learned
#
# - The age is an exact sum of the stages' shares, and their bins differ from face to face.
# - Pixels are harder: the gradient and covering answer different questions.
# - Explain in evaluation mode, or the neighbours speak too.
#
# ## Next
#
# [Lesson 18](18_measuring_speed.ipynb): how fast is it, honestly?
