# %% [markdown]
# # 12. The gradient of soft stagewise regression
#
# **Question:** The age is off: which shift, which stretch, which probability moves, and how far?
#
# **Minutes:** 25 · **Needs:** NumPy
#
# ## Goal
#
# To derive the backward pass of Equation 7 line by line, to write it in ten lines of NumPy, and to
# see where it breaks down: the pole at $\Delta = -1$, and the floor that keeps us away from it.
#
# ## What you need
#
# Lesson 11 (Equation 7) and lesson 03 (finite differences). From calculus: the chain rule, and that
# the slope of $1/f$ is $-1/f^2$.
#
# ## In the paper
#
# Section 3.5, Equation 7. The paper leaves its gradient to Keras (Section 4.1: "powered by Keras'
# automatic differentiation"); we do it by hand, as `minissr/ops/stagewise.py` does.

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

from lessons import style
from lessons.check import check, hint
from lessons.workbench import workbench
from minissr import Tensor, gradcheck, ops
from minissr.autograd.gradcheck import GradientError
from minissr.ops.stagewise import SoftStagewiseRegression

style.begin(numpy_alone=True)

# %% [markdown]
# ## The formula in three steps
#
# For one face, with $i = 0, \dots, s_k - 1$ in stage $k$:
#
# $$f_k = 1 + \Delta_k$$
#
# $$w_k = \frac{V}{\prod_{j=1}^{k} s_j f_j}$$
#
# $$q_k = \sum_i p_i \, (i + \eta_i)$$
#
# and the age is $\tilde y = \sum_k w_k q_k$. The three names are worth it: the shares $p$ and
# shifts $\eta$ stand only in $q$, the stretches $\Delta$ only in $w$. Each product $w_k q_k$ is
# what stage $k$ adds, in years.


# %%
STAGES, V = (3, 3, 3), 101.0


def bins_of(stages):
    """Where each stage's bins lie in a row of p."""
    ends = np.cumsum(stages)
    return [slice(end - s, end) for s, end in zip(stages, ends, strict=True)]


def forward(p, eta, delta, stages=STAGES, V=V):
    """p, eta (N, s_1 + ... + s_K), delta (N, K) -> ages (N,), and w, q (N, K)."""
    w = V / np.cumprod(np.array(stages) * (1 + delta), axis=1)
    q = np.stack(
        [
            (p[:, bins] * (np.arange(s) + eta[:, bins])).sum(axis=1)
            for s, bins in zip(stages, bins_of(stages), strict=True)
        ],
        axis=1,
    )
    return (w * q).sum(axis=1), w, q


# %% [markdown]
# Some faces to work with, away from the pole for now.

# %%
rng = np.random.default_rng(12)
N = 4
p = np.concatenate([rng.dirichlet(np.ones(s), N) for s in STAGES], axis=1)
eta, delta = rng.uniform(-0.8, 0.8, (N, 9)), rng.uniform(-0.5, 0.8, (N, 3))
age, w, q = forward(p, eta, delta)
tensors = [Tensor(array, requires_grad=True) for array in (p, eta, delta)]
theirs = ops.soft_stagewise_regression(*tensors, stages=STAGES, max_age=V, floor=0)
assert np.allclose(age, theirs.data)
print("ages", age)

# %% [markdown]
# ## The shares and the shifts
#
# They stand in $q_k$ alone, and $q_k$ is multiplied with $w_k$. Two steps of the chain rule for
# each:
#
# $$\frac{\partial \tilde y}{\partial q_k} = w_k$$
#
# $$\frac{\partial q_k}{\partial p_i} = i + \eta_i \qquad \frac{\partial q_k}{\partial \eta_i} =
# p_i$$
#
# So, with $g = \partial L / \partial \tilde y$ the gradient that comes from the loss,
#
# $$\frac{\partial L}{\partial p_i} = g \, w_k \, (i + \eta_i) \qquad
#   \frac{\partial L}{\partial \eta_i} = g \, w_k \, p_i$$
#
# In words: $p_i$ pulls by the age its bin stands for; $\eta_i$ by how much its bin counts. A bin
# with $p_i = 0$ tells its shift nothing.
#
# **Predict.** All gradients with respect to $\eta$ within a stage, added up, are $g$ times what?


