# %% [markdown]
# # 05. Making it fast
#
# **Question:** What makes a convolution ten thousand times as fast as seven Python loops?
#
# **Minutes:** 30 · **Needs:** NumPy, Numba
#
# ## Goal
#
# The convolution of lesson 04, unchanged in what it computes, from Python's loops to nearly what
# the processor can do. Each step has one reason: a compiler, the order of memory, vector
# instructions, sums that stay in registers, a second core; and at last a formula that needs fewer
# products. You will read the processor's own instructions, and write a kernel that says which ones
# it wants.
#
# ## What you need
#
# Lesson 04. Numba (it comes with `pip install .`). The times below were measured where this
# notebook was built and beside other work; on your machine they differ, so nothing depends on them.
# A dated measurement on a quiet machine is in the figure at the end.
#
# ## In the paper
#
# Table 1 reports inference times, and the abstract and Section 4.1 sell the network for small
# devices. A compact network is only fast if the arithmetic is done well.

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import json
import re
import time
from pathlib import Path

import numpy as np
from numba import njit, prange, set_num_threads

from lessons import style
from lessons.check import check, hint
from minissr.kernels import lookup, simd
from minissr.kernels.threads import team

style.begin()

# %% [markdown]
# ## The work
#
# One layer: 32 pictures of 32 x 32 pixels with 16 channels in, and two vector registers' worth of
# channels out (32 on a processor with AVX-512, 16 with AVX2). Count the work first. A
# multiplication and an addition are two operations.

# %%
N, SIDE, C, CO = 32, 32, 16, 2 * simd.LANES
rng = np.random.default_rng(0)
x = rng.normal(size=(N, SIDE, SIDE, C)).astype(np.float32)
w = rng.normal(size=(3, 3, C, CO)).astype(np.float32)
OUT = SIDE - 2
OPERATIONS = 2 * N * OUT * OUT * CO * 9 * C


def seconds(function, repeats=7):
    """The median of some runs, after one that compiles."""
    function()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


speed = {}  # billions of operations a second

# %% [markdown]
# The yardstick is NumPy's own way, the single matrix product of lesson 04, done by a library that
# people tuned for decades.

# %%
reference = lookup("conv2d_forward", "numpy")


def numpy_product():
    return reference(x, w, None, (1, 1), (0, 0, 0, 0), 1)


right = numpy_product()
speed["matrix product"] = OPERATIONS / seconds(numpy_product) / 1e9
print(f"{OPERATIONS / 1e6:.0f} million operations, {speed['matrix product']:.1f} billion a second")

# %% [markdown]
# And the seven loops in Python, for a few of the results; nobody wants to wait for all.


# %%
def one_result(n, i, j, q):
    total = 0.0
    for u in range(3):
        for v in range(3):
            for k in range(C):
                total += x[n, i + u, j + v, k] * w[u, v, k, q]
    return total


few = 50
took = seconds(lambda: [one_result(0, 0, j % OUT, 0) for j in range(few)], repeats=3)
speed["Python loops"] = few * 9 * C * 2 / took / 1e9
print(f"{speed['Python loops'] * 1e3:.1f} million operations a second")
assert np.isclose(one_result(1, 2, 3, 4), right[1, 2, 3, 4], rtol=1e-4)

# %% [markdown]
# Python looks up the type of every number, makes an object of every result, checks every index. The
# processor spends one part in a thousand of its time on multiplying.
#
# ## A compiler
#
# Numba translates the same loops into machine code. `y[n, i, j, q]` is the sum; the order of the
# loops is that of the formula.


# %%
@njit
def sums_inside(x, w, y):
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for q in range(y.shape[3]):
                    total = np.float32(0)
                    for u in range(3):
                        for v in range(3):
                            for k in range(x.shape[3]):
                                total += x[n, i + u, j + v, k] * w[u, v, k, q]
                    y[n, i, j, q] = total


