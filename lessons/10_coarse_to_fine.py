# %% [markdown]
# # 10. Coarse to fine
#
# **Question:** How can six bins do the work of nine, and nine that of twenty-seven?
#
# **Minutes:** 20 · **Needs:** NumPy
#
# ## Goal
#
# To write stagewise regression, Equation 3, from a loop to one matrix product; to count the neurons
# it saves; and to see what it gives up.
#
# ## What you need
#
# Lesson 09: Equation 2, and why a bin stands for the age at which it begins.
#
# ## In the paper
#
# Section 3.2 from "To reduce the model size": Equation 3 and the example with ages from 0 to 90;
# and in Section 4.4 the count of neurons, $s_1 + s_2 + s_3$ against $s_1 \times s_2 \times s_3$.

# %%
import itertools
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

from lessons import style
from lessons.check import check, hint
from minissr import Tensor, gradcheck, ops
from minissr.models import registry

style.begin(numpy_alone=True)

# %% [markdown]
# ## The example with 90 years
#
# Stage 1 has three bins of 30 years: youth, middle age, old age. Stage 2 has three bins too, but
# cuts *each* of those in three, so its bins are $30/3 = 10$ years wide: "relatively younger, in the
# middle, relatively older". A person of 50 is in the middle (bin 1) of stage 1, and there
# relatively older (bin 2):
#
# $$1 \cdot 30 + 2 \cdot 10 = 50$$
#
# You have written numbers like this all your life. Fifty euros are five notes of ten and no coin;
# 50 years are one step of 30 and two of 10. The bins are *digits*, the widths are their *places*.
#
# **Predict.** Which two digits does an age of 75 have? And 85?


# %%
def digits(age, stages, V):
    """The bin of each stage that `age` (years, 0 to V) falls into, and what is left over."""
    found, width = [], V
    for s in stages:
        width = width / s
        digit = min(int(age / width), s - 1)
        found.append(digit)
        age = age - digit * width
    return found, age


for age in (50, 75, 85):
    found, rest = digits(age, (3, 3), 90)
    print(f"{age} = {found[0]} x 30 + {found[1]} x 10 + {rest:g}")
assert digits(75, (3, 3), 90) == ([2, 1], 5)

# %% [markdown]
# ## Equation 3
#
# The width of a bin of stage $k$ is the whole range, divided by the number of bins of *all* stages
# up to $k$. Each stage has probabilities of its own, and the expected values add up
# (Yang et al. 2018, Eq. 3):
#
# $$w_k = \frac{V}{\prod_{j=1}^{k} s_j} \qquad\qquad
#   \tilde y = \sum_{k=1}^{K} \sum_{i=0}^{s_k-1} p_i^{(k)} \cdot i \, w_k$$
#
# First as it is written. All stages' bins stand one after the other in one row, as everywhere in
# minissr; for stages (3, 3) a face has six numbers.


# %%
def stagewise_loop(p, stages, V):
    """One face, p (s_1 + ... + s_K,) -> age in years."""
    age, width, first = 0.0, V, 0
    for s in stages:
        width = width / s
        for i in range(s):
            age += p[first + i] * i * width
        first += s
    return age


p = np.array([0, 1, 0, 0, 0, 1.0])  # middle age; relatively older
print(stagewise_loop(p, (3, 3), 90), "years")
assert stagewise_loop(p, (3, 3), 90) == 50

# %% [markdown]
# Then for many faces at once. The sum over bins is a product with one fixed row of numbers: where
# each bin stands, in years.


# %%
def widths(stages, V):
    """Width of a bin of each stage, (K,), in years."""
    return V / np.cumprod(stages)


def bin_ages(stages, V):
    """What each bin adds to the age when it is certain, (s_1 + ... + s_K,), in years."""
    return np.concatenate(
        [np.arange(s) * w for s, w in zip(stages, widths(stages, V), strict=True)]
    )


def stagewise(p, stages, V):
    """p (N, s_1 + ... + s_K) -> ages (N,) in years (Eq. 3)."""
    return p @ bin_ages(stages, V)


print("widths  ", widths((3, 3), 90), "years")
print("bin ages", bin_ages((3, 3), 90), "years")
assert stagewise(p[None], (3, 3), 90)[0] == 50


# %% [markdown]
# And by the package, for random probabilities. DEX is the case of a single stage.


