# %% [markdown]
# # 01. A number that remembers
#
# **Question:** How can a number know where it came from, and what would have changed it?
#
# **Minutes:** 20 · **Needs:** NumPy
#
# ## Goal
#
# A network is trained by asking its answer one question for each of its weights: *if you had been a
# little larger, how would the error have changed?* SSR-Net has forty thousand weights, and it gets
# all forty thousand answers from one walk. By the end of this lesson you will have written what
# makes that possible, a `Tensor` that remembers how it was made and can walk back, and it will
# agree with the one of `minissr` to the last digit or two.
#
# ## What you need
#
# Python classes, and from school the derivatives of $a + b$, $a \cdot b$ and $a / b$. No calculus
# with many variables: that is what we are going to build.
#
# ## In the paper
#
# Section 3.5, Eq. 7, *soft stagewise regression*: how the network's outputs become an age. Here we
# only borrow the formula, with a single stage of two bins, as something that is worth
# differentiating. Section 4.1 says of it: the custom layer "is powered by Keras' automatic
# differentiation". This lesson is that automatic differentiation.

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import itertools
import weakref

import numpy as np

from lessons import style
from lessons.check import check, hint
from minissr import Tensor as PackageTensor
from minissr import gradcheck, ops
from minissr.autograd.graph import draw

style.begin(numpy_alone=True)

# %% [markdown]
# ## Five numbers become an age
#
# The range of ages is cut in two bins, 0 to 45 and 45 to 90 years. The network says how much it
# believes in each bin ($p_0, p_1$), shifts the second one ($\eta$, in bins) and stretches both
# ($\Delta$; a positive one makes the bins narrower). With $V = 90$ years and two bins that is
#
# $$y = \frac{V}{2 (1 + \Delta)} \left( p_0 \cdot 0 + p_1 (1 + \eta) \right)$$
#
# Never mind yet why it looks like this; lessons 09 to 12 are about nothing else.

# %%
V = 90.0  # years


def age(p0, p1, eta, delta):
    width = V / (2 * (1 + delta))  # of a bin, in years
    return width * (p0 * 0 + p1 * (1 + eta))


inputs = {"p0": 0.25, "p1": 0.75, "eta": -0.2, "delta": 0.1}
print(f"{age(**inputs):.4f} years")
assert round(age(**inputs), 2) == 24.55

# %% [markdown]
# What would change this age? The honest way to find out is to try: add a little to one of the four
# inputs, compute the age again, and divide the change by what was added.
#
# **Predict.** Which of the four slopes are positive, which negative, and is there one that is zero?

# %%
STEP = 1e-6
tried = {}
for name, value in inputs.items():
    tried[name] = (age(**{**inputs, name: value + STEP}) - age(**inputs)) / STEP
    print(f"d age / d {name:5} = {tried[name]:+8.3f} years")
assert tried["p0"] == 0
assert tried["delta"] < 0 < tried["p1"]

# %% [markdown]
# More belief in the second bin makes older, narrower bins make younger, and $p_0$ is multiplied by
# bin number 0: nobody listens to it. Four slopes took four more evaluations of the formula. For a
# network that is one evaluation for each of 40,915 weights, to take a single step of training.
# There has to be something better.

# %%
WEIGHTS = 40_915  # of SSR-Net; lesson 13 counts them
IMAGES_PER_SECOND = 1000  # an optimistic guess for a laptop
batch = 50
print(f"one step by trying: {WEIGHTS * batch / IMAGES_PER_SECOND / 60:.0f} minutes")

# %% [markdown]
# ## A number that remembers
#
# The formula is made of additions, products and quotients. For one such operation the slopes are
# known from school: in $a \cdot b$ the slope with respect to $a$ is $b$. So let every number keep,
# beside its value, **which numbers it was made of, and with which slope**. Nothing else is needed.


# %%
class Number:
    """A value, and its parents: pairs of (the number it was made of, the slope towards it)."""

    counter = itertools.count()

    def __init__(self, value, *parents, op="input"):
        self.value, self.parents, self.op = value, parents, op
        self.born = next(Number.counter)  # parents are always older than their children
        self.grad = 0.0

    def __add__(self, other):
        return Number(self.value + other.value, (self, 1.0), (other, 1.0), op="+")

    def __mul__(self, other):
        slopes = (self, other.value), (other, self.value)
        return Number(self.value * other.value, *slopes, op="*")

    def __truediv__(self, other):
        y = self.value / other.value
        return Number(y, (self, 1 / other.value), (other, -y / other.value), op="/")


# %% [markdown]
# Compute the age once more, with the same formula, out of such numbers. Python calls our `__add__`
# and `__mul__` for `+` and `*`, and while the value is computed a graph grows behind it.

# %%
given = {name: Number(value) for name, value in inputs.items()}


