# %% [markdown]
# # 04. Convolution
#
# **Question:** What does a convolution compute, and why is its backward two more convolutions?
#
# **Minutes:** 25 · **Needs:** NumPy
#
# ## Goal
#
# Nearly all of the arithmetic in SSR-Net is convolutions. You will write one as seven loops, then
# as nine small matrix products, then as a single large one; and from that last form both gradients
# follow as they did in lesson 02. Each version is compared with the package's and with slopes by
# trying.
#
# ## What you need
#
# Lessons 02 and 03. Arrays are laid out as everywhere in `minissr`: images $(N, H, W, C)$, that is
# picture, row, column, channel; weights $(K_H, K_W, C, C')$, that is row and column in the window,
# channel in, channel out.
#
# ## In the paper
#
# Section 3.4: the basic building block of both streams is a 3 x 3 convolution, batch normalisation,
# a non-linear activation and a 2 x 2 pooling (Figure 1a). This lesson is the first of the four.

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lessons import style
from lessons.check import check, hint
from minissr import Tensor, gradcheck, ops
from minissr.autograd.function import Function
from minissr.autograd.gradcheck import GradientError
from minissr.data.synthetic import draw_faces

style.begin(numpy_alone=True)

# %% [markdown]
# ## Seven loops
#
# A window of 3 x 3 pixels slides over the picture. At each place all its numbers, of all channels,
# are multiplied by a weight each and added up: that is one number of one output channel. The same
# weights are used at every place; each output channel has its own.
#
# $$y_{nijq} = b_q + \sum_{u} \sum_{v} \sum_{k} x_{n,\, i+u,\, j+v,\, k} \; w_{uvkq}$$
#
# Written down as it stands:


# %%
def conv_loops(x, w, b):
    (n_all, height, width, c), (kh, kw, _, co) = x.shape, w.shape
    y = np.zeros((n_all, height - kh + 1, width - kw + 1, co))
    for n, i, j, q in np.ndindex(y.shape):  # four loops over the results
        y[n, i, j, q] = b[q]
        for u, v, k in np.ndindex(kh, kw, c):  # three over what goes into each
            y[n, i, j, q] += x[n, i + u, j + v, k] * w[u, v, k, q]
    return y


rng = np.random.default_rng(0)
x = rng.normal(size=(2, 6, 5, 3))
w, b = rng.normal(size=(3, 3, 3, 4)), rng.normal(size=4)
y = conv_loops(x, w, b)
print(x.shape, "->", y.shape)
assert np.allclose(y, ops.conv2d(Tensor(x), Tensor(w), Tensor(b)).data)

# %% [markdown]
# The border is lost: a 3 x 3 window fits into $H$ rows at $H - 2$ places. SSR-Net lets it be lost,
# other networks put zeros around the picture first.
#
# **Predict.** How many multiplications is the first layer of SSR-Net for one picture, from 64 x 64
# x 3 to 62 x 62 x 16, in the smaller of its two streams? The other makes 32 channels of the same.

# %%
first = 62 * 62 * 16 * 3 * 3 * 3
print(f"{first:,} multiplications, {3 * first * 50:,} for both streams and a batch of 50")
assert first == 1_660_608

# %% [markdown]
# A Python loop manages some ten million steps a second, so a batch would take it nearly half a
# minute, and there are deeper layers. The loops have to go where they are fast.
#
# ## Nine matrix products
#
# Turn the order around. The two outer loops now go over the nine places *in the window*; each of
# them uses a whole shifted copy of the picture, and the sum over the channels $k$ is a matrix
# product.


# %%
def conv_offsets(x, w, b):
    kh, kw = w.shape[:2]
    oh, ow = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    y = np.zeros((len(x), oh, ow, w.shape[3])) + b
    for u, v in np.ndindex(kh, kw):
        y += x[:, u : u + oh, v : v + ow] @ w[u, v]  # (N, OH, OW, C) (C, C')
    return y


assert np.allclose(conv_offsets(x, w, b), y)

# %% [markdown]
# Fast enough to look at something. Four filters, written by hand, on a drawn face in grey.