y = np.zeros_like(right)
speed["compiled"] = OPERATIONS / seconds(lambda: sums_inside(x, w, y)) / 1e9
assert np.allclose(y, right, atol=1e-3)
print(f"{speed['compiled']:.2f} billion operations a second")

# %% [markdown]
# Hundreds of times as fast, and still far from the matrix product. Two things are wrong with it.
#
# ## The order of memory
#
# An array's last axis lies in consecutive memory. Memory comes in lines of 64 bytes, 16 numbers:
# who reads the next number of the last axis finds it already there; who jumps fetches a line for
# each number. The loop over `k` jumps through `w` by `CO` numbers at a time.
#
# **Predict.** Reading every number of a large table once, row after row or column after column: by
# what factor do the times differ?


# %%
@njit
def add_up(table, by_rows):
    total = 0.0
    for a in range(table.shape[0]):
        for b in range(table.shape[1]):
            total += table[a, b] if by_rows else table[b, a]
    return total


table = rng.normal(size=(3000, 3000))
rows, columns = (seconds(lambda way=way: add_up(table, way), 5) for way in (True, False))
print(f"{columns / rows:.1f} times as long by columns")

# %% [markdown]
# The second thing: each addition of `total += ...` has to wait for the one before it, some four
# ticks of the processor's clock, and the compiler may not change the order of a sum: it would
# change its rounding. So put the loop over `q`, whose sums have nothing to do with each other,
# inside.
#
# **Predict.** The number of multiplications is the same. What can the compiler do now that it
# couldn't before?


# %%
@njit
def channels_inside(x, w, y):
    y[:] = 0
    for n in range(y.shape[0]):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for u in range(3):
                    for v in range(3):
                        for k in range(x.shape[3]):
                            pixel = x[n, i + u, j + v, k]
                            for q in range(y.shape[3]):
                                y[n, i, j, q] += pixel * w[u, v, k, q]


speed["channels inside"] = OPERATIONS / seconds(lambda: channels_inside(x, w, y)) / 1e9
assert np.allclose(y, right, atol=1e-3)
print(f"{speed['channels inside']:.2f} billion operations a second")

# %% [markdown]
# ## What the processor is told
#
# A vector instruction multiplies 16 (AVX-512), 8 (AVX2) or 4 numbers at once. We can look whether
# the compiler found a use for it: the names of single-number instructions end in `ss`, those of
# vectors in `ps`.


# %%
def multiplications(function):
    """How many multiply instructions of each kind are in the machine code."""
    assembly = "\n".join(function.inspect_asm().values())
    found = re.findall(r"\s(v?(?:mul|fmadd\w*?)(?:ps|ss))\s.*?((?:%[xyz]mm\d+)?)$", assembly, re.M)
    kinds = {}
    for name, register in found:
        kind = f"{'vector' if name.endswith('ps') else 'single'} {register[1:4]}".strip()
        kinds[kind] = kinds.get(kind, 0) + 1
    return kinds


for function in (sums_inside, channels_inside):
    print(f"{function.__name__:16}", multiplications(function))

# %% [markdown]
# (`zmm` is a register of 16 numbers, `ymm` of 8, `xmm` of 4 or of a single one; on other processors
# the list may be empty.) The second order of loops is what vectors are for. But `y[n, i, j, q]`
# travels to memory and back for every multiplication: two loads and a store for each useful
# instruction.
#
# ## Sums that stay in registers
#
# The cure has to be said outright; no compiler finds it. Keep a **tile** of sums in registers, some
# pixels by some channels, for the whole sum over the window, and store it once at the end.
# `minissr.kernels.simd` has the words: `registers` makes a tile of zeros, `outer` adds to it the
# products of P pixels with V registers of weights, `store_tile` writes it.

# %%
P, V = 6, 2  # pixels by registers; OUT is a multiple of P