def age_of(p0, p1, eta, delta):
    zero, one, two, v = Number(0.0), Number(1.0), Number(2.0), Number(V)
    width = v / (two * (one + delta))
    return width * (p0 * zero + p1 * (one + eta))


y = age_of(**given)
print(f"{y.value:.4f} years, made by {y.op!r} of")
for parent, slope in y.parents:
    print(f"  {parent.value:8.4f}, made by {parent.op!r}, with slope {slope:.4f}")
assert y.value == age(**inputs)

# %% [markdown]
# ## The slope along a path, and along all of them
#
# From $\Delta$ the way to the age leads over four operations. If the first triples a small change
# and the second doubles that, the change arrives six times as large: **along a path slopes
# multiply**. And where two paths lead from an input to the result, a change comes in twice: **over
# paths they add up**. That is the whole chain rule:
#
# $$\frac{\partial y}{\partial x} = \sum_{\text{paths from } x \text{ to } y} \;
# \prod_{\text{edges of the path}} \text{slope}$$
#
# As a function it is one line, from the result backwards.


# %%
def slope_by_paths(of, by):
    """Sum over all paths from `by` to `of` of the product of their slopes."""
    if of is by:
        return 1.0
    return sum(slope * slope_by_paths(parent, by) for parent, slope in of.parents)


for name, number in given.items():
    found = slope_by_paths(y, number)
    print(f"d age / d {name:5} = {found:+8.3f}   by trying {tried[name]:+8.3f}")
    assert np.isclose(found, tried[name], atol=1e-3)

# %% [markdown]
# Right, without a single extra evaluation. But look at what it costs when a result is used twice.
# Square a number, square the result, and so on: $y = x^{2^n}$ after $n$ squarings.
#
# **Predict.** After 16 squarings the graph has 17 numbers. How many paths lead from the last to the
# first?


# %%
def squared(x, times):
    for _ in range(times):
        x = x * x
    return x


def count_paths(of, by):
    return 1 if of is by else sum(count_paths(parent, by) for parent, _ in of.parents)


depths = range(1, 17)
start = Number(1.0)
paths = [count_paths(squared(start, n), start) for n in depths]
print(f"{paths[-1]:,} paths through {depths[-1] + 1} numbers")
assert paths == [2**n for n in depths]

# %%
fig, ax = style.figure(height=3.2)
ax.semilogy(depths, paths, "o-", color=style.RED, label="paths: what the recursion walks")
ax.semilogy(depths, [n + 1 for n in depths], "s--", color=style.BLUE, label="numbers in the graph")
style.label(ax, "squarings, one after the other", "count (logarithmic)")
ax.legend()
style.show(
    fig,
    "Two curves over the number of squarings. The number of paths is a straight line on the "
    "logarithmic axis, doubling each time to 65,536; the number of graph nodes barely rises to 17.",
)

# %% [markdown]
# Every multiplication doubles the paths, though there is only one more number. A network with ten
# layers would never finish.
#
# ## Once through every number
#
# All paths that meet in a number share what follows. So let each number *collect* what comes back
# to it, in `grad`, from all of its children; only when the last child has reported, pass it on to
# its parents, multiplied by the slopes. The condition is kept by visiting **the youngest number
# first**: children are always younger than their parents.
#
# $$\bar{a} = \sum_{c \,\in\, \text{children of } a} \bar{c} \; \frac{\partial c}{\partial a}$$
#
# with $\bar{a}$ for $\partial y / \partial a$, which is what `grad` will hold.


# %%
def everything_behind(last):
    """All numbers that `last` depends on, itself included; a list to work off, no recursion."""
    found, to_visit = {last}, [last]
    while to_visit:
        for parent, _ in to_visit.pop().parents:
            if parent not in found:
                found.add(parent)
                to_visit.append(parent)
    return found


def backward(last):
    """Leave d last / d number in the grad of every number behind `last`."""
    last.grad = 1.0
    for number in sorted(everything_behind(last), key=lambda n: n.born, reverse=True):
        for parent, slope in number.parents:
            parent.grad += number.grad * slope


# %%
backward(y)
for name, number in given.items():
    print(f"d age / d {name:5} = {number.grad:+8.3f}")
    assert np.isclose(number.grad, slope_by_paths(y, number))
print(f"all of them in one walk through {len(everything_behind(y))} numbers")

# %% [markdown]
# That is backpropagation. The package's `walk_back` (in `minissr/autograd/tensor.py`) is the same
# loop; it keeps the youngest unvisited operation on top of a heap instead of sorting.
#
# **Predict.** A sum of 20,000 numbers, added one by one, is a graph 20,000 deep. Which of our two
# ways gets through it?

# %%
first = Number(1.0)
total = first
for _ in range(20_000):
    total = total + Number(0.5)
try:
    slope_by_paths(total, first)