# %%
def backward_p_eta(g, p, eta, w, stages=STAGES):
    """g (N,) -> dL/dp and dL/deta, both (N, s_1 + ... + s_K)."""
    gp, geta = np.empty_like(p), np.empty_like(eta)
    for k, (s, bins) in enumerate(zip(stages, bins_of(stages), strict=True)):
        g_index = (g * w[:, k])[:, None]  # (N, 1)
        gp[:, bins] = g_index * (np.arange(s) + eta[:, bins])
        geta[:, bins] = g_index * p[:, bins]
    return gp, geta


g = np.ones(N)
gp, geta = backward_p_eta(g, p, eta, w)
print("sums of dL/deta, stage by stage", geta[0].reshape(3, 3).sum(axis=1))
print("widths                         ", w[0])
assert np.allclose(geta.reshape(N, 3, 3).sum(axis=2), w)  # because the p of a stage add up to 1

# %% [markdown]
# Times the width: if all bins of a stage shift together by one, the age moves by one bin.
#
# ## The stretches
#
# $\Delta_j$ is in the width of its own stage and of every finer one. In all of these it stands
# once, as the factor $1/f_j$; everything else there is a constant $A$. So
#
# $$w_k = \frac{A}{f_j} \quad\Rightarrow\quad
#   \frac{\partial w_k}{\partial f_j} = -\frac{A}{f_j^2} = -\frac{w_k}{f_j}
#   \qquad (k \ge j)$$
#
# and zero for $k < j$. Every $w_k$ with $k \ge j$ shrinks by the *same share*. Summed over stages,
#
# $$\frac{\partial \tilde y}{\partial \Delta_j}
#   = \sum_{k \ge j} q_k \, \frac{\partial w_k}{\partial f_j}
#   = -\frac{1}{f_j} \sum_{k \ge j} w_k q_k$$
#
# The sum is what stage $j$ and all finer stages add to the age, in years. For all $j$ at once it
# is a cumulative sum from the finest stage back.
#
# **Predict.** What is the gradient with respect to $\Delta_1$, if $\Delta_1 = 0$, for a face of 40?


# %%
def backward_delta(g, delta, w, q):
    """g (N,) -> dL/ddelta (N, K)."""
    finer = np.cumsum((w * q)[:, ::-1], axis=1)[:, ::-1]  # sum over k >= j
    return -g[:, None] * finer / (1 + delta)


flat = np.float64([[0.0, 0.3, -0.2]])
age_flat, w_flat, q_flat = forward(p[:1], eta[:1], flat)
slope = backward_delta(np.ones(1), flat, w_flat, q_flat)
print("age", age_flat, "gradient with respect to delta", slope[0])
assert np.isclose(slope[0, 0], -age_flat[0])

# %% [markdown]
# The whole age, negative: a face of 40 gets $-40$. An old face has a large gradient there, a baby
# hardly any.
#
# ## Three witnesses
#
# Our ten lines, the package's op, and finite differences of our own forward.

# %%
gdelta = backward_delta(g, delta, w, q)
theirs.backward(g)
for name, ours, tensor in zip(("p", "eta", "delta"), (gp, geta, gdelta), tensors, strict=True):
    x = tensor.data
    numeric = np.empty_like(x)
    for place in np.ndindex(x.shape):
        ages = []
        for step in (1e-5, -1e-5):
            moved = {"p": p, "eta": eta, "delta": delta} | {name: x.copy()}
            moved[name][place] += step
            ages.append(forward(**moved)[0].sum())
        numeric[place] = (ages[0] - ages[1]) / 2e-5
    error = np.abs(numeric - ours).max() / np.abs(ours).max()
    print(
        f"{name:<5} finite differences: {error:.0e}   package: {np.abs(tensor.grad - ours).max()}"
    )
    assert error < 1e-7
    assert np.allclose(tensor.grad, ours)

# %% [markdown]
# ## What a tenth more does
#
# Gradients are easiest to feel as "what happens if this were 0.1 more": in years, for one face.

# %%
fig, axs = style.figure(1, 3, width=8, height=2.9)
names = [f"{k}.{i}" for k in (1, 2, 3) for i in range(3)]
for ax, gradient, title, ticks in (
    (axs[0], gp[0], "p of stage.bin", names),
    (axs[1], geta[0], "eta of stage.bin", names),
    (axs[2], gdelta[0], "delta of stage", ["1", "2", "3"]),
):
    colours = [style.CYCLE[int(t[0]) - 1] for t in ticks]
    ax.bar(ticks, 0.1 * gradient, color=colours)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.tick_params(axis="x", labelsize=6)
    style.label(ax, title, "change of the age [years]")
