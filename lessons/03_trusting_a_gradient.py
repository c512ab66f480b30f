# %% [markdown]
# # 03. Trusting a gradient
#
# **Question:** How can a derivative be trusted, if a network learns even with a wrong one?
#
# **Minutes:** 20 · **Needs:** NumPy
#
# ## Goal
#
# Every gradient in `minissr` was derived by hand, and hands slip. This lesson builds the judge:
# slopes by trying, how exact they can be and where they fail. At the end you will plant a bug that
# passes the obvious test, and know what a test must look like that it can't pass.
#
# ## What you need
#
# Lesson 02. Taylor's formula helps; where it is used, a picture stands beside it.
#
# ## In the paper
#
# Section 3.3, Eqs. 4 and 5: the width of a bin in stage $k$ is divided by the stretched $\bar{s}_j$
# of *all* stages up to $k$. The bug at the end sits in that "all". (The authors left their
# gradients to Keras, Section 4.1. We can't, so we check.)

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

from lessons import style
from lessons.check import check, hint
from minissr import Tensor, gradcheck, ops
from minissr.autograd.function import Function
from minissr.autograd.gradcheck import GradientError, KinkError

style.begin(numpy_alone=True)

# %% [markdown]
# ## A slope by trying
#
# The age of lesson 01 as a function of $\Delta$ alone: $f(\Delta) = 27 / (1 + \Delta)$ years, with
# slope $-27 / (1 + \Delta)^2$. We pretend not to know that, and divide a change by the step that
# caused it: one step ahead, or half the difference between a step ahead and a step back.


# %%
def f(x):
    return 27 / (1 + x)


def ahead(f, x, h):
    return (f(x + h) - f(x)) / h


