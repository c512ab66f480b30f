# %% [markdown]
# # 08. Batch norm and its backward
#
# **Question:** What is the gradient of a number that depends on every picture of the batch?
#
# **Minutes:** 25 · **Needs:** NumPy
#
# ## Goal
#
# Batch normalisation brings every channel to mean 0 and spread 1, over the whole batch. So each
# result depends on every picture of the batch, and its gradient is the hardest of all the network's
# layers, in books often two pages. You will derive it in five lines, see what it means (it takes
# away two directions), and find the three classic mistakes: in the variance, in the backward, and
# between training and use.
#
# ## What you need
#
# Lessons 02, 03 and 07. $M$ is the number of values of a channel: pictures times rows times
# columns.
#
# ## In the paper
#
# Section 3.4: batch normalisation is the second part of the basic building block of both streams,
# between the 3 x 3 convolution and the activation. (The idea: Ioffe and Szegedy 2015, Algorithm 1.)

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

from lessons import style
from lessons.check import check, hint
from minissr import Tensor, gradcheck, ops
from minissr.autograd.function import Function
from minissr.autograd.gradcheck import GradientError
from minissr.data.synthetic import draw_faces

style.begin(numpy_alone=True)

# %% [markdown]
# ## What goes wrong without
#
# Ten layers of random weights with a tanh each, on drawn faces. Only the size of the weights
# differs: right, half of that, twice.
#
# **Predict.** A factor of two in one layer is little. What is it after ten?

# %%
faces, _, _ = draw_faces(200, stream="train", seed=2)
pixels = faces.reshape(200, 16, 4, 16, 4, 3).mean(axis=(2, 4)).reshape(200, -1)
start = (pixels - pixels.mean(axis=0)) / pixels.std(axis=0)  # (200, 768)


def spreads(size, normalise, layers=10, units=200):
    """For each activation: the standard deviation going into it, and its mean slope there."""
    rng, h, seen = np.random.default_rng(0), start, []
    for _ in range(layers):
        z = h @ rng.normal(0, size * h.shape[1] ** -0.5, (h.shape[1], units))
        if normalise:
            z = (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-3)
        h = np.tanh(z)
        seen.append((z.std(), (1 - h**2).mean()))
    return np.array(seen)  # (layers, 2)


for size in (0.5, 1.0, 2.0):
    seen, slope = spreads(size, False).T
    print(f"weights x {size}: from {seen[0]:.2f} to {seen[-1]:.5f}, mean slope {slope.mean():.2f}")
assert spreads(0.5, False)[-1, 0] < 0.01
assert spreads(2.0, False)[:, 1].max() < 0.5

# %%
fig, axes = style.figure(1, 2, width=7.4, height=2.8)
looks = {2.0: ("^-", style.RED), 1.0: ("o--", style.BLUE), 0.5: ("v:", style.GREEN)}
for ax, normalise, title in zip(axes, (False, True), ("as it comes", "batch norm"), strict=True):
    for size, (mark, colour) in looks.items():
        seen, _ = spreads(size, normalise).T
        ax.semilogy(range(1, 11), seen, mark, color=colour, label=f"weights x {size}")
    style.label(ax, "layer", "spread (logarithmic)", title)
    ax.set_ylim(3e-4, 10)
axes[0].legend()
style.show(
    fig,
    "Spread going into each of ten layers. As it comes, half-sized weights let it fall by a factor "
    "of hundreds and double-sized ones hold it where tanh is rather flat; with batch norm all are "
    "near 1.",
)

# %% [markdown]
# Small weights whisper until nothing is heard. Double-sized ones keep every layer so loud that its
# tanh passes on, on average, less than half of a gradient. The right size exists, but training does
# not stay there. So let each layer correct itself.
#
# ## Forward
#
# For each channel, over all its $M$ values: subtract the mean, divide by the spread. Then let the
# layer choose another mean $\beta$ and spread $\gamma$ if it likes: these are learnt.
#
# $$\mu = \frac{1}{M} \sum_n x_n, \qquad v = \frac{1}{M} \sum_n (x_n - \mu)^2, \qquad
# \hat{x}_n = \frac{x_n - \mu}{\sqrt{v + \epsilon}}, \qquad y_n = \gamma \hat{x}_n + \beta$$
#
# ($\epsilon$ keeps a dead channel, $v = 0$, from dividing by zero; 0.001 in the released network,
# as in Keras.)

# %%
EPS = 0.001