style.show(
    fig,
    "Three bar charts of what 0.1 more of an input does to the age in years. The bars of stage 1 "
    "are the longest, those of stage 3 the shortest; those of delta point down.",
)

# %% [markdown]
# Stage 1 has levers of many years and stage 3 of a few months. In training they get gradients in
# the same proportion, which may be one reason why fine stages fall asleep.
#
# The same as arrows, for a face that is 30 (the dashed line). Downhill is against the gradient of
# $|\tilde y - 30|$: in each bin, across for its $\eta$ and up or down for its $p$; above each
# ruler, for its $\Delta$, to the right for a larger one.
#
# **Predict.** The answer is too old. Do the arrows of $\Delta$ point left or right? Which bin's $p$
# has no arrow at all?

# %%
workbench([0.2, 0.6, 0.2] * 3, stages=STAGES, V=V, target=30.0)

# %% [markdown]
# Right: more bins, so narrower ones. And bin 0 of each stage has none for its $p$, because it
# stands for 0 years as long as $\eta_0 = 0$. With ipywidgets these are sliders, as in lesson 11.
#
# ## The pole
#
# $\Delta = -1$ means no bins at all: $f = 0$, width $V/0$. The network's $\Delta$ comes from
# $\tanh$, which never reaches $-1$. In mathematics. In float32 it does.
#
# **Predict.** From which $z$ on is $\tanh(z)$ exactly $-1$ in float32: about $-4$, $-10$ or $-40$?

# %%
z = np.linspace(0, -20, 20001, dtype=np.float32)
reached = z[np.tanh(z) == -1]
print(f"tanh is exactly -1 from z = {reached[0]:.2f} down")
assert -10.5 < reached[0] < -8  # where exactly depends on the processor
with np.errstate(divide="ignore"):
    print("width there:", np.float32(101) / (3 * (1 + np.tanh(reached[0]))), "years")

# %% [markdown]
# And long before, things get out of hand: the age grows like $1/f$, its gradient like $1/f^2$. One
# face near the pole outweighs the whole batch.
#
# The remedy in minissr is a *floor*: $f_k = \max(1 + \Delta_k, \text{floor})$, 0.001 unless you say
# otherwise. Where it holds, $f$ is a constant, and so
#
# $$\frac{\partial L}{\partial \Delta_j} = 0 \qquad \text{where} \quad 1 + \Delta_j \le
# \text{floor}$$


# %%
def age_and_slope(delta_1, floor):
    """One face, by the package: age, and d age / d delta_1, for each delta_1."""
    n = len(delta_1)
    d = Tensor(np.stack([delta_1, 0 * delta_1, 0 * delta_1], axis=1), requires_grad=True)
    many = [Tensor(np.repeat(array[:1], n, axis=0)) for array in (p, eta)]
    age = ops.soft_stagewise_regression(*many, d, stages=STAGES, max_age=V, floor=floor)
    age.backward(np.ones(n))
    return age.data, d.grad[:, 0]


# %%
near = -1 + np.logspace(-4, -0.3, 100)
fig, axs = style.figure(1, 2, width=8)
for floor, line, words in ((0, "--", "no floor"), (0.1, ":", "floor 0.1"), (1e-3, "-", "0.001")):
    found = age_and_slope(near, floor)
    for ax, values in zip(axs, (found[0], np.abs(found[1])), strict=True):
        ax.loglog(1 + near, np.maximum(values, 1e-1), line, label=words)
style.label(axs[0], "1 + delta of stage 1", "age [years]")
style.label(axs[1], "1 + delta of stage 1", "size of the gradient [years]")
axs[0].legend()
style.show(
    fig,
    "Two plots with logarithmic axes against 1 + delta. Without a floor the age rises as 1 + delta "
    "falls, to half a million years, and its gradient twice as steeply. With a floor the age stays "
    "level below it and the gradient drops to zero, drawn at the bottom.",
)
assert np.all(age_and_slope(near[:10], 1e-3)[1] == 0)

# %% [markdown]
# A floor has a price: a stage that is below it gets no gradient through $\Delta$ any more and can't
# come back by itself. So our default network stays away from it altogether: it multiplies
# $\Delta$ with a coefficient, the authors' `lambda_d`, that is below 1. (Theirs is 1.)
#
# **Predict.** With a coefficient of 0.9, what is the smallest $f$ there can be, and the widest bin
# of stage 1?

