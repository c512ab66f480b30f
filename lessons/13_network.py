# %% [markdown]
# # 13. The two-stream network
#
# **Question:** How do 40,915 numbers turn a picture into everything that Equation 7 asks for?
#
# **Minutes:** 25 · **Needs:** NumPy
#
# ## Goal
#
# To follow one face through every block of the released SSR-Net, to predict each shape before it
# appears, and to account for every one of its numbers.
#
# ## What you need
#
# Lessons 04, 07 and 08 for the parts of a block; lesson 11 for what comes out at the end.
#
# ## In the paper
#
# Section 3.4 and Figure 1: the two streams, the fusion block, the prediction block. Where the
# authors' program differs from the text, we follow the program here (`variant="released"`), and
# say so.

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

from lessons import style
from lessons.check import check, hint
from minissr import Tensor, no_grad, ops
from minissr.data.synthetic import draw_faces
from minissr.models import registry
from minissr.models.summary import summary

style.begin(numpy_alone=True)

# %% [markdown]
# A synthetic face, 64 by 64 pixels of red, green and blue, and an untrained network in 64-bit
# numbers. What it answers means nothing yet; shapes and counts are the same as after training. (It
# looks at 32 faces first, with a momentum of 0, so that batch norm knows their mean and spread.)

# %%
faces, ages, _ = draw_faces(32, stream="test")
settings = {"variant": "released", "momentum": 0.0, "dropout": 0.0}
net = registry.build("ssrnet", rng=np.random.default_rng(5), **settings)
net.astype(np.float64)
with no_grad():
    net(faces)
net.eval()
faces, ages = faces[:4], ages[:4]
face = Tensor(faces[:1].astype(np.float64))
fig, ax = style.figure(width=2.2, height=2.2)
style.picture(ax, faces[0], f"{ages[0]:.0f} years")
style.show(fig, "A drawn face of 64 by 64 pixels, the input of the network.")

# %% [markdown]
# ## One block
#
# Both streams are four blocks: convolution 3x3 without padding, batch norm, activation, pooling
# 2x2. Stream x has 32 channels, ReLU and average pooling; stream s has 16 channels, tanh and
# maximum pooling. "Heterogeneous", the paper says, so that they "explore different features".
#
# The convolution takes off a pixel all around, the pooling halves and drops an odd last row:
#
# $$n' = \left\lfloor \frac{n - 2}{2} \right\rfloor$$
#
# **Predict.** 64 pixels go in. How many come out of the first block, and how many channels?


# %%
def block(x, part, activation, pool):
    """One block, op by op; `part` has its weights."""
    conv, norm = part.conv, part.norm
    x = ops.conv2d(x, conv.w, conv.b)  # (N, n - 2, n - 2, C)
    centred = (x - norm.moving_mean) * ((norm.moving_variance + norm.eps) ** -0.5)
    x = activation(centred * norm.gamma + norm.beta)
    return pool(x, 2) if pool else x  # (N, n', n', C)


with no_grad():
    first = block(face, net.streams.x[0], ops.relu, ops.avg_pool)
    assert np.allclose(first.data, net.streams.x[0](face).data)
print("in", face.shape, "-> out of the first block of stream x", first.shape)
assert first.shape == (1, 31, 31, 32)

# %% [markdown]
# ## Two streams
#
# **Predict.** How wide are the maps after blocks 2, 3 and 4? (In the authors' program block 4 has
# no pooling; in the paper's figure it has.)


# %%
def streams(x):
    """The maps (s, x) of levels 1 to 4, by our own block."""
    s, maps = x, []
    for level in range(4):
        last = level == 3
        s = block(s, net.streams.s[level], ops.tanh, None if last else ops.max_pool)
        x = block(x, net.streams.x[level], ops.relu, None if last else ops.avg_pool)
        maps.append((s, x))
    return maps


with no_grad():
    maps = streams(face)
    theirs = net.streams(face)