# %%
def by_minissr(p, stages, V):
    """Eq. 3 by the package: nothing shifts, nothing stretches."""
    eta, delta = np.zeros(p.shape), np.zeros((p.shape[0], len(stages)))
    return ops.soft_stagewise_regression(
        p, Tensor(eta), Tensor(delta), stages=stages, max_age=V, c_delta=0.0, c_eta=0.0
    )


def random_p(n, stages, rng):
    """n rows in which each stage's numbers are positive and add up to 1."""
    return np.concatenate([rng.dirichlet(np.ones(s), n) for s in stages], axis=1)


rng = np.random.default_rng(10)
for stages in ((3, 3), (3, 3, 3), (2, 5, 3), (9,)):
    p = random_p(4, stages, rng)
    ours = stagewise(p, stages, 90)
    assert np.allclose(ours, by_minissr(Tensor(p), stages, 90).data)
    assert np.allclose(ours, [stagewise_loop(row, stages, 90) for row in p])
    print(f"stages {stages!s:<10} ages {ours.round(2)}")
p = random_p(4, (9,), rng)
assert np.allclose(stagewise(p, (9,), 90), p @ (np.arange(9) * 90 / 9))  # Eq. 2 of lesson 09

# %% [markdown]
# ## Two rulers
#
# The picture to keep in mind: each stage is a ruler that starts where the coarser one ended.

# %%
beliefs = np.array([[0.1, 0.7, 0.2, 0.2, 0.3, 0.5]])
w1, w2 = widths((3, 3), 90)
ends = np.cumsum([beliefs[0, :3] @ np.arange(3) * w1, beliefs[0, 3:] @ np.arange(3) * w2])
fig, ax = style.figure()
for i in range(3):
    ax.barh(1, w1, left=i * w1, color=style.BLUE, alpha=0.15 + 0.8 * beliefs[0, i], ec="white")
    left = ends[0] + i * w2
    ax.barh(0, w2, left=left, color=style.RED, alpha=0.15 + 0.8 * beliefs[0, 3 + i],
              ec="white")  # fmt: skip
ax.plot([ends[0], ends[0]], [-0.5, 1.5], color="black", linestyle=":", label="stage 1 alone")
ax.plot([ends[1], ends[1]], [-0.5, 1.5], color="black", label="both stages: the age")
ax.set(xlabel="age [years]", ylabel="stage", yticks=[0, 1], yticklabels=["2", "1"], xlim=(0, 90),
         ylim=(-0.6, 2.1))  # fmt: skip
ax.legend(loc="upper right", ncols=2)
style.show(
    fig,
    "Two rows of three boxes, the darker the more probable. Stage 1's are 30 years wide and start "
    "at 0. Stage 2's are 10 years wide and start at 33, the expected value of stage 1. A "
    "line at 46 years marks the sum.",
)
assert np.allclose(ends, [33, 46])
assert np.isclose(ends[1], stagewise(beliefs, (3, 3), 90)[0])

# %% [markdown]
# ## How far the digits reach
#
# With every stage certain of its last bin the age is as high as Eq. 3 goes:
# $V \, (1 - 1/\prod_k s_k)$, one finest bin below $V$. The problem of lesson 09, that nothing lies
# beyond the last $\mu$, is now a problem of the *finest* bin's width.
#
# **Predict.** The paper's network has stages (3, 3, 3) and $V = 101$. How wide are the
# bins of its finest stage? What is the highest age?

# %%
V, stages = 101, (3, 3, 3)
print("widths ", widths(stages, V).round(2), "years")
top = sum((s - 1) * w for s, w in zip(stages, widths(stages, V), strict=True))
print(f"highest {top:.2f} years")
assert np.isclose(top, V * (1 - 1 / 27))
assert np.isclose(V - top, widths(stages, V)[-1])
assert round(top, 2) == 97.26

# %% [markdown]
# ## Counting neurons
#
# DEX needs $\prod_k s_k$ neurons for that resolution, stages need $\sum_k s_k$.
#
# **Predict.** For at least 1,000 classes: would you rather have many stages of few bins
# or few stages of many? Guess the best number of bins for a stage.


# %%
def neurons_for(classes, bins):
    """Neurons, if every stage has `bins` bins and there are as many stages as it takes."""
    count = 1
    while bins**count < classes:
        count += 1
    return bins * count, count


