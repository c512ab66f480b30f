# %% [markdown]
# # 11. Bins that shift and stretch
#
# **Question:** What does a face gain if it may move and resize the bins that judge it?
#
# **Minutes:** 20 · **Needs:** NumPy
#
# ## Goal
#
# To write soft stagewise regression, the formula that gives SSR-Net its name, forward; and to know
# what each of its inputs does to the age. There are sliders to try it.
#
# ## What you need
#
# Lesson 10: Equation 3 and its widths. The sliders need ipywidgets; without it, there is a picture.
#
# ## In the paper
#
# Section 3.3, Equations 4 to 6, and Section 3.5, Equation 7.

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

from lessons import style
from lessons.check import check, hint
from lessons.rulers import rulers
from lessons.workbench import workbench
from minissr import Tensor, gradcheck, ops

style.begin(numpy_alone=True)

# %% [markdown]
# ## Stretching: how many bins are there?
#
# Lesson 10 ended with a face of 29 or 31 for which the fixed bins are awkward. So the network gives
# each stage one more number, $\Delta_k$, and it changes the *number* of bins
# (Yang et al. 2018, Eq. 4):
#
# $$\bar s_k = s_k \, (1 + \Delta_k)$$
#
# Three bins with $\Delta = 0.5$ are 4.5 bins. You can't draw four and a half boxes, but the width
# doesn't mind: it divides by the stretched numbers (Eq. 5),
#
# $$\bar w_k = \frac{V}{\prod_{j=1}^{k} \bar s_j}$$
#
# **Predict.** $\Delta_1 = 0.5$, and $\Delta_2 = 0$: are stage 1's bins wider or narrower than
# before? And those of stage 2?


# %%
def stretched_widths(delta, stages, V):
    """delta (N, K) -> width of a bin of each stage, (N, K), in years (Eqs. 4 and 5)."""
    stretched = np.array(stages) * (1 + delta)  # (N, K)
    return V / np.cumprod(stretched, axis=1)


for delta in ([0, 0], [0.5, 0], [0, 0.5], [-0.5, 0]):
    print("delta", delta, "-> widths", stretched_widths(np.float64([delta]), (3, 3), 90)[0])
assert np.allclose(stretched_widths(np.float64([[0.5, 0]]), (3, 3), 90), [20, 20 / 3])
assert 3 * (1 + 0.5) == 4.5

# %% [markdown]
# Narrower, both of them: more bins have less room. $\Delta_1$ reaches into every finer stage,
# because widths are a product; $\Delta_2$ leaves stage 1 alone.
#
# ## Shifting: where is a bin?
#
# And each bin gets a number $\eta_i$, which is added to its index (Eq. 6):
#
# $$\bar i = i + \eta_i^{(k)}$$
#
# $\eta = 0.5$ moves a bin to the right by half its width. Both come out of a tanh, so $\Delta_k$
# and $\eta_i$ lie between -1 and 1.


# %%
def shifted_index(p, eta, stages):
    """p, eta (N, s_1 + ... + s_K) -> the expected, shifted index of each stage, (N, K)."""
    ends = np.cumsum(stages)
    index = []
    for s, end in zip(stages, ends, strict=True):
        bins = slice(end - s, end)
        index.append((p[:, bins] * (np.arange(s) + eta[:, bins])).sum(axis=1))
    return np.stack(index, axis=1)


p = np.float64([[0.2, 0.5, 0.3, 0, 1, 0]])
eta = np.float64([[0, 0.4, 0, 0, -0.5, 0]])
print("without shifts", shifted_index(p, 0 * eta, (3, 3))[0])
print("with shifts   ", shifted_index(p, eta, (3, 3))[0])
assert np.allclose(shifted_index(p, eta, (3, 3)), [1.1 + 0.5 * 0.4, 0.5])

# %% [markdown]
# ## Equation 7
#
# Put the shifted index and the stretched width into Equation 3, and you have the paper's formula
# (Eq. 7):
#
# $$\tilde y = \sum_{k=1}^{K} \sum_{i=0}^{s_k-1} p_i^{(k)} \cdot \bar i \;
#   \frac{V}{\prod_{j=1}^{k} \bar s_j}$$
#
# It is the product of what the last two cells computed, summed over stages.