for level, ((s, x), pair) in enumerate(zip(maps, theirs, strict=True), 1):
    print(f"level {level}: stream s {s.shape[1:]}, stream x {x.shape[1:]}")
    assert all(np.allclose(a.data, b.data) for a, b in zip((s, x), pair, strict=True))
assert [s.shape[1] for s, _ in maps] == [31, 14, 6, 4]

# %%
fig, axs = style.figure(2, 6, width=8, height=2.9)
for row, stream in enumerate(("s", "x")):
    for column in range(6):
        level, channel = column // 2, column % 2
        picture = maps[level][row].data[0, :, :, channel]
        title = f"{stream}, level {level + 1}"
        style.picture(axs[row, column], picture, title, cmap=style.SEQUENTIAL)
style.show(
    fig,
    "Two rows of six maps, two channels each of levels 1 to 3: above stream s, below stream x. The "
    "face is still to be seen at level 1 and becomes a few blocks at level 3.",
)

# %% [markdown]
# ## What a block costs
#
# A convolution has a weight for each of its 9 pixels, input channel and output channel, and a bias;
# batch norm has four numbers a channel: $\gamma$, $\beta$, and the moving mean and variance.
#
# $$n_{\text{block}} = 9 \, C_{in} C_{out} + C_{out} + 4 \, C_{out}$$
#
# **Predict.** Stream x has twice the channels of stream s. Does it have twice the numbers?


# %%
def block_count(c_in, c_out):
    return 9 * c_in * c_out + c_out + 4 * c_out


counts = {}
for name, channels in (("s", 16), ("x", 32)):
    blocks = [block_count(3, channels)] + 3 * [block_count(channels, channels)]
    counts[name] = sum(blocks)
    print(f"stream {name}: {blocks}, together {counts[name]:,}")
    theirs = getattr(net.streams, name)
    assert blocks == [part.parameter_count() for part in theirs]
assert 3.5 < counts["x"] / counts["s"] < 4

# %% [markdown]
# Nearly four times: weights grow with the product of both channel counts.
#
# ## The fusion block
#
# Stage 1, the coarsest, looks at the *deepest* level, 4; stage 2 at level 2 and stage 3 at level 1.
# (Level 3 only feeds level 4.) Each stage's fusion block first makes both streams' maps compact: a
# 1x1 convolution to 10 channels, ReLU, and a pooling of 1, 4 or 8 pixels.
#
# **Predict.** How many numbers does each stage get from each stream?


# %%
def compact(x, conv, pool, size):
    x = ops.relu(ops.conv2d(x, conv.w, conv.b))
    return ops.flatten(pool(x, size) if size > 1 else x)  # (N, features)


def features(maps, k):
    """What stage k (from 0) gets from the streams, two (N, features)."""
    (s, x), stage, size = maps[net.levels[k] - 1], net.stages[k], (1, 4, 8)[k]
    return (compact(s, stage.conv_s, ops.max_pool, size),
            compact(x, stage.conv_x, ops.avg_pool, size))  # fmt: skip


with no_grad():
    for k in range(3):
        print(f"stage {k + 1}: level {net.levels[k]}, features", features(maps, k)[0].shape[1])
    assert [features(maps, k)[0].shape[1] for k in range(3)] == [160, 90, 90]

# %% [markdown]
# $4 \cdot 4 \cdot 10 = 160$ and $3 \cdot 3 \cdot 10 = 90$. But 8 goes into 31 only three times:
# rows and columns from 24 on are never looked at. Which pixels of the picture does stage 3 see?
# Send a gradient back from its features and look where it arrives.

# %%
seen = []
for k in range(3):
    pixels = Tensor(face.data, requires_grad=True)
    features(net.streams(pixels), k)[1].sum().backward()
    seen.append(np.abs(pixels.grad[0]).sum(axis=2))
