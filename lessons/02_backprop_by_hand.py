# %% [markdown]
# # 02. Backpropagation by hand
#
# **Question:** How does one number at the end tell twelve thousand at the beginning what to do?
#
# **Minutes:** 20 · **Needs:** NumPy
#
# ## Goal
#
# Lesson 01 wrote an engine that walks back by itself. This lesson walks by hand: two layers between
# the pixels of a face and an age, the gradient of each line derived with a pencil, in the language
# of matrices. Then the twelve thousand weights learn, by nothing but your derivatives. Whoever has
# done this once reads any backward pass.
#
# ## What you need
#
# Lesson 01 (slopes multiply along a path and add up over paths), and the product of two matrices.
#
# ## In the paper
#
# Section 3.1, Eq. 1: training searches for the function that minimises the mean absolute error
# between predicted and real ages. The paper's own network is lesson 13; here a smaller one
# minimises the same error.

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

from lessons import style
from lessons.check import check, hint
from minissr import Tensor, ops
from minissr.data.synthetic import draw_faces

style.begin(numpy_alone=True)

# %% [markdown]
# ## Faces and ages
#
# The package draws faces: hair that turns grey, wrinkles, glasses, and chance. Nobody's face is in
# it. Two thousand to learn from, five hundred to be judged by.

# %%
faces, ages, _ = draw_faces(2000, stream="train", seed=1)
unseen_faces, unseen_ages, _ = draw_faces(500, stream="val")
fig, axes = style.figure(1, 6, width=7.6, height=1.7)
for ax, face, years in zip(axes, faces, ages, strict=False):
    style.picture(ax, face, f"{years:.0f} years")
style.show(
    fig,
    "Six drawn faces in a row, each with its age above it; hair, skin and glasses differ, and the "
    "pictures are as varied in light and position as photographs are.",
)

# %% [markdown]
# Each picture has 64 x 64 pixels of three colours. To keep the numbers small we average squares of
# 4 x 4 pixels, and shift and scale so that the values lie around zero.

# %%
SIDE = 16  # pixels


def as_rows(images):
    """Pictures (N, 64, 64, 3) as rows (N, 768) of numbers from -2 to 2."""
    squares = images.reshape(-1, SIDE, 4, SIDE, 4, 3)
    small = squares.mean(axis=(2, 4), dtype=np.float64)  # (N, 16, 16, 3)
    return (small.reshape(len(images), -1) - 128) / 64


x, target = as_rows(faces), ages.astype(np.float64)
x_unseen = as_rows(unseen_faces)
N, D = x.shape
print(f"x is {N} faces by {D} numbers, from {x.min():.2f} to {x.max():.2f}")

# %% [markdown]
# ## Forward
#
# Two layers. The first makes 16 numbers out of 768, each a weighted sum of all of them, and bends
# each with a hyperbolic tangent; the second makes an age out of the 16. Write the shapes beside the
# lines: half of backpropagation is that they have to fit.

# %%
H = 16  # hidden numbers


def draw_weights(seed):
    rng = np.random.default_rng(seed)
    w1 = rng.normal(0, D**-0.5, (D, H))
    w2 = rng.normal(0, H**-0.5, (H, 1))
    return {"w1": w1, "b1": np.zeros(H), "w2": w2, "b2": np.array([40.0])}  # years


def forward(x, w1, b1, w2, b2):
    z = x @ w1 + b1  # (N, D) (D, H) -> (N, H)
    h = np.tanh(z)  # (N, H)
    y = (h @ w2 + b2)[:, 0]  # (N, H) (H, 1) -> (N, 1) -> (N,), years
    return z, h, y


weights = draw_weights(seed=0)
z, h, y = forward(x, **weights)
print(sum(w.size for w in weights.values()), "weights; the first ages:", y[:5].round(1))
assert sum(w.size for w in weights.values()) == 12_321

# %% [markdown]
# The result is judged by Eq. 1, the mean absolute error. Here $n$ counts the faces, $y_n$ is what
# the network says and $t_n$ the age.
#
# $$J = \frac{1}{N} \sum_{n} |y_n - t_n|$$
#
# What is the error of a machine that never looks, and always says the median?


# %%
def mean_absolute_error(y, t):
    return np.abs(y - t).mean()


blind = mean_absolute_error(np.median(target), unseen_ages)
print(f"untrained: {mean_absolute_error(y, target):.2f} years;  always the median: {blind:.2f}")