# %%
def soft_stagewise(p, eta, delta, stages, V):
    """Ages (N,) in years (Eq. 7)."""
    return (stretched_widths(delta, stages, V) * shifted_index(p, eta, stages)).sum(axis=1)


def random_inputs(n, stages, rng):
    """p that adds up to 1 in each stage, eta and delta between -0.8 and 0.8."""
    p = np.concatenate([rng.dirichlet(np.ones(s), n) for s in stages], axis=1)
    return p, rng.uniform(-0.8, 0.8, p.shape), rng.uniform(-0.8, 0.8, (n, len(stages)))


rng = np.random.default_rng(11)
for stages in ((3, 3), (3, 3, 3), (2, 4, 3), (9,)):
    p, eta, delta = random_inputs(4, stages, rng)
    ages = soft_stagewise(p, eta, delta, stages, 101)
    tensors = [Tensor(array) for array in (p, eta, delta)]
    assert np.allclose(
        ages, ops.soft_stagewise_regression(*tensors, stages=stages, max_age=101, floor=0).data
    )
    print(f"stages {stages!s:<10} {p.size // 4 * 2 + delta.size // 4:>2} inputs, ages", ages)

# %% [markdown]
# The same as the package's op, for any stages. Two properties to hold on to: with $\eta$ and
# $\Delta$ at zero it is Equation 3; and the age is a straight line in every $p$ and every $\eta$,
# but not in $\Delta$.

# %%
p, eta, delta = random_inputs(1, (3, 3), rng)
row = np.concatenate([np.arange(3) * 30, np.arange(3) * 10])  # lesson 10's bin ages
assert np.allclose(soft_stagewise(p, 0 * eta, 0 * delta, (3, 3), 90), p @ row)
middle = soft_stagewise(p, eta / 2, delta, (3, 3), 90)
ends = soft_stagewise(p, 0 * eta, delta, (3, 3), 90), soft_stagewise(p, eta, delta, (3, 3), 90)
assert np.allclose(middle, sum(ends) / 2)  # half the shift, half the way
print("halfway in eta:", middle, "the mean of", ends)

# %% [markdown]
# ## What it looks like
#
# Each stage is a ruler again; the boxes are its bins, darker where $p$ is larger, set off a little
# so that one sees them overlap. An arrow below each ruler shows what the stage adds.
#
# **Predict.** In which of the four pictures does stage 1's arrow have another length than in the
# first?

# %%
p = np.float64([0.1, 0.7, 0.2, 0.2, 0.3, 0.5])
eta, delta = np.zeros(6), np.zeros(2)
shifted = np.float64([0, 0.5, 0, 0, 0, 0])
fig, axs = style.figure(2, 2, width=8, height=5.2)
ages = [
    rulers(ax, p, e, d, stages=(3, 3), V=90.0, title=words)
    for ax, e, d, words in (
        (axs[0, 0], eta, delta, "fixed bins"),
        (axs[0, 1], shifted, delta, "middle bin of stage 1: eta = 0.5"),
        (axs[1, 0], eta, np.float64([0.4, 0]), "stage 1: delta = 0.4"),
        (axs[1, 1], eta, np.float64([0, 0.4]), "stage 2: delta = 0.4"),
    )
]
style.show(
    fig,
    "Four pictures of two rulers. Fixed bins give 46 years. Shifting the middle bin of stage 1 "
    "moves the sum right by ten years. Stretching stage 1 narrows all bins and moves it left; "
    "stretching stage 2 narrows the bins of stage 2 only.",
)

# %%
print("ages:", np.round(ages, 2), "years")
assert np.allclose(ages, [46, 46 + 0.7 * 0.5 * 30, 46 / 1.4, 33 + 13 / 1.4])

