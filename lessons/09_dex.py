# %% [markdown]
# # 09. From classes to an age
#
# **Question:** A classifier says "bin 3, most likely": how does that become an age in years?
#
# **Minutes:** 20 · **Needs:** NumPy
#
# ## Goal
#
# To write DEX, the ancestor of SSR-Net, in both directions: from a row of numbers to probabilities
# to an age, and back from the age to each of the numbers; and to know what is lost on the way.
#
# ## What you need
#
# Lesson 03, for checking gradients. A probability is a number from 0 to 1, and those of all bins
# add up to 1.
#
# ## In the paper
#
# Section 3.2, the first two paragraphs, up to Equation 2. Everything in the next four lessons grows
# from that one line.

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

from lessons import style
from lessons.check import check, hint
from minissr import Tensor, gradcheck, ops

style.begin(numpy_alone=True)

# %% [markdown]
# ## Ages as classes
#
# Cut the ages from 0 to $V$ into $s$ equal bins. Each is $w = V/s$ years wide, and DEX lets bin
# $i$ stand for the age at which it *begins*:
#
# $$\mu_i = i \, \frac{V}{s}, \qquad i = 0, 1, \dots, s-1$$
#
# We take $V = 90$ years and $s = 9$ bins.
#
# **Predict.** Which age does the last bin stand for: 80, 85 or 90?

# %%
V, s = 90.0, 9
w = V / s
mu = np.arange(s) * V / s
print("width of a bin:", w, "years")
print("each stands for:", mu)
assert mu[-1] == 80

# %% [markdown]
# 80. No bin stands for 85 or for 90; we will meet the people who live there again.
#
# ## From any numbers to probabilities
#
# A network's last layer puts out $s$ numbers of any sign, the *logits* $z$. Softmax makes them
# positive and makes them add up to 1:
#
# $$p_i = \frac{e^{z_i}}{\sum_j e^{z_j}}$$
#
# Adding the same number to all logits changes nothing, because it cancels. So we may subtract the
# largest one first, and then no exponential is larger than 1.


# %%
def softmax(z):
    """z (N, s) -> p (N, s): positive, and each row adds up to 1."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


z = np.array([[0.2, 0.5, 1.9, 3.2, 3.0, 1.1, 0.3, 0.1, 0.0]])
p = softmax(z)
print(p.round(3), "sum", p.sum())
assert np.allclose(p, ops.softmax(Tensor(z)).data)  # the package agrees
assert np.allclose(p, softmax(z + 1000))  # only differences count

# %% [markdown]
# ## From probabilities to an age
#
# A classifier would answer with the most probable bin. DEX answers with the *expected value*, every
# bin's age weighted by its probability (Yang et al. 2018, Eq. 2):
#
# $$\tilde y = \sum_{i=0}^{s-1} p_i \, \mu_i = \sum_{i=0}^{s-1} p_i \cdot i \, \frac{V}{s}$$
#
# First with a loop, as it is written; then for many faces at once; then by the package, for which
# DEX is one stage whose bins stay where they are.
#
# **Predict.** Bins 3 and 4 have most of the probability, 3 a little more. Is the expected
# age below 30, between 30 and 40, or above 40?


# %%
def expected_age_loop(p, V):
    """One face, p (s,) -> age in years."""
    age = 0.0
    for i in range(len(p)):
        age += p[i] * i * V / len(p)
    return age


def expected_age(p, V):
    """p (N, s) -> ages (N,) in years."""
    s = p.shape[1]
    return p @ (np.arange(s) * V / s)


def expected_age_of_minissr(p, V):
    """The same by the package, as a Tensor: K = 1, nothing shifts, nothing stretches."""
    zeros, no_stretch = Tensor(np.zeros(p.shape)), Tensor(np.zeros((p.shape[0], 1)))
    fixed = {"c_delta": 0.0, "c_eta": 0.0}
    return ops.soft_stagewise_regression(
        p, zeros, no_stretch, stages=p.shape[1:], max_age=V, **fixed
    )


# %%
print("most probable bin:", mu[p[0].argmax()], "years")
print("expected value:   ", expected_age(p, V)[0].round(2), "years")
assert 30 < expected_age(p, V)[0] < 40
assert np.isclose(expected_age_loop(p[0], V), expected_age(p, V)[0])
assert np.isclose(expected_age_of_minissr(Tensor(p), V).data[0], expected_age(p, V)[0])

# %%
fig, ax = style.figure()
ax.bar(mu, p[0], width=0.9 * w, align="edge", color=style.BLUE, label="probability of the bin")
ax.axvline(mu[p[0].argmax()], color=style.GREY, linestyle="--", label="most probable bin")
ax.axvline(expected_age(p, V)[0], color=style.RED, label="expected value (Eq. 2)")
ax.set(xlabel="age [years]", ylabel="probability", xlim=(0, V))
ax.legend()
style.show(
    fig,
    "Nine bars, one for each bin of ten years, highest from 30 to 50. A dashed line at 30 marks "
    "where the most probable bin begins, a solid line at about 35 the expected value.",
)

# %% [markdown]
# ## What classes alone lose: quantisation
#
# Suppose a classifier is perfect: it always knows the true bin. It still answers with one of $s$
# ages. How far off is it? Try every age from 0 to $V$.
#
# **Predict.** A perfect classifier with bins of 10 years that answers with the beginning
# of the bin: what is its mean absolute error? And if it answered with the middle of the bin?

# %%
ages = np.arange(0, V, 0.01)
true_bin = np.floor(ages / w)
by_beginning = np.abs(true_bin * w - ages)
by_middle = np.abs((true_bin + 0.5) * w - ages)
print(f"beginning of the bin: {by_beginning.mean():.2f} years")
print(f"middle of the bin:    {by_middle.mean():.2f} years")
assert abs(by_beginning.mean() - w / 2) < 0.01  # half a bin
assert abs(by_middle.mean() - w / 4) < 0.01  # a quarter of a bin

# %% [markdown]
# Half a bin, or a quarter of one. That is the *quantisation error*, and the only cure within
# classification is narrower bins, which means more of them: DEX takes 101.
#
# The expected value has another cure. A face that is 34 need not be "surely bin 3": if bin 3 has
# probability 0.6 and bin 4 has 0.4, the expected age is 34 exactly. Two neighbours can make up
# every age between them.
#
# **Predict.** Every age? What happens from 80 to 90?


# %%
def two_neighbours(ages, V, s):
    """p (N, s) with at most two bins in use and, where that's possible, the expected age asked."""
    position = np.clip(np.asarray(ages) * s / V, 0, s - 1)  # in bins
    lower = np.minimum(position.astype(int), s - 2)
    share = position - lower
    p = np.zeros((len(position), s))
    p[np.arange(len(p)), lower] = 1 - share
    p[np.arange(len(p)), lower + 1] = share
    return p