def forward(x, gamma, beta):
    """x is (M, C): rows of samples, columns of channels."""
    mean = x.mean(axis=0)
    var = ((x - mean) ** 2).mean(axis=0)
    xhat = (x - mean) / np.sqrt(var + EPS)
    return gamma * xhat + beta, xhat, mean, var


rng = np.random.default_rng(0)
x = rng.normal(5, 3, (50, 4))
gamma, beta = rng.normal(1, 0.2, 4), rng.normal(0, 1, 4)
y, xhat, mean, var = forward(x, gamma, beta)
theirs, their_mean, their_var = ops.batch_norm(Tensor(x), Tensor(gamma), Tensor(beta))
assert np.allclose(y, theirs.data)
assert np.allclose((mean, var), (their_mean, their_var))
print("means", xhat.mean(axis=0).round(12) + 0.0, " variances", xhat.var(axis=0).round(4))

# %% [markdown]
# The variances are a little below 1: that is $\epsilon$.
#
# ### A trap on the way
#
# School knows another formula for the variance, the mean of the squares less the square of the
# mean. It needs a single pass over the data, so it is tempting. The pixels of a bright channel lie
# near 250, say.
#
# **Predict.** 32-bit numbers have 7 digits. Values near 250 with a spread of 0.01: what variance
# does the school formula find?

# %%
bright = (250 + 0.01 * rng.normal(size=100_000)).astype(np.float32)
school = (bright**2).mean() - bright.mean() ** 2
two_passes = ((bright - bright.mean()) ** 2).mean()
print(f"school formula {school:.6f}, two passes {two_passes:.6f}, right {0.01**2:.6f}")
print(f"differences of numbers near {250**2:,}")
assert abs(two_passes - 1e-4) < 2e-5
assert abs(school - 1e-4) > 5e-5

# %% [markdown]
# A difference of two numbers near 62,500 that should agree in nine digits, with seven at hand: what
# is left is rounding. It may as well be negative, and has no root then. The package takes two
# passes, and adds in 64 bits.
#
# ## Backward
#
# $\bar{\beta}$ and $\bar{\gamma}$ are easy, $y$ is linear in both: $\bar\beta = \sum \bar{y}_n$ and
# $\bar\gamma = \sum \bar{y}_n \hat{x}_n$. Now $x_n$. It moves every $\hat{x}_m$ of its channel, on
# three paths: directly (if $m = n$), through $\mu$, and through $v$. With $r = 1/\sqrt{v +
# \epsilon}$:
#
# 1. directly: $r$ if $m = n$;
# 2. $\mu$ moves by $1/M$, which takes $r / M$ from every $\hat{x}_m$;
# 3. $v$ moves by $\frac{2}{M} (x_n - \mu)$, so $r$ moves by $-\frac{1}{2} r^3 \cdot \frac{2}{M}
#    (x_n - \mu) = -\frac{1}{M} r^2 \hat{x}_n$, and $\hat{x}_m$ by $-\frac{1}{M} r \, \hat{x}_m
#    \hat{x}_n$.
#
# Paths add up:
#
# $$\frac{\partial \hat{x}_m}{\partial x_n} = r \left( [m = n] - \frac{1}{M}
# - \frac{\hat{x}_m \hat{x}_n}{M} \right)$$
#
# Multiply by $\gamma \bar{y}_m$ and sum over $m$. The sums that appear are $\bar\beta$ and
# $\bar\gamma$, which we have:
#
# $$\bar{x}_n = \gamma r \left( \bar{y}_n - \frac{\bar\beta}{M}
# - \hat{x}_n \frac{\bar\gamma}{M} \right)$$


# %%
def backward(gy, xhat, var, gamma, broken=False):
    """The gradients towards x, gamma and beta; `broken` is for later."""
    g_beta = gy.sum(axis=0)
    g_gamma = (gy * xhat).sum(axis=0)
    inside = gy if broken else gy - g_beta / len(gy) - xhat * (g_gamma / len(gy))
    return gamma / np.sqrt(var + EPS) * inside, g_gamma, g_beta


gy = rng.normal(size=y.shape)
tensors = [Tensor(a, requires_grad=True) for a in (x, gamma, beta)]
ops.batch_norm(*tensors)[0].backward(gy)
for tensor, gradient in zip(tensors, backward(gy, xhat, var, gamma), strict=True):
    assert np.allclose(tensor.grad, gradient)
print("as the package's; by trying:", end=" ")
print(gradcheck(ops.batch_norm, [x[:6], gamma, beta], mode="elements").comparisons, "slopes agree")

