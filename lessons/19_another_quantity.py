# %% [markdown]
# # 19. Another quantity, the same head
#
# **Question:** Does soft stagewise regression work for something that isn't an age?
#
# **Minutes:** 20 · **Needs:** NumPy, Numba
#
# ## Goal
#
# To use the whole of this course once more, for a number of another kind: how far a head is
# tilted, in degrees; and to know for which quantities the head must be changed.
#
# ## What you need
#
# Lessons 11 and 14.
#
# ## In the paper
#
# Section 5, the last sentence: "In the future, we would like to explore the proposed ideas for
# other regression problems." Its authors did: FSA-Net (Yang et al. 2019) estimates head pose this
# way.

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

from lessons import style
from lessons.check import check, hint
from lessons.studies.common import faces_of, train_network
from minissr import Tensor, gradcheck, no_grad, ops
from minissr.data.faces import FaceSet
from minissr.kernels import lookup

style.begin()

# %% [markdown]
# ## Any bounded number
#
# Nothing in Equation 7 knows about years. A range from a lower end $L$ to an upper end $U$ will do,
# with $V = U - L$ and the lower end added at last:
#
# $$\tilde y = L + \sum_{k=1}^{K} q_k \, \frac{U - L}{\prod_{j=1}^{k} \bar s_j}$$
#
# In the package these are `min_age` and `max_age`. Temperatures, for example, from 35 to 42 degrees
# Celsius.
#
# **Predict.** Fixed bins, (3, 3), all of it in the first bins: which temperature? And in the middle
# bins of both stages?

# %%
p = Tensor(np.float64([[1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 1, 0]]))
none = Tensor(np.zeros((2, 6))), Tensor(np.zeros((2, 2)))
celsius = {"stages": (3, 3), "min_age": 35.0, "max_age": 42.0}
warm = ops.soft_stagewise_regression(p, *none, **celsius).data
print("degrees Celsius:", warm)
assert np.allclose(warm, [35, 35 + 7 / 3 + 7 / 9])

# %% [markdown]
# **Predict.** Fahrenheit is $1.8\,C + 32$. If range and labels are converted, do the inputs
# $p, \eta, \Delta$ have to change?

# %%
fahrenheit = {"stages": (3, 3), "min_age": 1.8 * 35 + 32, "max_age": 1.8 * 42 + 32}
rng = np.random.default_rng(19)
inputs = [rng.dirichlet(np.ones(3), (4, 2)).reshape(4, 6), rng.uniform(-0.8, 0.8, (4, 6)),
          rng.uniform(-0.4, 0.8, (4, 2))]  # fmt: skip
in_c = ops.soft_stagewise_regression(*map(Tensor, inputs), **celsius).data
in_f = ops.soft_stagewise_regression(*map(Tensor, inputs), **fahrenheit).data
print("Celsius   ", in_c)
print("Fahrenheit", in_f)
assert np.allclose(in_f, 1.8 * in_c + 32)
report = gradcheck(ops.soft_stagewise_regression, inputs, settings=celsius)

# %% [markdown]
# No: the formula commutes with any straight-line change of units. The *gradients* don't: they are
# in years, degrees or whatever the unit is, and so the learning rate that suits one range may not
# suit another. (Adam, which looks at a gradient's size relative to its past, hardly minds.)
#
# ## Tilted heads
#
# Drawn faces again, each turned about its middle by a known angle, from -40 to 40 degrees. The
# angle is the label, and its age doesn't matter.


# %%
def tilt(images, degrees):
    """Turn images (N, 64, 64, 3) by degrees (N,) about their middle."""
    a = np.deg2rad(degrees)
    cos, sin, middle = np.cos(a), np.sin(a), 31.5
    rows = [np.stack([cos, -sin, middle - cos * middle + sin * middle], axis=1),
            np.stack([sin, cos, middle - sin * middle - cos * middle], axis=1)]  # fmt: skip
    matrices = np.stack(rows, axis=1)  # (N, 2, 3): where an output pixel comes from
    return lookup("warp_affine", "numpy")(images, matrices, "bilinear")