print("34 years:", two_neighbours([34], V, s)[0].round(3))
by_expectation = np.abs(expected_age(two_neighbours(ages, V, s), V) - ages)
print(f"mean error up to 80 years: {by_expectation[ages <= 80].mean():.2g} years")
print(f"largest error above:       {by_expectation.max():.2f} years")
assert by_expectation[ages <= 80].max() < 1e-9
assert 9.9 < by_expectation.max() < 10

# %%
fig, ax = style.figure()
ax.plot(ages, by_beginning, color=style.GREY, linestyle="--", label="beginning of the true bin")
ax.plot(ages, by_middle, color=style.BLUE, linestyle=":", label="middle of the true bin")
ax.plot(ages, by_expectation, color=style.RED, label="expected value of two neighbours")
ax.set(xlabel="true age [years]", ylabel="error [years]", ylim=(-0.3, 16))
ax.legend(loc="upper left", ncols=1)
style.show(
    fig,
    "Error against true age. The beginning of the bin gives a sawtooth from 0 to 10 years, its "
    "middle one from 5 to 0 to 5. The expected value has no error up to 80 years and then rises "
    "to 10 at 90.",
)

# %% [markdown]
# Up to 80 there is no error left, with only nine bins. Past the last $\mu$ there is nothing to mix
# with: Eq. 2 can't answer more than $V (s-1)/s$. With 101 bins over $V = 101$ that is 100 years and
# hurts nobody. With three bins it would be two thirds of $V$, and it is the first thing to keep in
# mind when we take few bins.
#
# ## What the expected value loses: the shape
#
# Only the mean survives. Two very different beliefs give the same age.

# %%
sure = np.array([[0, 0, 0, 0, 1.0, 0, 0, 0, 0]])
torn = np.array([[0, 0.5, 0, 0, 0, 0, 0, 0.5, 0]])
fig, ax = style.figure()
ax.bar(mu + 1, sure[0], width=4, align="edge", color=style.BLUE, label="sure")
ax.bar(mu + 5, torn[0], width=4, align="edge", color=style.RED, hatch="//", label="torn")
ax.axvline(expected_age(sure, V)[0], color="black", label="expected value of both")
ax.set(xlabel="age [years]", ylabel="probability", xlim=(0, V))
ax.legend(loc="upper right")
style.show(
    fig,
    "Two sets of bars. The first has everything in the bin that begins at 40; the second has half "
    "of it in that of 10 and half in that of 70. A line at 40 marks the expected value of both.",
)
assert expected_age(sure, V)[0] == expected_age(torn, V)[0] == 40

# %% [markdown]
# A loss on the age alone can't tell them apart, so training with it never asks for a tidy
# distribution. The real DEX is trained as a classifier, with cross-entropy, and takes the
# expected value afterwards. SSR-Net is trained on the age, with the mean absolute error.
#
# ## Backward: which way does each logit go?
#
# How does the age move when logit $z_k$ moves? Softmax's own derivative, with $\delta_{ik} = 1$ if
# $i = k$ and 0 if not, is
#
# $$\frac{\partial p_i}{\partial z_k} = p_i (\delta_{ik} - p_k)$$
#
# and so
#
# $$\frac{\partial \tilde y}{\partial z_k}
#   = \sum_i \mu_i \, p_i (\delta_{ik} - p_k)
#   = \mu_k p_k - p_k \sum_i \mu_i p_i
#   = p_k (\mu_k - \tilde y)$$
#
# **Predict.** Which sign have the bins that are older than the present answer? Which bins
# hardly move?