@njit
def tiled(x, w, y):
    for n in range(y.shape[0]):
        for i in range(OUT):
            for j in range(0, OUT, P):
                sums = simd.registers(6, 2)
                at = 0
                for u in range(3):
                    start = ((n * SIDE + i + u) * SIDE + j) * C
                    pixels = simd.run(start, C, 6)  # where the P windows begin
                    for k in range(3 * C):  # three pixels of all channels lie in one piece
                        sums = simd.outer(sums, x, pixels, k, w, at)
                        at += CO
                simd.store_tile(y, simd.run(((n * OUT + i) * OUT + j) * CO, CO, 6), sums)


speed["sums in registers"] = OPERATIONS / seconds(lambda: tiled(x, w, y)) / 1e9
assert np.allclose(y, right, atol=1e-3)
assert OUT % P == 0
print(f"{speed['sums in registers']:.1f} billion operations a second", multiplications(tiled))

# %% [markdown]
# How large should the tile be? P pixels and V registers of weights are P + V loads for P V
# multiplications: large is good. But P V sums, V weights and one pixel must fit into the registers,
# of which there are 32 or 16; one too many and sums travel to memory again.
#
# $$\text{multiplications per load} = \frac{P V}{P + V}, \qquad P V + V + 1 \le R$$
#
# **Predict.** With $R = 32$ registers, is a tile of 14 x 2 or one of 5 x 5 better?

# %%
fig, axes = style.figure(1, 2, width=7.2, height=2.8)
for ax, count in zip(axes, (32, 16), strict=True):
    p, v = np.meshgrid(np.arange(1, 17), np.arange(1, 6))
    ratio = np.where(p * v + v + 1 <= count, p * v / (p + v), np.nan)
    image = ax.imshow(ratio, origin="lower", extent=(0.5, 16.5, 0.5, 5.5), aspect="auto")
    best = np.nanargmax(ratio)
    ax.plot(p.flat[best], v.flat[best], "r*", markersize=14)
    fig.colorbar(image, ax=ax, label="multiplications per load")
    style.label(ax, "pixels P", "registers of weights V", f"{count} registers")
    print(f"{count}: best {p.flat[best]} x {v.flat[best]}, {np.nanmax(ratio):.2f} per load")
style.show(
    fig,
    "Two maps of multiplications per load over tile sizes, for 32 and for 16 registers. Tiles that "
    "don't fit are blank; a star marks the best, nearly square ones, 5 by 5 and 4 by 3.",
)

# %% [markdown]
# ## Two cores
#
# Pictures have nothing to do with each other, so `prange` may deal them out. `team` is the
# package's: it starts the threads and keeps NumPy's out of the way.


# %%
@njit(parallel=True)
def on_all_cores(x, w, y):
    for n in prange(y.shape[0]):
        tiled(x[n : n + 1], w, y[n : n + 1])


def run_on(threads):
    with team():
        set_num_threads(threads)
        on_all_cores(x, w, y)
    return y.copy()


one, two = run_on(1), run_on(2)
assert np.array_equal(one, two)
speed["two cores"] = OPERATIONS / seconds(lambda: run_on(2)) / 1e9
print(f"{speed['two cores']:.1f} billion operations a second; the same bits as with one thread")

# %%
kernel = lookup("conv2d_forward", "numba")
speed["the package"] = (
    OPERATIONS / seconds(lambda: kernel(x, w, None, (1, 1), (0, 0, 0, 0), 1)) / 1e9
)
assert np.allclose(kernel(x, w, None, (1, 1), (0, 0, 0, 0), 1), right, atol=1e-3)
print(f"the package's kernel: {speed['the package']:.1f} billion operations a second")

# %% [markdown]
# ## Fewer multiplications
#
# The multipliers are busy nearly all the time now. To go on, the sum itself has to change. Two
# neighbouring results of a window of three, $y_0 = d_0 g_0 + d_1 g_1 + d_2 g_2$ and
# $y_1 = d_1 g_0 + d_2 g_1 + d_3 g_2$, are six products. Four are enough, and fewer are not
# (Winograd, 1980):
#
# $$m_0 = (d_0 - d_2)\,g_0 \quad m_1 = (d_1 + d_2)\tfrac{g_0 + g_1 + g_2}{2} \quad
# m_2 = (d_2 - d_1)\tfrac{g_0 - g_1 + g_2}{2} \quad m_3 = (d_1 - d_3)\,g_2$$
#
# $$y_0 = m_0 + m_1 + m_2 \qquad y_1 = m_1 - m_2 - m_3$$
#
# Sums of inputs before, sums of products after, and sums of weights that are made only once. As
# matrices, $y = A\,((G g) \odot (B d))$.