# %% [markdown]
# ## What it means
#
# Shift all values of a channel by the same amount: $y$ does not change. Stretch them all: hardly,
# either. So a gradient along these two directions would be a lie, and there is none.
#
# **Predict.** What is the sum of $\bar{x}_n$ over $n$, and what that of $\bar{x}_n \hat{x}_n$?

# %%
gx = backward(gy, xhat, var, gamma)[0]
print("sum of gx:       ", np.abs(gx.sum(axis=0)).max() < 1e-12)
along = (gx * xhat).sum(axis=0) / (gy * xhat).sum(axis=0)
print("of what pointed along xhat remains", along.round(5))
assert np.abs(along).max() < 1e-3

# %%
pull = xhat[:, :1] * 0.8 + 0.5 + rng.normal(0, 0.4, (50, 1))  # gradients that mostly say "stretch"
left = backward(pull, xhat[:, :1], var[:1], np.sqrt(var[:1] + EPS))[0]
fig, ax = style.figure(height=2.9)
ax.plot(xhat[:, 0], pull[:, 0], "o", color=style.ORANGE, label="what comes back to y")
ax.plot(xhat[:, 0], left[:, 0], "x", color=style.BLUE, label="what goes back to x, in spreads")
ax.axhline(0, color=style.GREY, linewidth=0.8)
style.label(ax, "normalised value", "gradient")
ax.legend()
style.show(
    fig,
    "Gradients over the normalised values. What comes back to y lies around a rising line above "
    "zero; what goes back to x lies around zero without any slope: mean and trend are gone.",
)

# %% [markdown]
# That is the whole formula in a picture: **the gradient less its mean, less its trend along
# $\hat{x}$**. It also explains a trap of lesson 03: the sum of all outputs of a batch norm has no
# gradient at all, so a check that asks for the slope of a sum asks nothing.
#
# ## In use: memory instead of a batch
#
# A single face has no batch, and nobody's age should depend on who else is in the picture folder.
# So while training, the layer keeps moving averages of $\mu$ and $v$, and in use it takes these.
# They are constants then: batch norm is a straight line, and the three paths are one.
#
# $$\mu^{\text{memory}} \leftarrow 0.99\, \mu^{\text{memory}} + 0.01\, \mu$$
#
# **Predict.** Memory begins at 0, the true mean is 5. What is remembered after 100 batches?

# %%
remembered, steps = [0.0], 600
for _ in range(steps):
    batch_mean = rng.normal(5, 3, 50).mean()
    remembered.append(0.99 * remembered[-1] + 0.01 * batch_mean)
fig, ax = style.figure(height=2.7)
ax.plot(remembered, color=style.BLUE, label="remembered mean")
ax.axhline(5, color=style.GREY, linestyle=":", label="true mean")
style.label(ax, "batches", "mean of a channel")
ax.legend(loc="lower right")
style.show(
    fig,
    "The remembered mean over 600 batches: it rises from 0, reaches about two thirds of the true "
    "mean of 5 after 100 batches, and stays close to it after some 400.",
)
print(f"share of the beginning left after 100 batches: {0.99**100:.3f}, after 400: {0.99**400:.3f}")
assert round(0.99**100, 3) == 0.366

# %% [markdown]
# More than a third of the beginning is still there after 100 batches. Who evaluates a network that
# was trained for 50 steps, in evaluation mode, sees nonsense although the training error is fine.
#
# In use the line can even be folded into the convolution before it: $y = a x + c$ after $x = M W +
# b$ is again a convolution, and batch norm costs nothing. (The package's prediction does so.)

# %%
pictures, kernel = rng.normal(size=(2, 6, 6, 3)), rng.normal(size=(3, 3, 3, 4))
bias = rng.normal(size=4)
memory_mean, memory_var = rng.normal(size=4), rng.uniform(0.5, 2, 4)
convolved = ops.conv2d(Tensor(pictures), Tensor(kernel), Tensor(bias))
wanted, _, _ = ops.batch_norm(convolved, Tensor(gamma), Tensor(beta), memory_mean, memory_var)
a = gamma / np.sqrt(memory_var + EPS)  # (4,), a factor for each output channel
folded = ops.conv2d(Tensor(pictures), Tensor(kernel * a), Tensor((bias - memory_mean) * a + beta))
print("one convolution instead of two layers:", np.allclose(folded.data, wanted.data))
assert np.allclose(folded.data, wanted.data)