for bins in (2, 3, 4, 5, 6, 10, 32, 1000):
    total, count = neurons_for(1000, bins)
    print(f"{count:>2} stages of {bins:>4} bins: {total:>4} neurons, {bins**count:,} classes")
assert neurons_for(1000, 2) == (20, 10)
assert neurons_for(1000, 10) == (30, 3)

# %%
bins = np.arange(2, 13)
fig, ax = style.figure()
ax.plot(bins, bins / np.log(bins), color=style.BLUE, marker="o")
ax.axvline(np.e, color=style.GREY, linestyle="--", label="e = 2.72")
ax.set(xlabel="bins in each stage, s", ylabel="neurons for each factor e\nof resolution, s / ln s")
ax.legend()
style.show(
    fig,
    "Neurons for each factor e of resolution against the number of bins of a stage. The curve is "
    "lowest at 3 bins, almost the same at 2 and 4, and rises slowly from there.",
)
assert bins[np.argmin(bins / np.log(bins))] == 3

# %% [markdown]
# $s^K$ classes cost $sK$ neurons. For a given number of classes $C$ that is $s \ln C / \ln s$, and
# $s/\ln s$ is smallest at $s = e$. Among whole numbers three is the best for the classes it gives.
# (For just 1,000 classes twos and fours above get by with one neuron fewer, because seven stages of
# three give 2,187.) For 27 classes nothing is thriftier than the paper's (3, 3, 3).
#
# In the network a bin is more than a neuron: it has a column of weights in each layer of its
# stage's prediction block (lesson 13). The package counts them.

# %%
counts = {}
for stages in ((3, 3, 3), (27,), (101,)):
    network = registry.build("ssrnet", variant="released", stages=stages)
    counts[stages] = network.parameter_count()
    print(f"stages {stages!s:<10} {sum(stages):>4} bins {counts[stages]:>9,} numbers in all")
assert counts[3, 3, 3] == 40_915
assert 2.5 < counts[101,] / counts[3, 3, 3] < 4.5

# %% [markdown]
# ## What is given up
#
# There is *one* stage 2, shared by youth, middle age and old age. It can't say "if youth, then
# relatively older; if middle age, then relatively younger". Take a face that is 29 or 31, no more
# is known.
#
# **Predict.** Half a vote for (0, 2), which is 20, and half for (1, 0), which is 30. What
# is the expected age by Eq. 3? Which other pairs of bins do the two stages seem to believe in?

# %%
p = np.array([[0.5, 0.5, 0, 0.5, 0, 0.5]])
print("expected age:", stagewise(p, (3, 3), 90)[0], "years")
seems = np.outer(p[0, :3], p[0, 3:])  # the stages' probabilities, multiplied
for i, j in itertools.product(range(3), range(3)):
    if seems[i, j]:
        print(f"bins ({i}, {j}), {30 * i + 10 * j:>2} years: probability {seems[i, j]}")
assert stagewise(p, (3, 3), 90)[0] == 25
assert seems[0, 0] == seems[1, 2] == 0.25  # 0 and 50 years, which nobody voted for

# %% [markdown]
# The age is right: 25, half of 20 and 30, because Eq. 3 is a sum and the mean of a sum is the sum
# of the means. But the stages together now "believe" in 0 and in 50 years too. For an age estimator
# that is no harm; for a distribution over ages it would be.
#
# The harm is elsewhere: what stage 2 has to answer *jumps* where stage 1's bins meet.

# %%
ages = np.arange(0, 90, 0.5)
table = np.array([digits(age, (3, 3), 90)[0] for age in ages])
fig, ax = style.figure()
ax.step(ages, table[:, 0], where="post", color=style.BLUE, label="stage 1: bin of 30 years")
ax.step(ages, table[:, 1], where="post", color=style.RED, linestyle="--",
          label="stage 2: bin of 10 years")  # fmt: skip
ax.set(xlabel="true age [years]", ylabel="right bin", yticks=[0, 1, 2], ylim=(-0.1, 2.7))
ax.legend(loc="upper left", ncols=2)
style.show(
    fig,
    "The right bin of each stage against the true age. Stage 1 climbs one step each at 30 and 60. "
    "Stage 2 climbs 0, 1, 2 within each thirty years and falls back to 0 at 30 and at 60.",
)
assert (np.abs(np.diff(table[:, 1])) == 2).sum() == 2