# %%
def dex_gradient(p, V):
    """d age / d logits, (N, s), in years."""
    s = p.shape[1]
    mu = np.arange(s) * V / s
    return p * (mu - expected_age(p, V)[:, None])


print(dex_gradient(p, V).round(2))
steps = np.eye(s) * 1e-5
up, down = (expected_age(softmax(z + sign * steps), V) for sign in (1, -1))
assert np.allclose((up - down) / 2e-5, dex_gradient(p, V)[0], atol=1e-8)  # finite differences

logits = Tensor(z, requires_grad=True)
expected_age_of_minissr(ops.softmax(logits), V).backward(np.ones(1))
assert np.allclose(logits.grad, dex_gradient(p, V))  # the package's backward
report = gradcheck(lambda z: expected_age_of_minissr(ops.softmax(z), V), [z])

# %% [markdown]
# If the answer is too low, logits of older bins rise and those of younger bins fall, each in
# proportion to how probable it is already. A bin whose $p$ is nearly 0 hardly learns: a face that
# is firmly in the wrong place needs many steps to leave it.
#
# ## What it costs
#
# DEX's last layer has a weight for each feature and bin, and a bias for each bin. With 101 bins
# behind VGG's 4,096 features, and behind the 160 features SSR-Net has at its deepest point:

# %%
for features in (4096, 160):
    print(f"{features:>5} features, 101 bins: {features * 101 + 101:,} numbers")
assert 4096 * 101 + 101 == 413_797
assert 160 * 101 + 101 == 16_261
assert round(16_261 / 40_915, 1) == 0.4

# %% [markdown]
# The whole of SSR-Net has 40,915 numbers (lesson 13 counts them). One such layer would be two
# fifths of that, and a stage needs several. Fewer bins, then; but not fewer ages. That is the next
# lesson.
#
# ## Break it
#
# The classic mistake: softmax without subtracting the largest logit. Everything works while logits
# are small. In float32, `exp` overflows above 88.7, and infinity divided by infinity is not a
# number. The training goes well for hours, and then the loss is `nan`. `hasty` plants it.


# %%
def maybe_hasty_softmax(z, hasty):
    with np.errstate(over="ignore", invalid="ignore"):
        e = np.exp(z) if hasty else np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)


for logits in (np.float32([[0, 2, 4]]), np.float32([[0, 50, 100]])):
    for hasty in (False, True):
        print(f"logits {logits[0]}, hasty={hasty!s:5}", maybe_hasty_softmax(logits, hasty)[0])
assert np.isfinite(maybe_hasty_softmax(logits, hasty=False)).all()
assert not np.isfinite(maybe_hasty_softmax(logits, hasty=True)).all()
with np.errstate(over="ignore"):
    assert np.isinf(np.exp(np.float32(88.8)))
    assert np.isfinite(np.exp(np.float32(88.7)))

# %% [markdown]
# ## Exercises
#
# Write your answers in `lessons/my/e09.py`, which appears when you first check one.
#
# **Exercise 09.1** `expected_age(p, V)`: Equation 2 for probabilities `p` of shape (N, s).

# %%
check("09.1")

# %% [markdown]
# **Exercise 09.2** `dex_backward(g_age, z, V)`: from the gradient of the ages, (N,), to that of the
# logits `z`, (N, s), softmax included. The checker compares with finite differences.

# %%
check("09.2")

# %% [markdown]
# **Exercise 09.3** `two_neighbours(age, V, s)`: probabilities (s,) of which at most two, side by
# side, are not 0, and whose expected age is exactly `age`, for an `age` from 0 to $V (s-1)/s$.

# %%
check("09.3")

# %% [markdown]
# **Exercise 09.4** `bins_needed(V, worst)`: how many bins a classifier needs at least, that always
# knows the right bin and answers with its *middle*, to be never more than `worst` years off.

# %%
check("09.4")

# %% [markdown]
# **Exercise 09.5** (open-ended) `spread(p, V)`: one number for each face, (N,), that tells "sure"
# from "torn". It must be 0 where a single bin has everything, larger for "torn" than for "sure"
# above, and in years: twice as large if $V$ is twice as large. Stuck? Run this cell, three times
# if need be.

# %%
check("09.5")
hint("09.5")

# %% [markdown]
# ## What we learned
#
# - DEX's age is a weighted mean of the bins' ages (Eq. 2); a bin stands for where it begins.
# - Classes alone are off by a quarter or half of a bin; the expected value reaches every age
#   between the first and the last $\mu$, and none above. Only the mean survives, not the shape.
# - $\partial \tilde y / \partial z_k = p_k (\mu_k - \tilde y)$: older bins pull up, in proportion
#   to how probable they are.
#
# ## Next
#
# [Lesson 10](10_coarse_to_fine.ipynb): the same resolution with far fewer bins.