# %%
face = draw_faces(8, stream="val")[0][6] / 255.0
grey = face.mean(axis=2)[None, :, :, None]  # (1, 64, 64, 1)
edge = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]) / 4
spots = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]) / 8
filters = {
    "left minus right": edge,
    "top minus bottom": edge.T,
    "middle minus around": spots,
    "mean of nine": np.full((3, 3), 1 / 9),
}
stack = np.stack(list(filters.values()), axis=-1)[:, :, None, :]  # (3, 3, 1, 4)
seen = conv_offsets(grey, stack, np.zeros(4))[0]  # (62, 62, 4)
fig, axes = style.figure(1, 5, width=7.8, height=1.9)
style.picture(axes[0], grey[0, :, :, 0], "the face", cmap="gray")
for ax, name, channel in zip(axes[1:], filters, seen.transpose(2, 0, 1), strict=True):
    style.picture(ax, channel, name, cmap="gray")
    ax.title.set_fontsize(8)
style.show(
    fig,
    "A drawn face in grey and four filtered versions: vertical edges, horizontal edges with brows "
    "and mouth, fine spots and outlines, and a slightly blurred face.",
)

# %% [markdown]
# Nobody writes filters by hand any more: they are weights, and learn. But a network's first layer
# looks much like these when it has.
#
# ## One matrix product
#
# Take the picture apart, once: put the numbers of each window, 9 times $C$ of them, into a row. All
# rows together are a matrix $M$ with $N \cdot OH \cdot OW$ rows, and the weights, laid out in the
# same order, a matrix of $9 C$ by $C'$. The convolution is their product. (Its name in the trade is
# *im2col*.)


# %%
def as_windows(x, kh, kw):
    """The matrix M: one row for each place of the window."""
    views = sliding_window_view(x, (kh, kw), axis=(1, 2))  # (N, OH, OW, C, KH, KW)
    ordered = views.transpose(0, 1, 2, 4, 5, 3)  # (N, OH, OW, KH, KW, C)
    return ordered.reshape(-1, kh * kw * x.shape[3])  # a copy, here


def conv_matrix(x, w, b):
    kh, kw, _, co = w.shape
    y = as_windows(x, kh, kw) @ w.reshape(-1, co) + b  # (N OH OW, 9 C) (9 C, C')
    return y.reshape(len(x), x.shape[1] - kh + 1, x.shape[2] - kw + 1, co)


assert np.allclose(conv_matrix(x, w, b), y)
print("M is", as_windows(x, 3, 3).shape, "from", x.shape)

# %%
numbered = np.arange(16).reshape(1, 4, 4, 1)
rows = as_windows(numbered, 3, 3)
fig, axes = style.figure(1, 2, width=6.4, height=2.3)
for ax, table, title in zip(axes, (numbered[0, :, :, 0], rows), ("picture", "M"), strict=True):
    style.picture(ax, table, title, cmap=style.SEQUENTIAL, alpha=0.5)
    style.numbers(ax, table)
style.show(
    fig,
    "Left a 4 by 4 picture whose pixels are numbered from 0 to 15. Right the matrix of its four "
    "windows, each row the nine numbers of one window: 0 1 2 4 5 6 8 9 10, and so on.",
)

# %% [markdown]
# **Predict.** How much more memory than the picture does $M$ take, for a large picture?

# %%
large = np.zeros((1, 64, 64, 3))
grown = as_windows(large, 3, 3).size / large.size
print(f"{grown:.2f} times the picture")
assert 8 < grown < 9

# %% [markdown]
# Nearly nine times. That is the price of the fastest matrix product there is; lessons 05 and 06 get
# the speed without building $M$.
#
# ## Backward, the weights
#
# $y = M W + b$, and of that lesson 02 has the gradients. The one for the weights is done:
#
# $$\bar{W} = M^T \bar{y}, \qquad \bar{b} = \sum_{n,i,j} \bar{y}_{nij}$$
#
# In indices: a weight was used at every place, so it collects from every place.
#
# $$\bar{w}_{uvkq} = \sum_{n,i,j} x_{n,\, i+u,\, j+v,\, k} \; \bar{y}_{nijq}$$
#
# Look at the last formula: a sum of products of a shifted $x$. **It is a convolution again**, with
# $\bar{y}$ in the place of the weights.