def central(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


x = 0.1
exact = -27 / (1 + x) ** 2
for h in (1e-1, 1e-2, 1e-3):
    off = ahead(f, x, h) - exact, central(f, x, h) - exact
    print(f"h = {h:5g}: ahead is off by {off[0]:8.5f}, central by {off[1]:9.6f}")

# %% [markdown]
# A ten times smaller step makes the first error ten times smaller and the second a hundred times.
# Why: write $f(x \pm h)$ as Taylor's sum. In the difference of the two everything even cancels, the
# error that is left begins with $h^2$:
#
# $$\frac{f(x+h) - f(x-h)}{2h} = f'(x) + \frac{h^2}{6} f'''(x) + O(h^4)$$
#
# So take a tiny step!
#
# **Predict.** In double precision (16 digits), which step gives the best central difference: about
# `1e-15`, `1e-8` or `1e-5`?

# %%
steps = 10.0 ** np.arange(-15, 0.1, 0.25)
single = np.float32
slopes = {
    "ahead, 64 bit": [ahead(f, x, h) for h in steps],
    "central, 64 bit": [central(f, x, h) for h in steps],
    "central, 32 bit": [central(f, single(x), single(h)) for h in steps],
}
errors = {name: np.abs(np.array(tried) / exact - 1) for name, tried in slopes.items()}
best = {name: (min(values), steps[np.argmin(values)]) for name, values in errors.items()}
for name, (error, step) in best.items():
    print(f"{name:16} off by {error:.0e} at best, with a step near {step:.0e}")
assert best["central, 64 bit"][0] < 1e-9
assert best["central, 32 bit"][0] > 1000 * best["central, 64 bit"][0]

# %%
fig, ax = style.figure(height=3.6)
marks = {"ahead, 64 bit": "v:", "central, 64 bit": "o-", "central, 32 bit": "s--"}
for (name, values), mark in zip(errors.items(), marks.values(), strict=True):
    ax.loglog(steps, np.maximum(values, 1e-13), mark, markersize=3, linewidth=1, label=name)
ax.set_ylim(1e-13, 10)
style.label(ax, "step h", "relative error of the slope", "Too long a step, too short a step")
ax.legend(loc="lower left")
style.show(
    fig,
    "Error over step length, both logarithmic: three curves like a V. In 64 bits the central "
    "difference is best near 1e-5, to ten digits and more; ahead near 1e-8, to eight; in 32 bits "
    "only to five or six digits, near 1e-3.",
)

# %% [markdown]
# A V. On the right the step is too long and the curve bends away from its slope. On the left it is
# too short: $f(x+h)$ and $f(x-h)$ agree in nearly all digits, the difference is made of rounding,
# and dividing by $2h$ blows it up. With $\varepsilon$ for the relative rounding of $f$, the sum
# $\varepsilon |f| / h + h^2 |f'''| / 6$ is smallest at
#
# $$h^* = \left( \frac{3\, \varepsilon\, |f|}{|f'''|} \right)^{1/3}$$
#
# In 64 bits that is near `1e-5` for anything well scaled. So is the default of `minissr.gradcheck`,
# and it refuses 32 bits.

# %%
third = -6 * 27 / (1 + x) ** 4
for bits, kind in ((64, np.float64), (32, np.float32)):
    smallest = (3 * np.finfo(kind).eps * f(x) / abs(third)) ** (1 / 3)
    print(f"{bits} bits: h* = {smallest:.0e}")

# %% [markdown]
# ## Ten thousand inputs
#
# A gradient has an entry for each weight. Trying each is honest and slow. Cheaper: go a step in
# **one random direction** $u$ through all inputs at once. The slope along it must be the gradient's
# shadow on it:
#
# $$\frac{f(x + h u) - f(x - h u)}{2h} \approx \sum_i \frac{\partial f}{\partial x_i} u_i$$
#
# Two evaluations, for any number of weights. But will it notice if a single one of ten thousand
# entries is missing?
#
# **Predict.** What is the relative error along a random direction if one entry out of 10,000 is
# zero instead of right? About one ten-thousandth, one hundredth, or can't it be seen?

# %%
rng = np.random.default_rng(0)
point = rng.normal(size=10_000)
gradient = np.cos(point)  # of the sum of sin
gradient[1234] = 0  # the entry somebody forgot
seen = []
for _ in range(200):
    u = rng.normal(size=point.size)
    u /= np.linalg.norm(u)
    tried = (np.sin(point + 1e-5 * u) - np.sin(point - 1e-5 * u)).sum() / 2e-5
    seen.append(abs(tried - gradient @ u) / np.linalg.norm(gradient))
print(f"median error {np.median(seen):.0e}, smallest of 200 {min(seen):.0e}")
for tolerance in (1e-2, 1e-4, 1e-6):
    print(f"  caught with a tolerance of {tolerance:g}: {np.mean(np.array(seen) > tolerance):.0%}")
assert np.mean(np.array(seen) > 1e-2) == 0
assert np.mean(np.array(seen) > 1e-6) > 0.9

# %% [markdown]
# Small, but a correct gradient would be off by less than a millionth. **A tolerance of one per cent
# sees nothing**, and it is what many projects use. The tolerance has to be as tight as the
# arithmetic allows; then one direction is nearly as good as ten thousand tries, and on small inputs
# one still tries every element.
#
# ## Which question to ask
#
# An operation returns an array; a slope needs a number. The obvious number is the sum of the
# outputs. Try it on a softmax, with a backward that somebody has not written yet.
#
# **Predict.** `Lazy` returns nothing but zeros. Does the slope of the *sum* of a softmax find it
# out?


# %%
class Lazy(Function):
    """A softmax whose backward is missing."""

    @staticmethod
    def forward(ctx, z):
        p = np.exp(z)
        ctx.save(z)
        return p / p.sum(axis=1, keepdims=True)

    @staticmethod
    def backward(ctx, g):
        return np.zeros_like(ctx.saved[0])


z = Tensor(np.random.default_rng(0).normal(size=(3, 4)), requires_grad=True)
Lazy.apply(z).sum().backward()
nudged = Lazy.apply(Tensor(z.data + 1e-5 * np.eye(3, 4))).data.sum()
print("backward:", z.grad.ravel()[:4], " tried:", round((nudged - 3) / 1e-5, 6))

# %% [markdown]
# It passes: the outputs of a softmax always add up to 1, their sum has no slope, and zeros are
# exactly right. So the question must not be one that the operation can't answer. `gradcheck`
# multiplies the outputs by random numbers $c$ and asks for the slope of $\sum c\, y$.

# %%
try:
    gradcheck(Lazy.apply, [z.data])
except GradientError as error:
    print("GradientError:", error)
else:
    raise AssertionError("the lazy backward was not found out")
report = gradcheck(ops.softmax, [z.data])
print("\nthe package's:", report)

# %% [markdown]
# Batch norm (lesson 08) has the same trap: what it returns has mean zero whatever comes in.
#
# ## Kinks
#
# A ReLU is $\max(x, 0)$. Left of zero its slope is 0, right of it 1, and at zero there is none: by
# convention we say 0. A step that strides over the kink measures a mixture that is neither.


# %%
def relu(x):
    return np.maximum(x, 0)


near, h = 3e-6, 1e-5
print(f"at {near:g} the slope is 1, a step of {h:g} measures {central(relu, near, h):.3f}")

# %%
fig, axes = style.figure(1, 2, width=7.2, height=2.7)
curves = ("max(x, 0)", relu, 0.3), ("27 / (1 + x)", f, 0.1)
for ax, (name, g, x0) in zip(axes, curves, strict=True):
    line = np.linspace(x0 - 1.2 * 0.8, x0 + 1.2 * 0.8, 200)
    ax.plot(line, g(line), color=style.BLUE)
    for step, colour, mark in ((0.8, style.RED, "s--"), (0.4, style.ORANGE, "o-")):
        ends = np.array([x0 - step, x0 + step])
        ax.plot(ends, g(ends), mark, color=colour, linewidth=1.2, label=f"step {step}")
    style.label(ax, "x", "value", name)
axes[1].set_ylim(0, 90)
axes[0].legend()
style.show(
    fig,
    "Two curves with two secants each, a long and a short. At the kink of max(x, 0) the secants "
    "have quite different slopes; on the smooth curve the shorter one comes closer to the tangent.",
)

# %% [markdown]
# A checker that calls every kink a bug is as useless as one that calls every bug a kink. The
# difference shows when the step is **halved**. The one-sided slopes differ by the *bend*,
#
# $$B(h) = \frac{f(x+h) - f(x)}{h} - \frac{f(x) - f(x-h)}{h}$$
#
# which for a smooth function is nearly $h f''(x)$: half the step, half the bend. Exactly at a kink
# the bend stays what it is, the jump of the slope, however short the step.
#
# **Predict.** By what factor does the bend of each function shrink, from one line to the next?


# %%
def bend(f, x, h):
    return ahead(f, x, h) - ahead(f, x, -h)


print("     h      bend of f    bend of max(x, 0)")
for h in (4e-4, 2e-4, 1e-4):
    print(f"{h:g}    {bend(f, 0.1, h):.6f}     {bend(relu, 0.0, h):.6f}")
assert np.isclose(bend(f, 0.1, 2e-4) / bend(f, 0.1, 1e-4), 2, atol=1e-3)
assert bend(relu, 0.0, 2e-4) == bend(relu, 0.0, 1e-4) == 1

# %% [markdown]
# So `gradcheck` halves the step where a slope disagrees, and says which it was. If it was a kink,
# it draws another direction; only when every one strides over a kink does it give up, with an error
# of its own.

# %%
for name, point in (("away from the kink", 0.5), ("at the kink", 0.0)):
    try:
        print(f"{name}: {gradcheck(ops.relu, [np.array([point, 1.0])]).comparisons} slope agrees")
    except KinkError as error:
        print(f"{name}: KinkError: {error}")

# %% [markdown]
# ## A wrong by a thousandth
#
# A checker that never failed has proved nothing. So check the checker: multiply a right gradient by
# 1.001.


# %%
class SlightlyWrong(Function):
    """A product whose backward is wrong by a thousandth."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save(a, b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved
        return 1.001 * g * b, g * a


pair = [np.array([2.0, -1.0]), np.array([0.5, 3.0])]
for tolerance in (1e-2, 1e-6):
    try:
        gradcheck(SlightlyWrong.apply, pair, tol=tolerance)
        print(f"tolerance {tolerance:g}: passes")
    except GradientError:
        print(f"tolerance {tolerance:g}: found")

# %% [markdown]
# ## Break it
#
# Now for the paper's own operation. Stage $k$ has bins of width $w_k = V / \prod_{j \le k} s_j (1 +
# \Delta_j)$, so $\Delta_1$ acts on **all** stages. It is easy to write a backward that tells
# $\Delta_j$ about its own stage alone. `broken` does.


# %%
def stage_parts(p, eta, delta, stages, max_age):
    """Each stage's part of the age (N, K), and the bins' shifted numbers (N, bins)."""
    s = np.array(stages)
    width = max_age / np.cumprod(s * (1 + delta), axis=1)  # (N, K)
    shifted = np.concatenate([np.arange(n) for n in stages]) + eta  # (N, bins)
    first = np.cumsum([0, *stages[:-1]])
    return width * np.add.reduceat(p * shifted, first, axis=1), width, shifted


class Stagewise(Function):
    broken = False

    @staticmethod
    def forward(ctx, p, eta, delta, *, stages, max_age):
        part, width, shifted = stage_parts(p, eta, delta, stages, max_age)
        ctx.save(p, delta, part, np.repeat(width, stages, axis=1), shifted)
        return part.sum(axis=1)

    @staticmethod
    def backward(ctx, g):
        p, delta, part, width, shifted = ctx.saved
        later = part if Stagewise.broken else np.cumsum(part[:, ::-1], axis=1)[:, ::-1]
        g = g[:, None]
        return g * width * shifted, g * width * p, -g * later / (1 + delta)


# %% [markdown]
# **Predict.** The broken backward is tested with one stage, then with two. What does the check say?


# %%
def verdict(stages):
    rng = np.random.default_rng(1)
    bins, settings = sum(stages), {"stages": stages, "max_age": 90.0}
    arrays = [rng.uniform(0, 1, (2, bins)), rng.uniform(-1, 1, (2, bins))]
    arrays.append(rng.uniform(-0.5, 0.5, (2, len(stages))))
    try:
        gradcheck(Stagewise.apply, arrays, settings=settings, mode="inputs")
        return "passes"
    except GradientError:
        return "is found out"


for Stagewise.broken in (False, True):
    for stages in ((3,), (3, 3)):
        print(f"broken={Stagewise.broken!s:5} {len(stages)} stage(s): {verdict(stages)}")
Stagewise.broken = True
assert (verdict((3,)), verdict((3, 3))) == ("passes", "is found out")

# %% [markdown]
# With one stage the bug is no bug: there is nothing later to forget. A test in the smallest case
# was green. That is why the package's own tests draw the *shapes* at random too (one to five
# stages, one to five bins), from seeds, so that a failure can be repeated.
#
# ## Exercises
#
# Answers go into `lessons/my/e03.py`.
#
# **Exercise 03.1** Write `numeric_gradient(f, x, h)`: central differences for every element of the
# array `x`, where `f(x)` is a number. `x` has any shape, and must be as before when you are done.

# %%
check("03.1")

# %% [markdown]
# **Exercise 03.2** Write `directional(f, x, u, h)`: the slope of `f` at the array `x` along `u`,
# where `f(x)` is a number and `u` any array of its shape, of any length. Per unit of length, that
# is.

# %%
check("03.2")

# %% [markdown]
# **Exercise 03.3** There is a way without subtraction. For a smooth formula that also takes complex
# numbers, $f(x + ih) = f(x) + i h f'(x) - \dots$ Write `complex_step(f, x)` that is right to 14
# digits.

# %%
check("03.3")

# %% [markdown]
# **Exercise 03.4** `from lessons.exercises.e03 import SUSPECTS` gives five operations by name. The
# backward of one of them lies. Find out which, and set `liar` in your file to its name.

# %%
check("03.4")

# %% [markdown]
# **Exercise 03.5** Write `has_kink(f, x, h)`: whether the function `f` of one number has a kink
# (its slope jumps by at least 0.5) between `x - h` and `x + h`. The smooth functions among the
# examples are steep and bent, but not at the scale of `h`.

# %%
check("03.5")

# %% [markdown]
# ## What we learned
#
# - Central differences in 64 bits with a step near `1e-5` are good to ten digits; demand a
#   millionth.
# - One random direction over all inputs and random weights on the outputs see almost every mistake;
#   a sum of outputs may see none.
# - Halving the step tells a kink from a bug. And the smallest case may hide one.
#
# ## Next
#
# [Lesson 04](04_convolution.ipynb): the operation that does most of the work, and its two
# gradients.
