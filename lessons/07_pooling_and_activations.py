# %% [markdown]
# # 07. Pooling, ties and activations
#
# **Question:** Why does the network look at every face twice, in two different ways?
#
# **Minutes:** 20 · **Needs:** NumPy
#
# ## Goal
#
# After the convolution come two small operations: an activation, which bends, and a pooling, which
# makes four pixels one. They have hardly any arithmetic and yet decide what a stream of the network
# can see. You will write both kinds of each with their gradients, meet the one place where a
# gradient has to be a matter of convention, and measure how differently the two streams see.
#
# ## What you need
#
# Lessons 02 to 04.
#
# ## In the paper
#
# Section 3.4: the two streams have "different types of activation functions (ReLU versus Tanh) and
# pooling (average versus maximum)" to make them heterogeneous, so that "they could explore
# different features". In the released code, and here, one stream has ReLU and average pooling, the
# other tanh and maximum pooling.

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

from lessons import style
from lessons.check import check, hint
from minissr import Tensor, gradcheck, ops
from minissr.autograd.function import Function
from minissr.autograd.gradcheck import GradientError, KinkError
from minissr.data.synthetic import draw_faces

style.begin(numpy_alone=True)

# %% [markdown]
# ## Four pixels become one
#
# Something to look at: a drawn face, filtered for brightness that falls from top to bottom (lesson
# 04).

# %%
faces, _, _ = draw_faces(40, stream="val")
grey = faces.mean(axis=3, keepdims=True, dtype=np.float64) / 255
edge = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])[:, :, None, None] / 1.0
maps = ops.conv2d(Tensor(grey), Tensor(edge)).data  # (40, 62, 62, 1)
print(maps.shape, f"from {maps.min():.2f} to {maps.max():.2f}")

# %% [markdown]
# A pooling looks at windows of 2 x 2 pixels that don't overlap, each channel by itself, and keeps
# one number: their mean, or the largest. An odd last row or column is dropped. With $R$ for the
# four pixels of a window:
#
# $$y^{\text{avg}} = \frac{1}{4} \sum_{r \in R} x_r, \qquad y^{\text{max}} = \max_{r \in R} x_r$$
#
# No loops are needed: a reshape gives the windows axes of their own.