# %% [markdown]
# ## Back, line by line
#
# We write $\bar{a}$ for $\partial J / \partial a$, which has the shape of $a$. Start at the end.
# One age that is one year higher changes its own $|y_n - t_n|$ by one year, up or down, and the
# mean by one $N$-th of a year:
#
# $$\bar{y}_n = \frac{1}{N} \operatorname{sign}(y_n - t_n)$$
#
# **Predict.** There are 2000 faces. What are the possible values of $\bar{y}_n$, and what do their
# absolute values add up to?

# %%
y_bar = np.sign(y - target) / N  # (N,)
print(np.unique(y_bar), "add up to", np.abs(y_bar).sum())
assert np.isclose(np.abs(y_bar).sum(), 1)

# %% [markdown]
# How wrong an age is does not matter, only on which side. That is the character of the mean
# absolute error: a face that is 40 years off pulls exactly as hard as one that is 4 years off.
#
# ### A layer
#
# Take the second layer as $y = h W$ with a bias, $y_{no} = \sum_i h_{ni} W_{io} + b_o$. Which
# $y$ does $W_{io}$ touch? Those of column $o$, of **every** face, with slope $h_{ni}$. Which does
# $h_{ni}$ touch? Those of **its own** face, in every column, with slope $W_{io}$. Paths add up:
#
# $$\bar{W}_{io} = \sum_n h_{ni}\, \bar{y}_{no} \qquad \bar{h}_{ni} = \sum_o \bar{y}_{no}\, W_{io}
# \qquad \bar{b}_o = \sum_n \bar{y}_{no}$$
#
# Sums over a common index are matrix products: $\bar{W} = h^T \bar{y}$ and $\bar{h} = \bar{y} W^T$.
# You need not remember which is transposed. $\bar W$ must have the shape of $W$, and there is only
# one way to make it.
#
# **Predict.** With `h` of shape (2000, 16) and `y_bar` as a column (2000, 1): which product has the
# shape (16, 1) of `w2`?

# %%
g = y_bar[:, None]  # (N, 1)
w2_bar = h.T @ g  # (H, N) (N, 1) -> (H, 1)
b2_bar = g.sum(axis=0)  # (1,)
h_bar = g @ weights["w2"].T  # (N, 1) (1, H) -> (N, H)
assert w2_bar.shape == weights["w2"].shape
assert h_bar.shape == h.shape
print("w2_bar", w2_bar.shape, " b2_bar", b2_bar.shape, " h_bar", h_bar.shape)

# %% [markdown]
# ### Why never the whole table
#
# "The derivative of `y` with respect to `w1`" is, taken literally, a table: every entry of `z`
# by every entry of `w1`. Nobody builds it.

# %%
entries = (N * H) * (D * H)
print(f"d z / d w1 has {entries:,} entries, {entries * 8 / 1e9:.1f} GB; nearly all are zero")
print(f"x has {x.size:,}, {x.size * 8 / 1e6:.1f} MB, and x.T @ z_bar is all we want of it")
assert round(entries * 8 / 1e9, 1) == 3.1

# %% [markdown]
# A backward function therefore never returns a derivative. It takes what came back and returns what
# goes further back: the *product* of a gradient with that table, computed without the table.
#
# ### The bend
#
# $h = \tanh z$ works on each number by itself, so each gradient is multiplied by its own slope. The
# slope of tanh can be written with its value, which is already there:
#
# $$h = \tanh z, \qquad \bar{z} = \bar{h} \, (1 - h^2)$$

# %%
z_bar = h_bar * (1 - h**2)  # (N, H)
w1_bar = x.T @ z_bar  # (D, N) (N, H) -> (D, H)
b1_bar = z_bar.sum(axis=0)  # (H,)
print("w1_bar", w1_bar.shape, " b1_bar", b1_bar.shape)
asleep = (1 - h**2 < 0.05).mean()
print(f"{asleep:.0%} of the bends pass on less than a twentieth")

# %% [markdown]
# Where tanh is nearly flat, almost nothing passes back: a unit that has gone too far out can't be
# told to return. Keep this in mind for lesson 08.
#
# The whole backward pass is six lines. Put it in a function, with a switch that we shall need
# later.