last = [int(np.flatnonzero(seen[k].sum(axis=0)).max()) for k in range(3)]
fig, axs = style.figure(1, 3, width=7.2, height=2.6)
for k, ax in enumerate(axs):
    style.picture(ax, faces[0], f"stage {k + 1}")
    ax.axvline(last[k] + 0.5, color="white", linestyle="--")
    ax.axhline(last[k] + 0.5, color="white", linestyle="--")
style.show(
    fig,
    "The face three times, with dashed lines at the last row and column that each stage sees: for "
    "stage 1 all but the edge, for stages 2 and 3 all but about a fifth at the right and bottom.",
)

# %%
print("last column that is seen:", last, "of 63")
assert last[2] < 50 < last[1]

# %% [markdown]
# ## $\Delta$, $p$ and $\eta$
#
# The two feature vectors are multiplied element by element: a feature counts only where both
# streams see it. A dense layer and tanh make $\Delta$ of the product. For $p$ and $\eta$ each
# stream first goes through a dense layer to three units; the product of those goes through a
# shared layer (in the program, not in the paper) and then to $p$ (ReLU) and $\eta$ (tanh).


# %%
def stage(maps, k):
    """p (N, 3), eta (N, 3), delta (N, 1) of stage k, dropout off."""
    s, x = features(maps, k)
    part, dense = net.stages[k], ops.dense
    delta = ops.tanh(dense(s * x, part.delta.w, part.delta.b))
    heads = part.prediction
    s = ops.relu(dense(s, heads.s.w, heads.s.b))  # (N, 3)
    x = ops.relu(dense(x, heads.x.w, heads.x.b))  # (N, 3)
    mixed = ops.relu(dense(s * x, heads.mix.w, heads.mix.b))  # (N, 6)
    p = ops.relu(dense(mixed, heads.p.w, heads.p.b))
    return p, ops.tanh(dense(mixed, heads.eta.w, heads.eta.b)), delta


with no_grad():
    for k in range(3):
        p, eta, delta = stage(maps, k)
        answer = net.answers(face)[k]
        assert np.allclose(p.data, answer.p.data)
        assert np.allclose(eta.data, answer.eta.data)
        print(f"stage {k + 1}: p {p.data[0]}, delta {delta.data[0]}")

# %% [markdown]
# This $p$ is not a distribution: a ReLU makes it positive, and nothing makes it add up to 1. And
# there are products of ReLUs of products: if one factor is zero for all faces, so is the rest.
# Lesson 16 is about that.
#
# ## The whole
#
# Our own network from pixels to years, against the package's.


# %%
def ssrnet(x):
    maps = streams(x)
    parts = [stage(maps, k) for k in range(3)]
    p, eta, delta = (ops.concat(list(same), axis=1) for same in zip(*parts, strict=True))
    return ops.soft_stagewise_regression(p, eta, delta, stages=(3, 3, 3), max_age=101)


with no_grad():
    batch = Tensor(faces.astype(np.float64))
    print("ours     ", ssrnet(batch).data)
    print("package's", net(batch).data)
    assert np.allclose(ssrnet(batch).data, net(batch).data)

# %% [markdown]
# Backward through all of it, against a finite difference: move all weights of one convolution in a
# random direction.

# %%
weights = net.streams.s[1].conv.w
direction = np.random.default_rng(0).normal(size=weights.shape)
net.zero_grad()
net(face).sum().backward()
slope, before = (weights.grad * direction).sum(), weights.data.copy()
ages = []
with no_grad():
    for step in (1e-6, -1e-6):
        weights.data[...] = before + step * direction
        ages.append(net(face).data[0])
weights.data[...] = before
numeric = (ages[0] - ages[1]) / 2e-6
print(f"backward {slope:.6f}, finite difference {numeric:.6f} years")
assert abs(slope - numeric) < 1e-4 * max(1, abs(slope))

# %% [markdown]
# ## All numbers accounted for