# %%
def weight_gradient(gy, x, w):
    rows = as_windows(x, *w.shape[:2])  # (N OH OW, 9 C)
    return (rows.T @ gy.reshape(-1, w.shape[3])).reshape(w.shape)


gy = rng.normal(size=y.shape)
as_convolution = conv_offsets(x.transpose(3, 1, 2, 0), gy.transpose(1, 2, 0, 3), np.zeros(4))
assert np.allclose(weight_gradient(gy, x, w), as_convolution.transpose(1, 2, 0, 3))
print("a convolution of x with gy:", as_convolution.shape, "-> the weights' shape", w.shape)

# %% [markdown]
# ## Backward, the picture
#
# Lesson 02 also gives the gradient of $M$: $\bar{M} = \bar{y} W^T$. But $M$ holds each pixel
# several times, once for every window it lies in. Several uses are several paths; paths add up. So
# everything goes back to where it came from, and is **added** there.
#
# **Predict.** A 3 x 3 window slides over a 6 x 5 picture. In how many windows is a pixel in the
# middle? In a corner?


# %%
def fold(rows, x_shape, kh, kw):
    """Undo as_windows: add up what came back for each pixel."""
    n, height, width, c = x_shape
    oh, ow = height - kh + 1, width - kw + 1
    pieces = rows.reshape(n, oh, ow, kh, kw, c)
    gx = np.zeros(x_shape)
    for u, v in np.ndindex(kh, kw):
        gx[:, u : u + oh, v : v + ow] += pieces[:, :, :, u, v]
    return gx


uses = fold(np.ones((4 * 3, 9)), (1, 6, 5, 1), 3, 3)[0, :, :, 0]
fig, ax = style.figure(width=3.4, height=2.8)
style.picture(ax, uses, "windows that hold a pixel", cmap=style.SEQUENTIAL, alpha=0.6)
style.numbers(ax, uses)
style.show(
    fig,
    "A grid of 6 by 5 numbers: 1 in the corners, rising along the border, 9 in the two middle "
    "pixels, each the number of 3 by 3 windows the pixel lies in.",
)
assert (uses[0, 0], uses.max()) == (1, 9)

# %% [markdown]
# In indices, with $h = i + u$ and $m = j + v$ for the pixel (and $\bar{y}$ zero outside):
#
# $$\bar{x}_{nhmk} = \sum_{u} \sum_{v} \sum_{q} \bar{y}_{n,\, h-u,\, m-v,\, q} \; w_{uvkq}$$
#
# The pluses have become minuses. Read backwards, that is a convolution too: $\bar{y}$ with a border
# of zeros, and each filter **turned by half a turn**.


# %%
def picture_gradient(gy, x, w):
    kh, kw, _, co = w.shape
    return fold(gy.reshape(-1, co) @ w.reshape(-1, co).T, x.shape, kh, kw)


def as_turned(gy, w):
    kh, kw, c, _ = w.shape
    bordered = np.pad(gy, ((0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1), (0, 0)))
    turned = w[::-1, ::-1].transpose(0, 1, 3, 2)  # (KH, KW, C', C)
    return conv_offsets(bordered, turned, np.zeros(c))


assert np.allclose(picture_gradient(gy, x, w), as_turned(gy, w))
print("gx", picture_gradient(gy, x, w).shape, "both ways the same")

# %% [markdown]
# Three convolutions, then: one forward, two back. That is the answer to the question above, and the
# reason why a training step costs about three times an evaluation.
#
# ## Beside the package, and by trying


# %%
class Conv(Function):
    """Ours as an operation of the package's engine."""

    @staticmethod
    def forward(ctx, x, w, b):
        ctx.save(x, w)
        return conv_matrix(x, w, b)

    @staticmethod
    def backward(ctx, gy):
        x, w = ctx.saved
        return picture_gradient(gy, x, w), weight_gradient(gy, x, w), gy.sum(axis=(0, 1, 2))