# %%
B = np.float64([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
G = np.float64([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
A = np.float64([[1, 1, 1, 0], [0, 1, -1, -1]])

d, g = np.float64([3, 1, 4, 1]), np.float64([2, 7, 1])
print("four products: ", A @ ((G @ g) * (B @ d)))
print("six products:  ", np.correlate(d, g, "valid"))

# %% [markdown]
# **Predict.** An image has two directions, and the formula can be used along both, one after the
# other. How many products for 2 x 2 results of a 3 x 3 window? How many were they as written?

# %%
patch, window = rng.normal(size=(4, 4)), rng.normal(size=(3, 3))
products = (G @ window @ G.T) * (B @ patch @ B.T)
results = A @ products @ A.T
written = [[(patch[i : i + 3, j : j + 3] * window).sum() for j in (0, 1)] for i in (0, 1)]
assert np.allclose(results, written)
as_many = results.size * window.size
print(f"{products.size} products instead of {as_many}, {as_many / products.size} times as many")

# %% [markdown]
# With channels, the products are summed up before $A$: sixteen products of matrices, and
# `outer` again. The sums before and after cost time too, so the sixteen don't make it 2.25 times as
# fast; and they cost digits, which is why larger tiles, with still fewer products, are rarely used.

# %%
patches = rng.normal(size=(1000, 4, 4, C))
windows = rng.normal(size=(3, 3, C))


def by_formula(kind):
    p, w3 = patches.astype(kind), windows.astype(kind)
    a, b, g3 = A.astype(kind), B.astype(kind), G.astype(kind)
    before = np.einsum("ai,bj,nijc->nabc", b, b, p)
    sums = (before * np.einsum("ai,bj,ijc->abc", g3, g3, w3)).sum(axis=3, dtype=kind)
    return np.einsum("ia,jb,nab->nij", a, a, sums)


def as_written(kind):
    p, w3 = patches.astype(kind), windows.astype(kind)
    rows = [[p[:, i : i + 3, j : j + 3] * w3 for j in (0, 1)] for i in (0, 1)]
    return np.stack([np.stack([r.sum((1, 2, 3), dtype=kind) for r in two], 1) for two in rows], 1)


exact = as_written(np.float64)
assert np.allclose(by_formula(np.float64), exact)
for compute in (as_written, by_formula):
    off = np.sqrt(np.mean((compute(np.float32) - exact) ** 2))
    print(
        f"{compute.__name__:10} in float32: off by {off:.1e} of numbers of size {exact.std():.0f}"
    )

# %% [markdown]
# When the package only wants an age, and no gradient, its pooled blocks are computed this way
# (`minissr/kernels/inference/winograd.py`): 2 x 2 results are just what a pooling window holds, so
# the sums after the products and the pooling are one step, in registers.
#
# ## All of it, on a quiet machine
#
# `python -m lessons.studies.kernels` runs the cells above with nobody beside them and keeps the
# medians, with the date and the processor. Here they are, and what was seen just now.

# %%
path = Path(style.__file__).parent / "studies" / "results" / "kernels.json"
stored = json.loads(path.read_text())
quiet = stored["billions_per_second"]
print(stored["about"]["date"], stored["about"]["processor"])
assert quiet["sums in registers"] > 10_000 * quiet["Python loops"]
for name, billions in quiet.items():
    print(f"{name:18} {billions:8.3f}   (now {speed[name]:8.3f})")

# %%
fig, ax = style.figure(height=3.2)
ax.barh(list(quiet), list(quiet.values()), color=style.BLUE, label="stored, quiet machine")
ax.plot([speed[name] for name in quiet], list(quiet), "D", color=style.ORANGE, label="just now")
ax.set_xscale("log")
ax.invert_yaxis()
style.label(ax, "billion operations a second (logarithmic)", "the same convolution")
ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
style.show(
    fig,
    "Bars on a logarithmic axis, one for each way to compute the same convolution: Python loops "
    "at a few thousandths of a billion operations a second, compiled loops a few, vectors "
    "ten or more, sums in registers and the package's kernel a hundred.",
)

# %% [markdown]
# ## Break it
#
# Threads and sums do not mix well. Adding up a long array on several threads means adding up
# pieces, and rounding depends on where the pieces end. The classic mistake: as many pieces as
# threads. The switch plants it; the right way is pieces of a fixed size, however many threads deal
# with them.
#
# **Predict.** The same million numbers, summed "on" 1, 2, 3 and 4 threads: how many different
# results?


# %%
@njit
def in_pieces(values, size):
    total = np.float32(0)
    for start in range(0, len(values), size):
        piece = np.float32(0)
        for i in range(start, min(start + size, len(values))):
            piece += values[i]
        total += piece
    return total


values = rng.normal(size=1_000_000).astype(np.float32)
for broken in (True, False):
    sizes = [-(-len(values) // threads) if broken else 4096 for threads in (1, 2, 3, 4)]
    results = [float(in_pieces(values, size)) for size in sizes]
    print(f"broken={broken!s:5}", [f"{r:.4f}" for r in results])
assert len(set(results)) == 1

# %% [markdown]
# Nothing is wrong with any of them, and yet a training that depends on the number of cores can't be
# repeated. All kernels of `minissr` have pieces that don't depend on the threads; its tests compare
# the bits.
#
# ## Exercises
#
# Answers go into `lessons/my/e05.py`.
#
# **Exercise 05.1** Write `flat_index(place, shape)`: where in memory, counted in numbers, the
# element at the tuple `place` of a C-contiguous array of this `shape` lies.

# %%
check("05.1")

# %% [markdown]
# **Exercise 05.2** Write `best_tile(count, most_v)`: the pair $(P, V)$ with $V$ at most `most_v`
# that has the most multiplications per load and fits into `count` registers. If two are equally
# good, the smaller $V$.

# %%
check("05.2")

# %% [markdown]
# **Exercise 05.3** Write `repeatable_sum(values, threads)`: split the work into pieces that
# `threads` workers could share, add up each piece, then the pieces; the same bits for every number
# of threads from 1 to 8. It must still be a sum in pieces: at least 8 of them for a thousand
# numbers. Return the pair (sum, number of pieces). `values` is float32, and so are all sums.

# %%
check("05.3")

# %% [markdown]
# **Exercise 05.4** A layer may be limited by arithmetic or by memory. Write `roofline(n, side, c,
# co, peak, bandwidth)`: the most operations a second that a 3 x 3 convolution of `n` square
# pictures can reach, if every number of `x`, `w` and `y` (4 bytes each) travels once at `bandwidth`
# bytes a second and the processor does `peak` operations a second. (The *roofline* model.)

# %%
check("05.4")

# %% [markdown]
# **Exercise 05.5** Write `two_results(d, g)`: the pair $(y_0, y_1)$ of four numbers `d` and a
# window `g` of three, with at most four products among them and their sums. The check counts them,
# so take the numbers one by one and not as an array; halving costs nothing.

# %%
check("05.5")

# %% [markdown]
# ## What we learned
#
# - A compiler gives the first factor of hundreds; then it is the order of memory, vectors, and
#   above all sums that never leave the registers.
# - A good tile is as square as the registers allow: multiplications per load $PV / (P + V)$.
# - Fixed pieces keep results the same for every number of threads.
# - When the multipliers are busy, multiply less: sums before and after save more than half of the
#   products of a 3 x 3 window.
#
# ## Next
#
# [Lesson 06](06_the_same_kernel_on_a_gpu.ipynb): ten thousand threads, and the same three ideas.