# %%
def stage_count(channels_s, channels_x, size, bins):
    """Two 1x1 convolutions, delta, and the prediction block."""
    n = size * size * 10
    convs = channels_s * 10 + 10 + channels_x * 10 + 10
    heads = 2 * (n * bins + bins) + (bins * 2 * bins + 2 * bins) + 2 * (2 * bins * bins + bins)
    return convs + (n + 1) + heads


stages = [stage_count(16, 32, size, 3) for size in (4, 3, 3)]
total = counts["s"] + counts["x"] + sum(stages)
moving = 4 * 2 * 16 + 4 * 2 * 32
print(f"streams {counts['s']:,} + {counts['x']:,}, stages {stages}: {total:,} numbers")
print(f"of which {moving} are moving statistics, and {total - moving:,} are learnt")
assert total == net.parameter_count() == 40_915
assert (moving, total - moving) == (384, 40_531)

# %% [markdown]
# The package prints the same as a table, with multiply-adds. Nearly all the work is in the first
# two blocks, where the maps are large, and nearly all the numbers are in the streams.

# %%
table = summary(net).splitlines()
print("\n".join(table[:1] + [line for line in table if "streams" in line] + table[-1:]))
assert "17,078,926" in table[-1]

# %% [markdown]
# ## Break it
#
# The classic mistake with other people's weights: the flattened features in another order. The
# authors flatten rows, columns, channels; a program that keeps channels first flattens channels,
# rows, columns. All shapes fit, nothing complains, and the ages are wrong.


# %%
def flatten(x, channels_first=False):
    return ops.flatten(ops.transpose(x, (0, 3, 1, 2)) if channels_first else x)


delta = net.stages[0].delta
with no_grad():
    s, x = (
        ops.relu(ops.conv2d(part, conv.w, conv.b))
        for part, conv in zip(maps[3], (net.stages[0].conv_s, net.stages[0].conv_x), strict=True)
    )
    for wrong in (False, True):
        product = flatten(s, wrong) * flatten(x, wrong)
        z = ops.dense(product, delta.w, delta.b).data[0, 0]
        print("channels first" if wrong else "right         ", product.shape, "delta", np.tanh(z))
        assert np.isclose(np.tanh(z), net.answers(face)[0].delta.data[0, 0]) != wrong

# %% [markdown]
# ## Exercises
#
# Write your answers in `lessons/my/e13.py`.
#
# **Exercise 13.1** `map_sizes(size, blocks)`: the widths after each of so many blocks, all with
# pooling, as a list.

# %%
check("13.1")

# %% [markdown]
# **Exercise 13.2** `stream_count(channels, blocks)`: all numbers of a stream, moving statistics
# included. The picture has 3 channels.

# %%
check("13.2")

# %% [markdown]
# **Exercise 13.3** `prediction_block(s, x, weights)`: `s` and `x` (N, features) to `p` and `eta`, a
# tuple of two (N, S), in NumPy, as in the authors' program. `weights` is a dict with `s`, `x`,
# `mix`, `p`, `eta`, each a pair `(w, b)`.

# %%
check("13.3")

# %% [markdown]
# **Exercise 13.4** (open-ended) `smaller()`: settings for the package, such as `{"filters_x":
# 24}`, of a network with at most 20,000 numbers whose three stages still have 3 bins each and that
# still takes 64-pixel faces. Settings are those of `minissr.models.ssrnet.Settings`. Stuck? Run
# this cell again.

# %%
check("13.4")
hint("13.4")

# %% [markdown]
# ## What we learned
#
# - A block is convolution, batch norm, activation, pooling; two different streams of four.
# - A stage multiplies what both streams see; $\Delta$ comes from that product directly, $p$ and
#   $\eta$ through a prediction block. Stage 1 looks deepest, stage 3 at the fine maps.
# - 40,915 numbers, of which seven tenths are stream x's.
#
# ## Next
#
# [Lesson 14](14_training.ipynb): filling these numbers in.