# %%
def backward(x, t, z, h, y, w2, broken=False):
    """The gradients of Eq. 1 with respect to w1, b1, w2 and b2."""
    g = (np.sign(y - t) / len(t))[:, None]  # (N, 1)
    h_bar = g @ w2.T  # (N, H)
    z_bar = h_bar if broken else h_bar * (1 - h**2)  # (N, H)
    return {
        "w1": x.T @ z_bar,
        "b1": z_bar.sum(axis=0),
        "w2": h.T @ g,
        "b2": g.sum(axis=0),
    }


gradient = backward(x, target, z, h, y, weights["w2"])

# %% [markdown]
# ## Is it right?
#
# Try: nudge a few weights of each array, and see what the error does. (Lesson 03 is about this.)


# %%
def error_with(name, place, nudge):
    changed = {key: value.copy() for key, value in weights.items()}
    changed[name][place] += nudge
    return mean_absolute_error(forward(x, **changed)[2], target)


for name, place in [("w1", (300, 3)), ("b1", (5,)), ("w2", (2, 0)), ("b2", (0,))]:
    tried = (error_with(name, place, 1e-7) - error_with(name, place, -1e-7)) / 2e-7
    print(f"{name}{list(place)}: derived {gradient[name][place]:+.6f}  tried {tried:+.6f}")
    assert np.isclose(gradient[name][place], tried, atol=1e-6)

# %% [markdown]
# And the package, whose engine walks the same way by itself:

# %%
tensors = {name: Tensor(w, requires_grad=True, name=name) for name, w in weights.items()}
hidden = ops.tanh(ops.dense(Tensor(x), tensors["w1"], tensors["b1"]))
prediction = ops.dense(hidden, tensors["w2"], tensors["b2"]).reshape(N)
ops.mae(prediction, target).backward()
for name, tensor in tensors.items():
    same = np.allclose(tensor.grad, gradient[name], rtol=1e-10, atol=1e-12)
    print(f"{name}: as by hand: {same}")
    assert same

# %% [markdown]
# ## What it costs
#
# A matrix product of $(N, D)$ and $(D, H)$ takes $N D H$ multiplications. Forward has one for each
# layer. Backward has two: one for the weights, one for the layer before. (The first layer saves the
# second: pixels can't be told anything.)
#
# **Predict.** How many times the work of the forward pass is the backward pass here?

# %%
layers = [("first", N, D, H, 1), ("second", N, H, 1, 2)]
ahead = sum(n * i * o for _, n, i, o, _ in layers)
back = sum(n * i * o * products for _, n, i, o, products in layers)
tries = 12_321 * ahead
print(f"forward {ahead:,} multiplications, backward {back:,}: {back / ahead:.2f} times as many")
print(f"by trying every weight: {tries / (ahead + back):,.0f} times the work of one walk")
assert back < 2 * ahead

# %% [markdown]
# With many layers it is two times, and a whole gradient costs about as much as three forward
# passes, **no matter how many weights there are**. That one fact made deep networks possible.
#
# ## Learning
#
# Go a little way against the gradient, again and again. (The step of the second layer is longer:
# its weights act on years directly.)


# %%
def learn(steps=300, broken=False):
    w = draw_weights(seed=0)
    lengths = {"w1": 0.03, "b1": 0.03, "w2": 0.3, "b2": 0.3}
    seen, unseen = [], []
    for _ in range(steps):
        z, h, y = forward(x, **w)
        seen.append(mean_absolute_error(y, target))
        unseen.append(mean_absolute_error(forward(x_unseen, **w)[2], unseen_ages))
        for name, slope in backward(x, target, z, h, y, w["w2"], broken).items():
            w[name] -= lengths[name] * slope
    return w, np.array(seen), np.array(unseen)


learnt, seen, unseen = learn()
print(f"after {len(seen)} steps: {seen[-1]:.1f} years on these faces, {unseen[-1]:.1f} on unseen")
assert unseen[-1] < 0.8 * blind

# %%
fig, ax = style.figure(height=3.4)
ax.plot(seen, color=style.BLUE, label="faces it learns from")
ax.plot(unseen, color=style.ORANGE, linestyle="--", label="faces it has never seen")
ax.axhline(blind, color=style.GREY, linestyle=":", label="always the median")
style.label(ax, "step", "mean absolute error [years]", "Two layers, derivatives by hand")
ax.set_ylim(0, 26)
ax.legend()
style.show(
    fig,
    "Mean absolute error over 300 steps. Both curves fall, with jitter, from about 20 years: to "
    "about 10 on the faces it learns from and 14 on unseen ones, below the dotted line at 19.",
)