except RecursionError as error:
    print("recursion:", error)
backward(total)
print("the loop:  d total / d first =", first.grad)
assert first.grad == 1.0

# %% [markdown]
# ## From numbers to arrays
#
# Forty thousand Python objects that hold one number each would be slow. So a tensor holds a whole
# array. A slope then can't be one number any more: towards a product of two arrays it would be a
# table of everything by everything. But nobody ever needs the table, only what it does to what
# comes back. An edge therefore holds a function, *given the gradient of my output, here is that of
# my input*:
#
# | operation | what comes back to $a$ | what comes back to $b$ |
# |---|---|---|
# | $a + b$ | `g` | `g` |
# | $a \cdot b$ | `g * b` | `g * a` |
# | $a / b$ | `g / b` | `-g * y / b` |
#
# One thing is new. NumPy stretches a short array over a long one: adding a bias $b$ with 3 numbers
# to an array of shape `(4, 3)` uses every number of $b$ four times. Four uses are four paths, and
# paths add up:
#
# $$y_{ij} = a_{ij} + b_j \quad\Rightarrow\quad \bar{b}_j = \sum_i \bar{y}_{ij}$$
#
# So whatever comes back is summed over the axes along which the array was stretched.


# %%
def unstretched(g, shape):
    """Sum `g` over the axes along which an array of this shape was stretched."""
    g = g.sum(axis=tuple(range(g.ndim - len(shape))))  # axes that weren't there at all
    for axis, length in enumerate(shape):
        if length == 1:
            g = g.sum(axis=axis, keepdims=True)
    return g


from_four_rows = unstretched(np.ones((4, 3)), (3,))
print(from_four_rows, "from (4, 3) to (3,)")
assert unstretched(np.ones((4, 3)), (4, 1)).tolist() == [[3.0]] * 4


# %%
class Tensor:
    """An array, and its parents: pairs of (the tensor, what to do with a gradient for it)."""

    counter = itertools.count()

    def __init__(self, data, *parents):
        self.data, self.parents = np.asarray(data, np.float64), parents
        self.born, self.grad = next(Tensor.counter), np.zeros_like(self.data)

    def __add__(self, other):
        return Tensor(self.data + other.data, (self, lambda g: g), (other, lambda g: g))

    def __mul__(self, other):
        a, b = self.data, other.data
        return Tensor(a * b, (self, lambda g: g * b), (other, lambda g: g * a))

    def __truediv__(self, other):
        b, y = other.data, self.data / other.data
        return Tensor(y, (self, lambda g: g / b), (other, lambda g: -g * y / b))

    def sum(self, axis):
        def widen(g):  # every summand gets the gradient of the sum
            return np.broadcast_to(np.expand_dims(g, axis), self.data.shape)

        return Tensor(self.data.sum(axis), (self, widen))


# %%
def walk_back(last):
    last.grad = np.ones_like(last.data)
    for tensor in sorted(everything_behind(last), key=lambda t: t.born, reverse=True):
        for parent, pull in tensor.parents:
            parent.grad = parent.grad + unstretched(pull(tensor.grad), parent.data.shape)


rng = np.random.default_rng(1)
p = Tensor(rng.uniform(0, 1, (4, 2)))  # four faces, two bins
eta = Tensor(rng.uniform(-0.5, 0.5, (4, 2)))
delta = Tensor(rng.uniform(-0.5, 0.5, (4, 1)))
bins = Tensor([0.0, 1.0])  # (2,), stretched over the faces
width = Tensor(V) / (Tensor(2.0) * (Tensor(1.0) + delta))  # (4, 1), stretched over the bins
ages = (width * (p * (bins + eta))).sum(axis=1)
print(ages.data, "years")
walk_back(ages)

# %% [markdown]
# ## Beside the package
#
# `minissr` has the formula as one operation, with a gradient that was derived on paper (lesson 12).
# Ours came from nothing but sums, products and quotients. They should be the same function.

# %%
theirs = {
    name: PackageTensor(tensor.data, requires_grad=True, name=name)
    for name, tensor in {"p": p, "eta": eta, "delta": delta}.items()
}
result = ops.soft_stagewise_regression(**theirs, stages=(2,), max_age=V)
result.sum().backward()
assert np.allclose(ages.data, result.data)
for name, ours in {"p": p, "eta": eta, "delta": delta}.items():
    worst = abs(ours.grad - theirs[name].grad).max()
    print(f"{name:5} gradient {ours.grad.shape}: largest difference below 1e-12: {worst < 1e-12}")
    assert worst < 1e-12

# %% [markdown]
# And both are right: `gradcheck` asks the package's operation the honest way, as we did in the
# beginning, by trying (lesson 03 is about how much one can trust it).