# %% [markdown]
# In the second, because a bin of stage 1 moved, and in the third, because all of its bins shrank.
# $\Delta_2$ in the fourth leaves it alone. And wherever stage 1 ends, stage 2 begins: the whole
# second ruler moves along.
#
# Now you. With ipywidgets, the next cell has a slider for everything there is: $s_k$, $\Delta_k$,
# $p_i$, $\eta_i$, and the true age, dashed. Small arrows say which way each input comes nearer to
# it: in a bin, across for its $\eta$ and up or down for its $p$; above a ruler, for its $\Delta$,
# to the right for a larger one. (They are gradients; lesson 12 derives them.) Find three ways to
# make this face 60.

# %%
workbench(p, stages=(3, 3), V=90.0, target=60.0)

# %% [markdown]
# The same without Jupyter, for up to three stages: open [playground.html](playground.html) in a
# browser.
#
# ## How far each input reaches
#
# **Predict.** Which moves the age more: $\Delta_1$ or $\Delta_3$? Which direction hurts,
# towards 1 or towards -1?

# %%
stages, V = (3, 3, 3), 101.0
third = np.full((1, 9), 1 / 3)
turn = np.linspace(-0.95, 1, 196)
fig, ax = style.figure()
reach = []
for k, line in enumerate(("-", "--", ":")):
    delta = np.zeros((len(turn), 3))
    delta[:, k] = turn
    many = np.repeat(third, len(turn), axis=0)
    ages = soft_stagewise(many, 0 * many, delta, stages, V)
    reach.append((ages.min(), ages.max()))
    ax.plot(turn, ages, line, color=style.CYCLE[k], label=f"delta of stage {k + 1}")
style.label(ax, "delta", "age [years]")
ax.set_yscale("log")
ax.legend()
style.show(
    fig,
    "Age, on a logarithmic axis, against each delta from -0.95 to 1 with the others at 0. All "
    "curves fall. That of stage 1 falls from about a thousand years to 24, those of stages 2 and 3 "
    "are much flatter.",
)

# %%
for k, (low, high) in enumerate(reach):
    print(f"delta of stage {k + 1}: {low:7.1f} to {high:7.1f} years")
assert np.allclose(reach[0], [48.6 / 2, 48.6 / 0.05], atol=5)

# %% [markdown]
# Towards $+1$ a stage's part is halved at worst. Towards $-1$ there is no end: at $\Delta = -1$
# there are no bins at all, the width is infinite, and lesson 12 has to deal with it.
#
# ## What happened to quantisation
#
# Take certain bins, one a stage: fixed, they give nine ages. Shifted, they give every age.
#
# **Predict.** Bins (1, 1) of 30 and 10 years are 40. By how much must the middle bin of stage 1
# shift to answer 47.3?

# %%
certain = np.float64([[0, 1, 0, 0, 1, 0]])
eta = np.zeros((1, 6))
eta[0, 1] = (47.3 - 40) / 30
age = soft_stagewise(certain, eta, np.zeros((1, 2)), (3, 3), 90)
print("eta", eta[0, 1].round(4), "->", age, "years")
assert np.allclose(age, 47.3)

# %% [markdown]
# And the first bin, which Equation 3 never asked, is asked now: with $\eta_0$ it stands for
# $\eta_0 \bar w_k$ years. Here is the gradient with respect to $p$ by the package, and by finite
# differences of our own function.

# %%
p, eta, delta = random_inputs(1, (3, 3), rng)
tensors = [Tensor(array, requires_grad=True) for array in (p, eta, delta)]
age = ops.soft_stagewise_regression(*tensors, stages=(3, 3), max_age=90)
age.backward(np.ones(1))
print("bins stand for", tensors[0].grad[0], "years")
width = stretched_widths(delta, (3, 3), 90)[0]
assert np.isclose(tensors[0].grad[0, 0], eta[0, 0] * width[0])
steps = np.eye(6) * 1e-5
stretch = np.repeat(delta, 6, axis=0)
up, down = (soft_stagewise(p + sign * steps, eta + 0 * steps, stretch, (3, 3), 90)
            for sign in (1, -1))  # fmt: skip
assert np.allclose((up - down) / 2e-5, tensors[0].grad[0], atol=1e-5)
report = gradcheck(ops.soft_stagewise_regression, [p, eta, delta], settings={"stages": (3, 3)})