# %%
def in_windows(x):
    """(N, H, W, C) -> (N, H/2, W/2, C, 4), the four pixels of each window last."""
    n, h, w, c = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2]  # an odd last row or column is dropped
    blocks = x.reshape(n, h // 2, 2, w // 2, 2, c)
    return blocks.transpose(0, 1, 3, 5, 2, 4).reshape(n, h // 2, w // 2, c, 4)


average, maximum = in_windows(maps).mean(axis=4), in_windows(maps).max(axis=4)
assert np.allclose(average, ops.avg_pool(Tensor(maps)).data)
assert np.array_equal(maximum, ops.max_pool(Tensor(maps)).data)
print(maps.shape, "->", average.shape)

# %%
fig, axes = style.figure(1, 4, width=7.6, height=2.1)
titles = ("the face", "filtered", "average of 2 x 2", "maximum of 2 x 2")
for ax, image, title in zip(axes, (grey, maps, average, maximum), titles, strict=True):
    style.picture(ax, image[6, :, :, 0], title, cmap="gray")
style.show(
    fig,
    "A face in grey, its filtered map with bright and dark edges, and two maps of half the size: "
    "the average is smooth with dim edges, the maximum keeps bright edges and thins dark ones.",
)

# %% [markdown]
# ## Backward of the average, backward of the maximum
#
# Each of the four pixels has a quarter of the mean, so each gets a quarter of what comes back. Of
# the maximum only the winner has anything, and gets everything:
#
# $$\bar{x}_r^{\text{avg}} = \frac{\bar{y}}{4}, \qquad
# \bar{x}_r^{\text{max}} = \begin{cases} \bar{y} & x_r \text{ is the first maximum} \\
# 0 & \text{otherwise} \end{cases}$$
#
# **Predict.** What share of the pixels gets any gradient through a maximum pooling?


# %%
def from_windows(gw, shape):
    """Undo in_windows, for a gradient; dropped rows and columns get nothing."""
    n, h, w, c = shape
    gx = np.zeros(shape)
    blocks = gw.reshape(n, h // 2, w // 2, c, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    gx[:, : h // 2 * 2, : w // 2 * 2] = blocks.reshape(n, h // 2 * 2, w // 2 * 2, c)
    return gx


def avg_backward(gy, x):
    return from_windows(np.repeat(gy[..., None] / 4, 4, axis=4), x.shape)


def max_backward(gy, x):
    won = np.arange(4) == in_windows(x).argmax(axis=4)[..., None]  # argmax: the first maximum
    return from_windows(gy[..., None] * won, x.shape)


for backward in (avg_backward, max_backward):
    share = (backward(np.ones_like(average), maps) != 0).mean()
    print(f"{backward.__name__}: {share:.0%} of the pixels learn something")

# %%
gy = np.random.default_rng(0).normal(size=average.shape)
for backward, op in ((avg_backward, ops.avg_pool), (max_backward, ops.max_pool)):
    tensor = Tensor(maps, requires_grad=True)
    op(tensor).backward(gy)
    assert np.allclose(tensor.grad, backward(gy, maps))
print("both as the package's, on", maps.size, "numbers")

# %% [markdown]
# ## Ties
#
# Which pixel is the winner if two are equally large? With random numbers that never happens. In a
# network it happens all the time, because of what comes *before* the pooling.
#
# **Predict.** Put a ReLU, $\max(x, 0)$, on the filtered faces. In what share of the windows do all
# four pixels tie, in what share at least two for the maximum?


# %%
def ties(x):
    windows = in_windows(x)
    at_the_top = (windows == windows.max(axis=4, keepdims=True)).sum(axis=4)
    return (at_the_top > 1).mean(), (at_the_top == 4).mean()


after_relu = np.maximum(maps, 0)
for name, x in (("filtered", maps), ("after a ReLU", after_relu)):
    two, four = ties(x)
    print(f"{name:13} at least two {two:.1%}, all four {four:.1%}")
assert ties(after_relu)[1] > 0.2

# %% [markdown]
# Wherever the ReLU made everything zero, all four tie. At a tie the maximum has a kink (lesson 03),
# there is no slope, and a convention must say what to do. `minissr` takes the first in reading
# order, as most frameworks do; sharing equally would be as good. What is *not* a convention is to
# give everything to each of them. The blocks of the paper's streams avoid the question: the ReLU
# goes with the average, the maximum with the tanh. Where a stage reads them (lesson 13) it comes
# back: there a maximum follows a ReLU, and windows of nothing but zeros are common.

# %%
tied = np.zeros((1, 2, 2, 1))
tensor = Tensor(tied, requires_grad=True)
ops.max_pool(tensor).backward(np.ones((1, 1, 1, 1)))
print("four zeros, gradient 1 back:", tensor.grad.ravel())
assert tensor.grad.ravel().tolist() == [1, 0, 0, 0]
try:
    gradcheck(ops.max_pool, [tied])
except KinkError as error:
    print("KinkError:", str(error).split(",")[0])

# %% [markdown]
# ## Two ways to bend
#
# Without a bend between them two convolutions are one convolution. The two of the paper, with their
# slopes:
#
# $$\operatorname{relu}(x) = \max(x, 0), \qquad
# \operatorname{relu}'(x) = \begin{cases} 1 & x > 0 \\ 0 & x \le 0 \end{cases},
# \qquad \tanh'(x) = 1 - \tanh^2(x)$$
#
# (At zero the ReLU has a kink; by convention its slope there is 0.)

# %%
line = np.linspace(-4, 4, 401)
fig, axes = style.figure(1, 2, width=7.2, height=2.7)
curves = {"relu": (np.maximum(line, 0), line > 0), "tanh": (np.tanh(line), 1 - np.tanh(line) ** 2)}
for (name, both), colour, mark in zip(curves.items(), (style.BLUE, style.RED), "-:", strict=True):
    for ax, values in zip(axes, both, strict=True):
        ax.plot(line, values, mark, color=colour, label=name)
style.label(axes[0], "x", "value")
style.label(axes[1], "x", "slope")
axes[0].set_ylim(-1.5, 3)
axes[0].legend()
style.show(
    fig,
    "Left the values: relu is zero and then rises without end, tanh rises from -1 to 1. Right the "
    "slopes: relu's jumps from 0 to 1 at zero, tanh's is a bell of height 1 around zero.",
)

# %% [markdown]
# Both can fall asleep, in different ways. A ReLU whose input is negative for *every* picture has
# slope 0 for every picture: it is dead and can't come back. A tanh far out has nearly no slope.
#
# **Predict.** Multiply all inputs by ten. What happens to the mean slope of a ReLU, what to that of
# a tanh?

# %%
numbers = np.random.default_rng(0).normal(size=100_000)
scales = 10.0 ** np.linspace(-1.5, 1.5, 31)
relu_slope = [(scale * numbers > 0).mean() for scale in scales]
tanh_slope = [(1 - np.tanh(scale * numbers) ** 2).mean() for scale in scales]
fig, ax = style.figure(height=2.8)
ax.semilogx(scales, relu_slope, color=style.BLUE, label="relu")
ax.semilogx(scales, tanh_slope, ":", color=style.RED, label="tanh")
style.label(ax, "standard deviation of the inputs (logarithmic)", "mean slope")
ax.set_ylim(0, 1.05)
ax.legend()
style.show(
    fig,
    "Mean slope over the spread of the inputs. The relu's is one half at every spread; the tanh's "
    "is near one for small inputs and falls towards zero for large ones.",
)
print(f"at 1: relu {relu_slope[15]:.2f}, tanh {tanh_slope[15]:.2f}; ten times as large: "
      f"relu {relu_slope[25]:.2f}, tanh {tanh_slope[25]:.2f}")  # fmt: skip
assert tanh_slope[25] < 0.1

# %% [markdown]
# So a network with tanh needs its inputs kept near a spread of 1. Lesson 08 does that.
#
# ## What the two streams see
#
# Give both streams the *same* filtered maps, made zero in mean and one in spread, and compare what
# they hand on. Take a texture: more and more bright spots on dark ground, as wrinkles get more.
#
# **Predict.** One stream's mean response grows in proportion to the number of spots; the other's
# stops growing. Which is which, and at how many spots does it stop? There are 16 x 16 windows.


# %%
def relu_average(x):
    return in_windows(np.maximum(x, 0)).mean(axis=4)


def tanh_maximum(x):
    return in_windows(np.tanh(x)).max(axis=4)


rng = np.random.default_rng(0)
order = rng.permutation(32 * 32)
counts = np.arange(0, 1025, 64)
responses = {relu_average: [], tanh_maximum: []}
for count in counts:
    spots = np.zeros(32 * 32)
    spots[order[:count]] = 1.0
    for stream, values in responses.items():
        values.append(stream(spots.reshape(1, 32, 32, 1)).mean())

# %%
fig, ax = style.figure(height=2.9)
looks = {relu_average: ("o-", style.BLUE), tanh_maximum: ("s:", style.RED)}
for stream, values in responses.items():
    mark, colour = looks[stream]
    name = stream.__name__.replace("_", ", ")
    ax.plot(counts / 1024, np.array(values) / values[-1], mark, color=colour, label=name)
style.label(ax, "share of the pixels that are bright", "mean response\n(share of the largest)")
ax.legend()
style.show(
    fig,
    "Mean response over the share of bright pixels. ReLU with average is a straight line: it says "
    "how much. Tanh with maximum rises steeply and flattens: it says whether there is any.",
)
relative = np.array(responses[tanh_maximum]) / responses[tanh_maximum][-1]
half = np.interp(0.25, counts / 1024, relative)
print(f"with a quarter of the pixels bright: average 0.25, maximum {half:.2f}")
assert half > 0.6

# %% [markdown]
# *How much* against *is there any*. Grey hair is a question of the first kind, a wrinkle of the
# second. And the sign: after the ReLU a stream can say only "yes, this much"; after a tanh also "on
# the contrary". On the filtered faces the two agree only partly:

# %%
standard = (maps - maps.mean()) / maps.std()
one, other = relu_average(standard).ravel(), tanh_maximum(standard).ravel()
agreement = np.corrcoef(one, other)[0, 1]
print(f"correlation of the two streams' answers to the same maps: {agreement:.2f}")
print(f"negative: relu, average {np.mean(one < 0):.0%}; tanh, maximum {np.mean(other < 0):.0%}")
assert agreement < 0.9

# %% [markdown]
# The network multiplies the two streams' features with each other in its fusion blocks (lesson 13):
# a product speaks only if both have something to say.
#
# ## Break it
#
# The classic mistake of a maximum pooling: compare with the maximum, and give the gradient to
# *everything* that is equal to it. It is one line shorter than ours. The switch `broken` plants it.
#
# **Predict.** Is it found by a gradient check on random numbers? How large does the gradient get
# after a ReLU?


# %%
class MaxPool(Function):
    broken = False

    @staticmethod
    def forward(ctx, x):
        ctx.save(x)
        return in_windows(x).max(axis=4)

    @staticmethod
    def backward(ctx, gy):
        (x,) = ctx.saved
        if not MaxPool.broken:
            return max_backward(gy, x)
        equal = in_windows(x) == in_windows(x).max(axis=4, keepdims=True)
        return from_windows(gy[..., None] * equal, x.shape)


for MaxPool.broken in (False, True):
    report = gradcheck(MaxPool.apply, [rng.normal(size=(1, 4, 4, 2))], mode="elements")
    tensor = Tensor(after_relu, requires_grad=True)
    y = MaxPool.apply(tensor)
    y.backward(np.ones(y.shape))
    print(f"broken={MaxPool.broken!s:5} check: {report.comparisons} slopes agree;  after a ReLU "
          f"{y.size} came back, {tensor.grad.sum() / y.size:.2f} times that went on")  # fmt: skip
assert tensor.grad.sum() > 1.5 * y.size

# %% [markdown]
# The check passes, because random numbers have no ties. What a convolution in front would get is
# far more than came back, and much of it for pixels that nobody asked. A test for ties must
# **make** ties: small whole numbers, or zeros.
#
# ## Exercises
#
# Answers go into `lessons/my/e07.py`.
#
# **Exercise 07.1** Write `max_pool_backward(gy, x)` for windows of 2 x 2, the first maximum in
# reading order taking all; heights and widths may be odd. There will be ties.

# %%
check("07.1")

# %% [markdown]
# **Exercise 07.2** Windows may overlap: write `avg_pool_backward(gy, x)` for windows of 3 x 3 that
# move 2 pixels at a time, without border.

# %%
check("07.2")

# %% [markdown]
# **Exercise 07.3** Write `softplus(x)`, $\log(1 + e^x)$, and its slope, as a pair of arrays. It
# must be right to 12 digits from -800 to 800, without overflow. (A ReLU without a corner, whose
# slope is never zero. The package has it as `ops.softplus`.)

# %%
check("07.3")

# %% [markdown]
# **Exercise 07.4** Write `dead_units(z)`: given what goes into a layer of ReLUs for many pictures,
# `z` of shape (N, units), the numbers of the units that can never learn from these pictures, as a
# list.

# %%
check("07.4")

# %% [markdown]
# ## What we learned
#
# - Average shares the gradient, maximum gives it to one; at a tie a convention decides, and never
#   more than once.
# - ReLU passes half of everything at any scale and can die; tanh keeps the sign and falls asleep
#   far out.
# - ReLU with average measures how much, tanh with maximum whether there is any.
#
# ## Next
#
# [Lesson 08](08_batch_norm.ipynb): keeping the numbers where the activations are awake.