# %%
smallest = 1 - 0.9
print(f"smallest f {smallest:.1f}, widest bin of stage 1 {V / 3 / smallest:.0f} years")
zeros = np.zeros((1, 9))
one = np.zeros((1, 9))
one[0, 1] = 1
edge = [Tensor(array) for array in (one, zeros, np.full((1, 3), -1.0))]
wide = ops.soft_stagewise_regression(*edge, stages=STAGES, max_age=V, c_delta=0.9).data[0]
assert np.isclose(wide, V / 3 / smallest)

# %% [markdown]
# With the coefficients $c_d$ and $c_e$ of $\Delta$ and $\eta$ the gradients are as above, times the
# coefficient: the docstring of `minissr.ops.stagewise` has them. The package's gradient checker
# goes through all elements, with coefficients:

# %%
settings = {"stages": STAGES, "c_delta": 0.9, "c_eta": 0.5}
report = gradcheck(ops.soft_stagewise_regression, [p, eta, delta], settings=settings,
                   mode="elements")  # fmt: skip
print(report.comparisons, "slopes agree, the worst to", f"{report.worst.error:.0e}")
assert report.comparisons == N * (9 + 9 + 3)

# %% [markdown]
# ## Break it
#
# The classic mistake: $\Delta_j$ changes its own stage, so take only that stage's years,
# $-w_j q_j / f_j$, and forget the finer ones. The finest stage is then right, and the others are
# nearly right, because finer stages add little. The training goes on, a bit worse. Would you
# notice? The checker does.


# %%
class MyRegression(SoftStagewiseRegression):
    """The package's op with our backward for delta, right or wrong."""

    forget_finer = False

    @classmethod
    def backward(cls, ctx, g):
        p, eta, delta, w, q, *_ = ctx.saved
        years = w * q if cls.forget_finer else np.cumsum((w * q)[:, ::-1], axis=1)[:, ::-1]
        return *backward_p_eta(g, p, eta, w), -g[:, None] * years / (1 + delta)


fixed = {"stages": STAGES, "min_age": 0, "max_age": V, "c_delta": 1, "c_eta": 1, "floor": 0}
print("right:", gradcheck(MyRegression.apply, [p, eta, delta], settings=fixed).worst.error < 1e-6)
MyRegression.forget_finer = True
try:
    gradcheck(MyRegression.apply, [p, eta, delta], settings=fixed, mode="elements")
except GradientError as error:
    print(str(error)[:160], "...")
else:
    raise AssertionError("the mistake went unnoticed")

# %% [markdown]
# ## Exercises
#
# Write your answers in `lessons/my/e12.py`.
#
# **Exercise 12.1** `backward_index(g_q, p, eta)`: one stage alone. From the gradient of $q$, (N,),
# to those of `p` and `eta`, both (N, s), as a tuple.

# %%
check("12.1")

# %% [markdown]
# **Exercise 12.2** `backward_widths(g_w, delta, stages, V)`: from the gradients of the *widths*,
# (N, K), to that of `delta`, (N, K). (In the age, $g_w$ is $g \, q$.)

# %%
check("12.2")

# %% [markdown]
# **Exercise 12.3** `backward_age(g, p, eta, delta, stages, V, floor)`: everything together, with
# the floor, as a tuple of three gradients.

# %%
check("12.3")

# %% [markdown]
# **Exercise 12.4** `backward_logit(g, age_part, z)`: $\Delta = \tanh(z)$, and `age_part` (N,) is
# what stage $j$ and the finer ones add to the age. The gradient of $z$, (N,), in a form that is
# finite for *every* $z$, though $1/f$ is not. Use $1 - \tanh^2 z = (1 - \tanh z)(1 + \tanh z)$. No
# floor here.

# %%
check("12.4")
hint("12.4")

# %% [markdown]
# ## What we learned
#
# - $p$ pulls by where its bin stands, $\eta$ by how much it counts, both times the width.
# - $\Delta_j$ pulls by everything that it and the finer stages add, divided by $-f_j$.
# - At $f = 0$ the age is infinite; float32 gets there. A floor keeps the age finite and gives no
#   gradient; a coefficient below 1 never comes near.
#
# ## Next
#
# [Lesson 13](13_network.ipynb): the network that fills in $p$, $\eta$ and $\Delta$.