# %% [markdown]
# ## Too many ways to be right
#
# Six $p$, six $\eta$ and two $\Delta$ for one age: fourteen inputs for two stages of three, and
# $9 + 9 + 3 = 21$ for the paper's three. Very different bins give the same age, and a loss on the
# age can't choose between them. A stage may as well do nothing.

# %%
roads = {
    "fixed bins": ([0, 1, 0, 0, 1, 0], 0.0, [0.0, 0.0]),
    "all bins shifted": ([1, 0, 0, 1, 0, 0], 0.8, [-0.2, 0.0]),
    "stage 2 does nothing": ([0, 1, 0, 1, 0, 0], 0.0, [-0.25, 0.0]),
    "stage 1 does nothing": ([1, 0, 0, 0, 0, 1], 0.0, [-0.5, 0.0]),
}
for words, (p, shift, delta) in roads.items():
    p, delta = np.float64([p]), np.float64([delta])
    age = soft_stagewise(p, np.full((1, 6), shift), delta, (3, 3), 90)[0]
    print(f"{words:<22} {age:5.1f} years")
    assert np.isclose(age, 40)
assert 9 + 9 + 3 == 21

# %% [markdown]
# Remember this picture when lesson 16 finds stages that do nothing in the published weights.
#
# ## Break it
#
# The classic mistake is to stretch the *width* by $1 + \Delta$ instead of the number of bins. Every
# shape is right, and it even trains. But $\Delta$ then means the opposite, and weights from one
# program give nonsense in the other. `upside_down=True` shows it.


# %%
def widths_maybe_wrong(delta, stages, V, upside_down=False):
    factor = 1 / (1 + delta) if upside_down else 1 + delta
    return V / np.cumprod(np.array(stages) * factor, axis=1)


delta = np.float64([[0.5, 0.0]])
for upside_down in (False, True):
    print("upside down" if upside_down else "right      ",
          widths_maybe_wrong(delta, (3, 3), 90, upside_down)[0], "years")  # fmt: skip
assert np.allclose(widths_maybe_wrong(delta, (3, 3), 90), stretched_widths(delta, (3, 3), 90))

# %% [markdown]
# ## Exercises
#
# Write your answers in `lessons/my/e11.py`.
#
# **Exercise 11.1** `stretched_widths(delta, stages, V)`: Equations 4 and 5, (N, K).

# %%
check("11.1")

# %% [markdown]
# **Exercise 11.2** `shifted_index(p, eta, stages)`: the inner sum of Equation 7, (N, K).

# %%
check("11.2")

# %% [markdown]
# **Exercise 11.3** `soft_stagewise(p, eta, delta, stages, V, c_delta, c_eta)`: Equation 7 with the
# authors' two switches, which multiply $\Delta$ and $\eta$: 0 is off, 1 is as above. Ages (N,).

# %%
check("11.3")

# %% [markdown]
# **Exercise 11.4** `delta_for(age, index, stages, V)`: the $\Delta_1$ with which the indices (K,)
# give this age, the other $\Delta$ being 0.

# %%
check("11.4")

# %% [markdown]
# **Exercise 11.5** (open-ended) `another_way(p, eta, delta)`: for stages (3, 3) and $V = 90$, other
# inputs of the same shapes, (6,), (6,) and (2,), for the same age: $p$ still probabilities,
# nothing in $\eta$ and $\Delta$ beyond -0.95 or 0.95, and each of the three arrays different from
# the given one by 0.05 at least somewhere. Stuck? Run this cell again.

# %%
check("11.5")
hint("11.5")

# %% [markdown]
# ## What we learned
#
# - $\Delta_k$ stretches the *number* of bins: positive is narrower, in its stage and all finer
#   ones.
# - $\eta_i$ shifts a bin in units of its width; Equation 7 is Equation 3 with $\bar i$ and $\bar
#   s_j$.
# - Quantisation is gone, at a price: many inputs give one age, and $\Delta = -1$ is a pole.
#
# ## Next
#
# [Lesson 12](12_stagewise_gradient.ipynb): the gradient of this formula, line by line.