# %% [markdown]
# ## Break it
#
# The classic mistake in the backward: to take $\mu$ and $v$ for constants *in training too*, and
# pass on $\gamma r \bar{y}$. Everything runs, and it even learns a little. `broken` plants it; a
# layer of weights $w$ stands in front.
#
# **Predict.** $y$ does not change if $w$ is twice as long. So what is the slope along $w$? And what
# happens to the length of $w$ in training, with the right backward and with the broken one?

# %%
samples = rng.normal(size=(200, 5)) + 2.0
target = np.tanh(samples @ np.array([1.0, -1, 0.5, 0, 0]))[:, None]


def train(broken, steps=300):
    w, lengths, losses = np.ones((5, 1)), [], []
    for _ in range(steps):
        y, xhat, _, var = forward(samples @ w, np.ones(1), np.zeros(1))
        gy = 2 * (y - target) / len(y)  # of the mean squared error
        gw = samples.T @ backward(gy, xhat, var, np.ones(1), broken)[0]
        lengths.append(np.linalg.norm(w))
        losses.append(((y - target) ** 2).mean())
        w -= 0.1 * gw
    along = abs((gw * w).sum()) / (np.linalg.norm(gw) * np.linalg.norm(w) + 1e-12)
    return lengths, losses, along


runs = {broken: train(broken) for broken in (False, True)}
for broken, (lengths, losses, along) in runs.items():
    print(f"broken={broken!s:5} length of w {lengths[0]:.2f} -> {lengths[-1]:.2f}, "
          f"error {losses[-1]:.4f}, share of the slope along w {along:.4f}")  # fmt: skip

# %%
fig, axes = style.figure(1, 2, width=7.4, height=2.6)
for ax, part, name in zip(axes, (0, 1), ("length of w", "mean squared error"), strict=True):
    ax.plot(runs[False][part], color=style.BLUE, label="right")
    ax.plot(runs[True][part], "--", color=style.RED, label="statistics taken for constants")
    style.label(ax, "step", name)
axes[1].legend()
style.show(
    fig,
    "Two curves each over 300 steps. With the right backward the length of w stays and the error "
    "falls to its floor; with the broken one w becomes six times as long, the error hardly falls.",
)
assert runs[True][0][-1] > 5 * runs[False][0][-1]

# %% [markdown]
# Nearly the whole of the broken slope lies along $w$, the one direction in which nothing can be
# gained. The error falls a little and stops, the weights grow without end. Does the check see it?


# %%
class Broken(Function):
    @staticmethod
    def forward(ctx, x, gamma, beta):
        y, xhat, _, var = forward(x, gamma, beta)
        ctx.save(xhat, var, gamma)
        return y

    @staticmethod
    def backward(ctx, gy):
        return backward(gy, *ctx.saved, broken=True)


try:
    gradcheck(Broken.apply, [x[:6], gamma, beta], mode="inputs")
except GradientError as error:
    print(str(error)[:160])
else:
    raise AssertionError("the broken backward was not found out")

# %% [markdown]
# ## Exercises
#
# Answers go into `lessons/my/e08.py`. `x` is (M, C) unless said otherwise, `eps` is 0.001.
#
# **Exercise 08.1** Write `moving(remembered, batches, momentum)`: the remembered mean after a list
# of batch means, one number each.

# %%
check("08.1")

# %% [markdown]
# **Exercise 08.2** Write `batch_norm_backward(gy, x, gamma, beta)`: three gradients, from memory,
# in training.

# %%
check("08.2")

# %% [markdown]
# **Exercise 08.3** Write `fold(w, b, gamma, beta, mean, var)`: weights (KH, KW, C, CO) and bias
# (CO,) of the one convolution that does what a convolution and a batch norm in use do.

# %%
check("08.3")

# %% [markdown]
# **Exercise 08.4** *Layer norm* normalises each row of `x` by itself, over its channels, with no
# `gamma` and `beta`. Write `layer_norm_backward(gy, x)`. Derive it from what you know in one
# sentence.

# %%
check("08.4")

# %% [markdown]
# ## What we learned
#
# - Batch norm keeps every channel where its activation is awake; each output depends on the whole
#   batch.
# - Its gradient is the incoming one less its mean, less its trend along $\hat{x}$, times $\gamma
#   r$.
# - Two passes for the variance, constants only in use, and memory takes hundreds of batches to
#   fill.
#
# ## Next
#
# [Lesson 09](09_dex.ipynb): all parts of a layer are there. Now, how do features become an age?