def tilted(stream, count, most=40.0, seed=0):
    angles = np.random.default_rng((19, count, seed)).uniform(-most, most, count)
    return FaceSet(tilt(faces_of(stream, count).images, angles), angles)


shown = np.array([-40.0, -20, 0, 20, 40])
turned = tilt(np.repeat(faces_of("test", 1).images, 5, axis=0), shown)
fig, axs = style.figure(1, 5, width=8, height=2.0)
for ax, image, angle in zip(axs, turned, shown, strict=True):
    style.picture(ax, image, f"{angle:+.0f} degrees")
style.show(fig, "One drawn face, turned by -40, -20, 0, 20 and 40 degrees about its middle.")

# %% [markdown]
# The network is the same in every block; only the ends of its range are others. (It could answer a
# bit beyond them, since bins shift.)
#
# **Predict.** Always answering 0 is off by 20 degrees on average. After ten passes over 500 heads,
# is the network off by about 15, 10 or 5?

# %%
train, test = tilted("train", 500), tilted("test", 200, seed=1)
settings = {"variant": "minissr", "min_age": -45.0, "max_age": 45.0, "momentum": 0.9}
net, history = train_network(settings, train, test, epochs=10, seed=0, batch_size=25)
always = np.abs(test.ages).mean()
print(f"always 0: {always:.1f} degrees")
print("network, epoch by epoch:", [round(epoch["val_mae"], 1) for epoch in history])
assert history[-1]["val_mae"] < 0.6 * always

# %%
with no_grad():
    predicted = net.eval()(test.images).numpy()
fig, ax = style.figure(width=4.2, height=3.8)
ax.plot([-40, 40], [-40, 40], "--", color=style.GREY, label="no error")
ax.plot(test.ages, predicted, "o", color=style.BLUE, ms=3, label="a head")
style.label(ax, "true angle [degrees]", "predicted angle [degrees]")
ax.legend()
style.show(fig, "Predicted against true angle of 200 heads, scattered around the diagonal.")
print(f"median error {np.median(np.abs(predicted - test.ages)):.1f} degrees")

# %% [markdown]
# From the same pixels that gave ages, by the same head. Which stages does it use?

# %%
for k, stage in enumerate(net.explain(test.images)["stages"], 1):
    width, index, adds = stage["width"], stage["index"], stage["contribution"]
    choosing, stretching = width.mean() * index.std(), index.mean() * width.std()
    together = np.corrcoef(adds, test.ages)[0, 1]
    print(f"stage {k}: what it adds varies by {adds.std():5.2f} degrees, with widths held by "
          f"{choosing:5.2f}, with choices held by {stretching:5.2f}; "
          f"correlation with the angle {together:+.2f}")  # fmt: skip
    assert k > 1 or 0.5 * choosing < stretching < choosing < adds.std()

# %% [markdown]
# Stage 1 above all. Choosing among its bins and stretching them do nearly the same share of it, and
# as they move together it varies by more than either alone: dynamic range at work.
#
# ## When the ends meet
#
# Tilts are *bounded*: nothing is beyond 45. Directions are not: 355 degrees and 5 degrees are ten
# degrees apart, and their mean is 0, not 180.
#
# **Predict.** Four compass needles point to 350, 355, 5 and 10 degrees. Which single answer has the
# smallest mean absolute error, if we forget that the ends meet?