# %%
report = gradcheck(
    ops.soft_stagewise_regression,
    [p.data, eta.data, delta.data],
    settings={"stages": (2,), "max_age": V},
    mode="elements",
)
print(f"{report.comparisons} slopes tried, all agree")
assert report.comparisons == p.data.size + eta.data.size + delta.data.size

# %% [markdown]
# The package draws what it remembers, too. Rounded boxes are inputs, square ones operations with
# the shape of what they return; data flows down, gradients will flow up. Find the one tensor that
# two paths leave.

# %%
d = PackageTensor(delta.data, requires_grad=True, name="delta")
q = PackageTensor(p.data, requires_grad=True, name="p")
width = V / (2.0 * (1.0 + d))
drawn = (width * q).sum() + width.mean()
fig, ax = style.figure(width=5.2, height=6.4)
draw(drawn, ax)
ax.set_axis_off()
style.show(
    fig,
    "A graph of boxes from top to bottom. delta passes Add, Multiply and Divide; from Divide two "
    "arrows leave, one to a Multiply with p and one to a Mean; their results meet in the last Add.",
)

# %% [markdown]
# ## Who keeps whom alive
#
# Edges point from a result to what it was made of, never the other way. So as long as somebody
# holds the result, everything behind it stays in memory; let the result go, and all of it goes.

# %%
x = Tensor(np.ones(1000))
result = (x * x + x).sum(axis=0)
middle = weakref.ref(result.parents[0][0])  # watches, without holding, the tensor x * x + x
print("while the result is held: ", "alive" if middle() is not None else "freed")
del result
print("after the result is gone: ", "alive" if middle() is not None else "freed")
assert middle() is None

# %% [markdown]
# A training step that keeps its loss in a list for a plot, the tensor and not the number, keeps
# every array of that step. After a hundred steps the memory is full. (`loss.item()` is the cure.)
#
# ## Break it
#
# `+=` is the plus between the paths. The classic mistake is to write `=` there: every child
# overwrites what the others reported. The switch `overwrite` plants it.
#
# **Predict.** $y = x \cdot x$ at $x = 3$ has slope 6. What does the broken walk say?


# %%
def walk(last, overwrite):
    for number in everything_behind(last):
        number.grad = 0.0
    last.grad = 1.0
    for number in sorted(everything_behind(last), key=lambda n: n.born, reverse=True):
        for parent, slope in number.parents:
            parent.grad = number.grad * slope + (0.0 if overwrite else parent.grad)


for overwrite in (False, True):
    x = Number(3.0)
    walk(x * x, overwrite)
    print(f"overwrite={overwrite!s:5}  d(x x)/dx at 3 = {x.grad}")
assert x.grad == 3.0

# %% [markdown]
# Half of it. The treacherous part: in a graph where everything is used once, the broken walk is
# right, and every such test passes. With a network it goes wrong the day a layer is used twice. So
# a test of an engine needs a *diamond*, two paths that part and meet again.
#
# ## Exercises
#
# Write your answers into `lessons/my/e01.py` (it appears when you first run a check); run a cell
# again to check again. `hint("01.1")` helps, three times.
#
# **Exercise 01.1** Write `divide_backward(g, a, b)`: the two gradients that come back through
# `y = a / b`, for arrays of equal shape.

# %%
check("01.1")

# %% [markdown]
# **Exercise 01.2** Write `unbroadcast(g, shape)`: undo NumPy's stretching in general. Ours above
# has a flaw: it is only right if `g` was really stretched along every axis of length 1 or missing;
# yours must return an array of exactly `shape` for every shape that can be stretched to `g.shape`.

# %%
check("01.2")

# %% [markdown]
# **Exercise 01.3** Write `visiting_order(parents, last)`. `parents` is a dictionary from a name to
# the list of names it was made of; nobody has noted a birth. Return all names behind `last`, each
# before all of its parents, without recursion: one example is 5000 deep.

# %%
check("01.3")

# %% [markdown]
# **Exercise 01.4** Write an operation for the package: `class Hypotenuse(Function)` with
# $y = \sqrt{a^2 + b^2}$ for arrays that may be stretched. `forward(ctx, a, b)` and
# `backward(ctx, g)` are static methods; `ctx.save(...)` keeps what backward reads in `ctx.saved`.
# The check runs it through the package's engine and `gradcheck`.

# %%
check("01.4")

# %% [markdown]
# ## What we learned
#
# - A number that remembers its parents and the slopes towards them can answer for every input.
# - Slopes multiply along a path and add up over paths; visiting the youngest first does that for
#   all inputs in one walk, at the cost of about one more evaluation.
# - For arrays an edge is a function from gradient to gradient, and what was stretched is summed.
#
# ## Next
#
# [Lesson 02](02_backprop_by_hand.ipynb): the same walk by hand, through two layers that learn an
# age from real pixels, and what it costs.