tensors = [Tensor(a, requires_grad=True) for a in (x, w, b)]
ops.conv2d(*tensors).backward(gy)
ours = picture_gradient(gy, x, w), weight_gradient(gy, x, w), gy.sum(axis=(0, 1, 2))
assert all(np.allclose(t.grad, g) for t, g in zip(tensors, ours, strict=True))
print("by trying:", gradcheck(Conv.apply, [x, w, b], mode="elements").comparisons, "slopes agree")

# %% [markdown]
# One more test that needs no small steps. A convolution without bias is linear, and the gradient
# for the picture is its *adjoint*: for any $x$ and any $\bar{y}$ the two sides of
#
# $$\sum \bar{y} \cdot \operatorname{conv}(x) = \sum \bar{x} \cdot x$$
#
# are the same number. It is exact to rounding, in 32 bits as well, on any size.

# %%
plain = conv_matrix(x, w, np.zeros(4))
left, right = (gy * plain).sum(), (picture_gradient(gy, x, w) * x).sum()
print(f"{left:.10f} = {right:.10f}")
assert np.isclose(left, right, rtol=1e-12)

# %% [markdown]
# ## Break it
#
# The classic mistake: to forget the half turn. The switch `turn` leaves it out. The shapes fit.
#
# **Predict.** Somebody tests the mistake with the filter "mean of nine" on a picture. Is it found?


# %%
class Unturned(Conv):
    turn = False

    @staticmethod
    def backward(ctx, gy):
        x, w = ctx.saved
        used = w if Unturned.turn else w[::-1, ::-1]
        return as_turned(gy, used), weight_gradient(gy, x, w), gy.sum(axis=(0, 1, 2))


def verdict(filter_):
    small = rng.normal(size=(1, 5, 5, 1))
    try:
        gradcheck(Unturned.apply, [small, filter_[:, :, None, None], np.zeros(1)])
        return "passes"
    except GradientError:
        return "is found out"


print("with random weights:", verdict(rng.normal(size=(3, 3))))
for name, filter_ in filters.items():
    print(f"with {name!r}:", verdict(filter_))

# %% [markdown]
# Filters that look the same after half a turn hide it: "mean of nine", "middle minus around".
# Random, lopsided examples are the better judges; so are pictures that are not square and windows
# that are not.
#
# ## Exercises
#
# Answers go into `lessons/my/e04.py`. Layouts are as above.
#
# **Exercise 04.1** Write `output_size(length, window, stride, before, after)`: at how many places a
# window fits into a row with `before` and `after` zeros put around it, if it moves `stride` at a
# time. A window that never fits raises a `ValueError`.

# %%
check("04.1")

# %% [markdown]
# **Exercise 04.2** Write `conv_stride(x, w, stride)` without bias or border: the window moves
# `stride` pixels at a time, in both directions.

# %%
check("04.2")

# %% [markdown]
# **Exercise 04.3** Write `conv_stride_backward(gy, x, w)`: both gradients for a stride of 2. What
# happens to pixels that no window ever met?

# %%
check("04.3")

# %% [markdown]
# **Exercise 04.4** A *depthwise* convolution (MobileNet, Section 4.2 of the paper) gives each
# channel its own filter and never mixes channels: $y_{nijk} = \sum_{u,v} x_{n, i+u, j+v, k}
# w_{uvk}$. Write `depthwise_backward(gy, x, w)`: both gradients.

# %%
check("04.4")

# %% [markdown]
# ## What we learned
#
# - A convolution is a matrix product of the picture's windows with the weights.
# - Both gradients are convolutions: of $x$ with $\bar{y}$ for the weights, of $\bar{y}$ with the
#   filters turned by half a turn for the picture. Each pixel collects from all the windows it lies
#   in.
# - Symmetric test data hide asymmetric mistakes.
#
# ## Next
#
# [Lesson 05](05_making_it_fast.ipynb): the same sum, ten thousand times as fast as by the seven
# loops.