# %%
needles = np.array([350.0, 355, 5, 10])
answers = np.arange(0, 360, 1.0)
plain = np.abs(answers[:, None] - needles).mean(axis=1)
apart = np.abs(answers[:, None] - needles) % 360
around = np.minimum(apart, 360 - apart).mean(axis=1)
fig, ax = style.figure()
ax.plot(answers, plain, "--", color=style.GREY, label="|a - b|: the ends are 360 apart")
ax.plot(answers, around, color=style.RED, label="the shorter way around")
style.label(ax, "answer [degrees]", "mean absolute error [degrees]")
ax.legend(loc="lower center")
style.show(
    fig,
    "Mean error against the answer. By plain difference everything between 10 and 350 is as good, "
    "about 172 degrees. By the shorter way around the error is lowest at 0, eight degrees.",
)
assert around[0] == 7.5
assert plain[180] == plain.min() == 172.5

# %% [markdown]
# The plain loss recommends *south* for four needles that point north. A stagewise head for
# directions needs a loss that goes the shorter way, or two outputs, sine and cosine.
#
# Another limit is *unbounded* quantities, such as prices: take the logarithm, or choose a range
# wide enough and accept that nothing lies beyond.
#
# ## What to choose
#
# How fine is a head? Its finest bins are as wide as the range, divided by all $s_k$.

# %%
for name, low, high in (("ages [years]", 0, 101), ("tilts [degrees]", -45, 45)):
    print(f"{name:<16} {low} to {high}: 27 classes of {(high - low) / 27:.1f}")

# %% [markdown]
# Everything there is to decide for a new quantity, in one table:
#
# | question | for ages | for tilts |
# |---|---|---|
# | lower and upper end | 0 and 101 | -45 and 45 |
# | how fine must it be? then stages | 3.7 years: (3, 3, 3) | 3.3 degrees: (3, 3, 3) |
# | may the pictures be mirrored? | yes | no: left becomes right |
# | may they be turned? | yes | no: that is the label |
#
# ## Break it
#
# The last two lines of the table are the classic mistake: reusing a recipe with its augmentation. A
# mirrored head tilts the other way, but keeps its label. `mirror=True` trains with mirrored heads.

# %%
for mirror in (False, True):
    images = train.images.copy()
    half = np.random.default_rng(0).random(len(train)) < 0.5 * mirror
    images[half] = images[half][:, :, ::-1]
    faces = FaceSet(images, train.ages)
    _, broken = train_network(settings, faces, test, epochs=5, seed=0, batch_size=25)
    print("mirrored" if mirror else "right   ", [round(e["val_mae"], 1) for e in broken], "degrees")

# %% [markdown]
# With half of the heads mirrored the labels contradict the pictures, and what is left to learn is
# hardly more than "0".
#
# ## Exercises
#
# Write your answers in `lessons/my/e19.py`.
#
# **Exercise 19.1** `circular_error(a, b)`: how many degrees two directions (N,) are apart, the
# shorter way, (N,), for any numbers, also below 0 and above 360.

# %%
check("19.1")

# %% [markdown]
# **Exercise 19.2** `bounded(p, eta, delta, stages, low, high)`: the formula of this lesson in
# NumPy, (N,).

# %%
check("19.2")

# %% [markdown]
# **Exercise 19.3** `mean_direction(degrees)`: the direction, from 0 to below 360, in which the sum
# of unit vectors with these directions (N,) points.

# %%
check("19.3")

# %% [markdown]
# **Exercise 19.4** (open-ended) `circular_loss(a, b)`: a smooth loss (N,) for two directions in
# degrees: 0 where they agree, the same after turning both or adding 360 to one, larger the farther
# apart, up to opposite directions. Stuck? Run this cell again.

# %%
check("19.4")
hint("19.4")

# %% [markdown]
# ## What we learned
#
# - Equation 7 takes any bounded number: two ends, and stages as fine as needed.
# - It doesn't mind units. It does mind ends that meet.
# - Augmentation belongs to the quantity: what changes the label may not be varied.
#
# ## Next
#
# You have been from a pixel to a number and back. Train on your own pictures:
# `python -m minissr.prepare folder PICTURES --out DATA`, then `python -m minissr.train --data
# DATA`.