# %% [markdown]
# From 29 to 31 a face hardly changes, yet stage 2 must go from "relatively older" to "relatively
# younger" at once. Soft probabilities soften that: stage 1 may say "half youth, half middle age",
# which is 15 years, and leave the rest to stage 2. But only $2 w_2 = 20$ years are left for it to
# say. Bins that can *move* are the paper's answer, in lesson 11.
#
# ## Backward
#
# Equation 3 is linear in $p$: the gradient is the row of bin ages itself, whatever $p$ is.
#
# $$\frac{\partial \tilde y}{\partial p_i^{(k)}} = i \, w_k$$
#
# **Predict.** What is the gradient of the first bin of each stage?

# %%
p = Tensor(random_p(2, (3, 3), rng), requires_grad=True)
by_minissr(p, (3, 3), 90).backward(np.ones(2))
print(p.grad[0])
assert np.allclose(p.grad, bin_ages((3, 3), 90))
steps = np.eye(6) * 1e-5
up, down = (stagewise(p.data[:1] + sign * steps, (3, 3), 90) for sign in (1, -1))
assert np.allclose((up - down) / 2e-5, p.grad[0], atol=1e-6)  # finite differences
print(gradcheck(lambda p: by_minissr(p, (3, 3), 90), [p.data]))

# %% [markdown]
# Zero. Bin 0 adds $0 \cdot w_k$ years, so by Eq. 3 nobody ever tells it anything. Behind a softmax
# it still learns, because its share is what the others don't have. But the released network has a
# ReLU there, no softmax: its $p_0$ is heard only once the bins can shift.

# %% [markdown]
# ## Break it
#
# The classic mistake: dividing by the stage's own number of bins only, not by those of the coarser
# stages too. All stages then have bins of 30 years, and every shape still fits. `careless` plants
# it.
#
# **Predict.** Which age do bins (1, 2) mean then?


# %%
def maybe_careless_widths(stages, V, careless):
    return V / np.array(stages) if careless else V / np.cumprod(stages)


for careless in (False, True):
    w1, w2 = maybe_careless_widths((3, 3), 90, careless)
    print(
        f"careless={careless!s:5} widths {w1:g} and {w2:g}, bins (1, 2) mean {w1 + 2 * w2:g} years"
    )
assert w1 + 2 * w2 == 90

# %% [markdown]
# ## Exercises
#
# Write your answers in `lessons/my/e10.py`.
#
# **Exercise 10.1** `bin_ages(stages, V)`: how many years each bin adds when it is certain, the
# bins of all stages in one row.

# %%
check("10.1")

# %% [markdown]
# **Exercise 10.2** `certain(age, stages, V)`: the row of probabilities in which each stage is
# certain of the right bin for `age` (from 0 to below $V$): the digits, written as ones and zeros.

# %%
check("10.2")

# %% [markdown]
# **Exercise 10.3** `stagewise_backward(g_age, p, stages, V)`: the gradient of Equation 3 with
# respect to `p`, (N, $s_1 + \dots + s_K$), from that of the ages, (N,).

# %%
check("10.3")

# %% [markdown]
# **Exercise 10.4** `thriftiest(classes)`: the least number of neurons with which stages resolve at
# least so many classes, if stages may have *different* numbers of bins, each 2 or more.

# %%
check("10.4")

# %% [markdown]
# **Exercise 10.5** (open-ended) `soft_digits(age)`: for stages (3, 3) and $V = 90$, probabilities
# (6,) whose age by Eq. 3 is `age`, for every age from 0 to 80, *without jumps*: two ages 0.1 years
# apart may not differ by more than 0.02 in any probability. (The certain digits differ by 1 at
# 30.) What does it cost? Stuck? Run this cell again.

# %%
check("10.5")
hint("10.5")

# %% [markdown]
# ## What we learned
#
# - Stages write the age in digits: bin $i$ of stage $k$ adds $i \, w_k$ years, with
#   $w_k = V/\prod_{j \le k} s_j$ (Eq. 3). DEX is one stage.
# - $\sum s_k$ neurons resolve $\prod s_k$ classes; three bins a stage are the thriftiest
#   for the classes they give.
# - The fine stage is shared, and what it must answer jumps where coarse bins meet.
#
# ## Next
#
# [Lesson 11](11_dynamic_range.ipynb): bins that shift and stretch to suit the face.