# %% [markdown]
# Six lines of derivatives, and it sees something in 16 x 16 pixels. The gap between the curves is
# what it learnt by heart. What did the hidden units become? Each is a picture of weights: where it
# is orange, a bright pixel of the face raises the unit, where it is purple it lowers it.

# %%
strongest = np.argsort(-np.abs(learnt["w2"][:, 0]))[:6]
fig, axes = style.figure(1, 6, width=7.6, height=1.8)
for ax, unit in zip(axes, strongest, strict=True):
    pixels = learnt["w1"][:, unit].reshape(SIDE, SIDE, 3).mean(axis=2)
    most = np.abs(pixels).max()
    title = f"{learnt['w2'][unit, 0]:+.1f} years"
    style.picture(ax, pixels, title, cmap=style.DIVERGING, vmin=-most, vmax=most)
style.show(
    fig,
    "Six small weight pictures, each with the years its unit adds to the age. In several the hair "
    "above the forehead and the middle of the face stand out from a noisy background.",
)

# %% [markdown]
# ## Break it
#
# The classic mistake in a backward pass is to leave something out. The switch `broken` in our
# function forgets the slope of the bend and passes on what came back as it is: all shapes fit,
# nothing complains, and ten thousand of the gradients are wrong.
#
# **Predict.** Does the network with the wrong derivative still learn?

# %%
_, broken_seen, broken_unseen = learn(broken=True)
fig, ax = style.figure(height=3.2)
ax.plot(unseen, color=style.BLUE, label="right")
ax.plot(broken_unseen, color=style.RED, linestyle="--", label="slope of the bend forgotten")
ax.axhline(blind, color=style.GREY, linestyle=":", label="always the median")
style.label(ax, "step", "error on unseen faces [years]")
ax.set_ylim(0, 26)
ax.legend()
style.show(
    fig,
    "Error on unseen faces over 300 steps, with the right and with the wrong derivative. Both fall "
    "below the median's line, and nothing about the wrong one's curve looks suspicious.",
)
print(f"right {unseen[-1]:.1f} years, wrong {broken_unseen[-1]:.1f}; both below {blind:.1f}")
assert broken_unseen[-1] < blind - 2

# %% [markdown]
# It does: worse, but better than the median, and with a curve like any other. Who has never seen
# the right one would call it a success. **That a network learns proves nothing about its
# gradient.** Hence the next lesson.
#
# ## Exercises
#
# Answers go into `lessons/my/e02.py`. All arrays are float64, `g` is what came back.
#
# **Exercise 02.1** Write `sigmoid_backward(g, z)` for $h = 1 / (1 + e^{-z})$.

# %%
check("02.1")

# %% [markdown]
# **Exercise 02.2** Write `dense_backward(g, x, w, b)` for `y = x @ w + b`: three gradients.

# %%
check("02.2")

# %% [markdown]
# **Exercise 02.3** Write `huber_backward(g, y, t)`, towards `y` only, for the mean over the faces
# of Huber's loss: $e^2/2$ where the error $|e| = |y - t|$ is below 1 year, $|e| - 1/2$ above. It is
# the mean absolute error with its corner rounded off.

# %%
check("02.3")

# %% [markdown]
# **Exercise 02.4** Write `softmax_backward(g, z)` for the rows of `z`: $p_i = e^{z_i} / \sum_j
# e^{z_j}$. Every $p$ depends on every $z$ of its row; still no table is needed.

# %%
check("02.4")

# %% [markdown]
# **Exercise 02.5** From memory: write `gradients_of(x, t, w1, b1, w2, b2)`, which returns the four
# gradients of the mean absolute error of a network like ours, but with $h = \max(z, 0)$ **plus a
# short cut**: $y = h W_2 + b_2 + z W_2$.

# %%
check("02.5")

# %% [markdown]
# ## What we learned
#
# - Backward of a layer: $\bar{W} = h^T \bar{y}$, $\bar{h} = \bar{y} W^T$, $\bar{b}$ the sum over
#   faces; the shapes leave no choice. Backward of a bend: times its own slope.
# - A backward function returns the product with the table of derivatives, never the table.
# - A gradient costs about two forward passes, and a wrong one may learn, too.
#
# ## Next
#
# [Lesson 03](03_trusting_a_gradient.ipynb): how to be sure.
