# %% [markdown]
# # 06. The same kernel on a GPU
#
# **Question:** What does one of ten thousand threads do, and how does one test that without a GPU?
#
# **Minutes:** 25 · **Needs:** NumPy, g++ for the last part (skipped without)
#
# ## Goal
#
# The convolution once more, as a graphics processor computes it: one small program, run by
# thousands of threads at once. You will read three versions from
# `minissr/kernels/conv2d/conv3x3.cu`, step their threads by hand on a CPU, count what travels
# through memory, and see which mistakes show only in another order of threads.
#
# ## What you need
#
# Lesson 05 (the order of memory, tiles). A few words of C. No GPU: this lesson computes on the CPU,
# and no time in it is a GPU's. `minissr`'s kernels are checked on a CPU as this lesson shows; how
# fast a device runs them, that does not tell.
#
# ## In the paper
#
# Table 1 has two inference times, GPU and CPU; Section 4.1 names the device. The work is that of
# Figure 1(a)'s 3 x 3 convolutions.

# %%
import sys

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import re
import shutil

import numpy as np

from lessons import style
from lessons.check import check, hint
from minissr.kernels import lookup
from minissr.kernels.conv2d.cupy_gpu import CONV3X3

style.begin()

# %% [markdown]
# ## Version 1: a thread for each result
#
# In CUDA one writes what **one** thread does. The machine starts a *grid* of *blocks* of threads,
# and each thread finds out from its number which result is its own. This is the file's first
# kernel:


# %%
def kernel_text(name):
    """The text of one kernel of conv3x3.cu."""
    found = re.search(rf'extern "C" __global__ [^{{]*?{name}\(.*?^}}', CONV3X3.source, re.S | re.M)
    return found[0]


print(kernel_text("conv3x3_naive"))

# %% [markdown]
# `blockIdx.x * blockDim.x + threadIdx.x` is the thread's number among all; the divisions take it
# apart into picture, row, column and channel. Then the three inner loops of lesson 04. In Python:

# %%
N, H, W, C, CO = 1, 8, 12, 16, 8
OH, OW = H - 2, W - 2
rng = np.random.default_rng(0)
x = rng.normal(size=(N, H, W, C)).astype(np.float32)
w = rng.normal(size=(3, 3, C, CO)).astype(np.float32)
right = lookup("conv2d_forward", "numpy")(x, w, None, (1, 1), (0, 0, 0, 0), 1)


def naive(number, y):
    """What the thread of this number does."""
    if number >= N * OH * OW * CO:
        return  # the last block has threads too many
    q, j, i = number % CO, number // CO % OW, number // (CO * OW) % OH
    n = number // (CO * OW * OH)
    total = np.float32(0)
    for u in range(3):
        for v in range(3):
            total += x[n, i + u, j + v] @ w[u, v, :, q]
    y[n, i, j, q] = total


# %% [markdown]
# **Predict.** The 480 results need two blocks of 256 threads. Run the threads in order, backwards,
# and shuffled: do the results differ?


# %%
def launch_naive(order):
    y = np.full(right.shape, np.nan, np.float32)
    for number in order:
        naive(number, y)
    return y


numbers = np.arange(2 * 256)
results = [launch_naive(o) for o in (numbers, numbers[::-1], rng.permutation(numbers))]
print(right.size, "results; close to NumPy's:", np.allclose(results[0], right, atol=1e-4))
assert right.size == 480
assert all(np.array_equal(results[0], y) for y in results)
print("the same bits in all three orders")

# %% [markdown]
# No thread reads what another writes, so the order can't matter. That is what makes a kernel
# simple.
#
# ## Who reads what, together
#
# 32 threads with consecutive numbers, a *warp*, work in step: they execute one instruction at the
# same time. What their reads have in common decides how fast memory answers, for it delivers lines
# of 128 bytes, 32 numbers. Here consecutive threads have consecutive channels `q`. At each step of
# the loop they read:
#
# - from `w` consecutive numbers: one line for the warp;
# - from `x` the same number, or a few.
#
# **Predict.** Suppose the thread's number were taken apart the other way, with the *row* going
# fastest. How many lines would one step of a warp touch then?


# %%
def lines_touched(fastest, shape=(1, 62, 62, 32), c=16):
    """Lines (128 bytes, 32 numbers) that a warp reads from x and w in one step of its loop."""
    _n, oh, ow, co = shape
    thread = np.arange(32)
    if fastest == "channel":
        q, j, i = thread % co, thread // co % ow, thread // (co * ow) % oh
    else:
        i, j, q = thread % oh, thread // oh % ow, thread // (oh * ow)
    at_x, at_w = (i * (ow + 2) + j) * c, q
    return len(set(at_x // 32)), len(set(at_w // 32))


for fastest in ("channel", "row"):
    print(f"{fastest:8} fastest: {lines_touched(fastest)} lines of x and of w")
assert lines_touched("channel") == (1, 1)
assert lines_touched("row") == (32, 1)

# %% [markdown]
# Thirty-two instead of one: the same arithmetic, the same results, and memory is asked for sixteen
# times as much in sum. The channel goes fastest in all of `minissr`'s kernels, and in its memory
# (NHWC).
#
# ## Version 2: a tile for each block
#
# Version 1 reads a pixel and a weight for each multiplication. But neighbours need nearly the same
# pixels. The threads of one block can share: they have a common piece of very fast, very small
# memory. Together they fetch the pixels under a tile and the weights, *once*, and then compute from
# there. The file's second kernel:

# %%
print(kernel_text("conv3x3_tiled"))

# %% [markdown]
# What is new is `__syncthreads()`, a *barrier*: no thread goes on before all of its block have
# arrived. The first one separates fetching from using. The second protects what is still in use
# from the next fetch.
#
# ### Stepping the threads
#
# A thread that waits at barriers is, in Python, a generator that yields there. First what all 256
# threads do together, fetching one slice of 8 channels into shared memory (which at first holds
# rubbish: NaN).

# %%
ROWS, COLUMNS, CHANNELS, SLICE, THREADS = 4, 8, 8, 8, 256


def fetch(thread, shared, top, left, c0):
    """This thread's share of the pixels and weights of a slice; zeros beyond the edges."""
    pixels, weights = shared
    for k in range(thread, (ROWS + 2) * (COLUMNS + 2) * SLICE, THREADS):
        c, column = k % SLICE, k // SLICE % (COLUMNS + 2)
        row = k // (SLICE * (COLUMNS + 2))
        inside = top + row < H and left + column < W and c0 + c < C
        pixels[row, column, c] = x[0, top + row, left + column, c0 + c] if inside else 0
    for k in range(thread, 9 * SLICE * CHANNELS, THREADS):
        q, c, tap = k % CHANNELS, k // CHANNELS % SLICE, k // (CHANNELS * SLICE)
        weights[tap, c, q] = w[tap // 3, tap % 3, c0 + c, q] if c0 + c < C else 0


# %%
def tiled(thread, shared, top, left, y, barriers=("fetched", "used")):
    """One thread of the block at (top, left), line by line as in the kernel."""
    q, column, row = thread % 8, thread // 8 % 8, thread // 64
    pixels, weights = shared
    total = np.float32(0)
    for c0 in range(0, C, SLICE):
        fetch(thread, shared, top, left, c0)
        if "fetched" in barriers:
            yield  # __syncthreads()
        for tap in range(9):
            total += pixels[row + tap // 3, column + tap % 3] @ weights[tap, :, q]
        if "used" in barriers:
            yield  # __syncthreads()
    if top + row < OH and left + column < OW:
        y[0, top + row, left + column, q] = total


# %% [markdown]
# And the machine: it lets every thread of a block run up to its next barrier, in some order, then
# the next round. Which order a real device takes, nobody knows; it is different each time.


# %%
def launch(order, **planted):
    """All blocks, their threads in `order` between barriers."""
    y = np.full(right.shape, np.nan, np.float32)
    rng = np.random.default_rng(3)
    for top in range(0, OH, ROWS):
        for left in range(0, OW, COLUMNS):
            shared = (np.full((ROWS + 2, COLUMNS + 2, SLICE), np.nan, np.float32),
                      np.full((9, SLICE, CHANNELS), np.nan, np.float32))  # fmt: skip
            waiting = [tiled(t, shared, top, left, y, **planted) for t in range(THREADS)]
            while waiting:
                turn = {"forward": waiting, "reverse": waiting[::-1]}.get(order)
                turn = rng.permutation(waiting) if turn is None else turn
                waiting = [t for t in turn if next(t, "done") != "done"]
    return y


for order in ("forward", "reverse", "random"):
    y = launch(order)
    print(f"{order:8} close to NumPy's: {np.allclose(y, right, atol=1e-4)}")
    assert np.allclose(y, right, atol=1e-4)

# %% [markdown]
# ## Counting what travels
#
# A block of version 2 has 4 x 8 pixels of 8 channels, so 256 results; for one input channel it
# fetches 6 x 10 pixels and 9 x 8 weights, and does 9 multiplications for each result.
#
# **Predict.** How many numbers does one multiplication of version 2 read from main memory? Version
# 1 reads two.


# %%
def per_multiplication(rows, columns, channels):
    """Numbers read from main memory for each multiplication of a tiled block."""
    fetched = (rows + 2) * (columns + 2) + 9 * channels
    return fetched / (rows * columns * channels * 9)


main = {
    "1 naive": 2.0,
    "2 tiled": per_multiplication(4, 8, 8),
    "3 register-blocked": per_multiplication(8, 16, 32),
}
shared = {"1 naive": 0.0, "2 tiled": 2.0, "3 register-blocked": (16 + 36) / 144}
for name in main:
    print(f"{name:19} {main[name]:.4f} from main memory, {shared[name]:.2f} from shared memory")

# %% [markdown]
# Version 2 takes the load from main memory, but each multiplication still reads two numbers from
# shared memory. That is lesson 05 again: sums should stay in registers and every number that is
# fetched should serve several.
#
# ## Version 3: a square for each thread
#
# In version 3 a thread owns 2 x 2 pixels of 4 channels: 16 sums, in registers. For one input
# channel it reads the 4 x 4 pixels that its four windows cover and 9 x 4 weights, and multiplies
# 144 times. This is its heart, from `conv_tile.cuh`:

# %%
heart = re.search(r"__device__ __forceinline__ void accumulate.*?^}", CONV3X3.source, re.S | re.M)
print(heart[0])

# %%
fig, axes = style.figure(1, 2, width=7.6, height=2.6)
for ax, counts, title in zip(axes, (main, shared), ("main memory", "shared memory"), strict=True):
    bars = ax.barh(list(counts), list(counts.values()), color=[style.RED, style.ORANGE, style.BLUE])
    ax.bar_label(bars, fmt="%.3f", padding=3)
    ax.invert_yaxis()
    ax.set_xlim(0, 2.6)
    style.label(ax, "numbers read per multiplication", "version" if ax is axes[0] else " ", title)
axes[1].set_yticks([])
style.show(
    fig,
    "Two bar charts of numbers read per multiplication. From main memory: naive 2, tiled 0.057, "
    "register-blocked 0.013. From shared memory: tiled 2, register-blocked 0.361.",
)

# %% [markdown]
# **Predict.** Check the heart's bookkeeping with arrays. The window of thread $t$ has its corner at
# row $2 \lfloor t / 64 \rfloor$; `pixels[p / 2 + u][p % 2 + v]` is pixel $p$ of the 2 x 2 under tap
# $(u, v)$. Does it compute a convolution?

# %%
patch = rng.normal(size=(4, 4))  # what four windows see together, one channel
weight = rng.normal(size=(3, 3, 4))  # four output channels
sums = np.zeros((4, 4))
for u in range(3):
    for v in range(3):
        for p in range(4):
            for k in range(4):
                sums[p, k] += patch[p // 2 + u, p % 2 + v] * weight[u, v, k]
convolve = lookup("conv2d_forward", "numpy")
wanted = convolve(patch[None, :, :, None], weight[:, :, None], None, (1, 1), (0, 0, 0, 0), 1)
assert np.allclose(sums, wanted.reshape(4, 4))
print("144 multiplications: a 2 x 2 piece of the convolution, in 4 channels")

# %% [markdown]
# ## Break it
#
# Leave a barrier out: `barriers=` is the switch. First the one after fetching.
#
# **Predict.** And if only the second is missing, with 8 input channels instead of 16: is the result
# wrong?


# %%
def wrong_results(order, **planted):
    y = launch(order, **planted)
    return int((~np.isclose(y, right, atol=1e-4)).sum())


orders = ("forward", "reverse", "random")
for missing, left in (("first", ("used",)), ("second", ("fetched",))):
    counts = {order: wrong_results(order, barriers=left) for order in orders}
    print(f"without the {missing} barrier, wrong of {right.size}: {counts}")
    assert max(counts.values()) > 0

whole, C = (x, w, right), 8  # the globals that the kernel reads
x, w = np.ascontiguousarray(x[..., :8]), np.ascontiguousarray(w[:, :, :8])
right = convolve(x, w, None, (1, 1), (0, 0, 0, 0), 1)
print("8 channels, without the second:", wrong_results("random", barriers=("fetched",)), "wrong")
(x, w, right), C = whole, 16

# %% [markdown]
# With 8 channels there is one slice: nothing is fetched again, and the second barrier has nothing
# to do. No test can miss it there, so sizes must be chosen for which every barrier matters. And
# where a race does exist, the orders that were tried may be lucky: it may hide for years. So
# besides comparing results, something has to watch *who wrote what since the last barrier*.
#
# ## The package's emulator
#
# `tests/cuda_emulator` does with the real `.cu` files what we did with a copy: g++ compiles them
# for the CPU, each CUDA thread becomes a fiber, shared memory begins as NaN, and a launch runs in
# any of five orders. On top of it come two watchmen: AddressSanitizer, for reading beyond an array,
# and ThreadSanitizer, to which a barrier is the only thing that orders two threads. We plant
# mistakes in the text of `conv3x3.cu` and see who notices.

# %%
NO_COMPILER = shutil.which("g++") is None
if NO_COMPILER:
    print("skipped: no g++")
else:
    from tests.cuda_emulator.module import Module, running
    from tests.cuda_emulator.source import EmulatorError


def run_on_cpu(text, kernel, grid, block, **settings):
    """Results of a kernel of this text under the emulator, or what it says."""
    y = np.zeros(right.shape, np.float32)
    sizes = [np.int32(v) for v in (N, H, W, C, CO)]
    try:
        with running(**settings):
            module = Module(text, ("-std=c++17", "-DREAL=float"))
            module.launch(kernel, grid, block, (x, w, None, y, *sizes))
    except EmulatorError as error:
        kind = re.search(r"data race|heap-buffer-overflow", str(error))[0]
        line = re.search(r"conv3x3.cu:(\d+)", str(error))[1]
        return f"{kind} in line {line}"
    return f"{(~np.isclose(y, right, atol=1e-4)).sum()} wrong results"


# %%
versions = {
    "conv3x3_naive": ((2,), (256,)),
    "conv3x3_tiled": ((4,), (8, 8, 4)),
    "conv3x3_blocked": ((1,), (256,)),
}
for name, (grid, block) in versions.items():
    if not NO_COMPILER:
        said = {o: run_on_cpu(CONV3X3.source, name, grid, block, order=o) for o in orders}
        print(f"{name:16} {said}")
        assert set(said.values()) == {"0 wrong results"}

# %%
first_barrier = "        __syncthreads();  // nobody computes before everything is fetched\n"
guard = "    if (output >= N * OH * OW * CO) return;\n"
mistakes = [
    ("no first barrier, NaN in shared memory", first_barrier, "conv3x3_tiled", {"order": "random"}),
    ("no first barrier, ThreadSanitizer", first_barrier, "conv3x3_tiled", {"mode": "tsan"}),
    # Only watched: without its watchman this one would write past the array, in this process.
    ("threads too many, AddressSanitizer", guard, "conv3x3_naive", {"mode": "asan"}),
]
for what, line, name, settings in mistakes:
    if NO_COMPILER:
        break
    assert CONV3X3.source.count(line) == 1
    said = run_on_cpu(CONV3X3.source.replace(line, "\n"), name, *versions[name], **settings)
    print(f"{what:42} {said}")
    assert said != "0 wrong results"

# %% [markdown]
# The line it names is the one in our file. The package plants dozens of such mistakes in all of its
# kernels and demands that each is caught (`python -m tests.cuda.mistakes` prints the table). What
# no emulator can tell: how fast it is, and what the device's own compiler makes of it.
#
# ## Exercises
#
# Answers go into `lessons/my/e06.py`. All indices are those of the kernels above.
#
# **Exercise 06.1** Write `owner(n, i, j, q, oh, ow, co)`: block and thread, in blocks of 256, that
# compute this result in version 1.

# %%
check("06.1")

# %% [markdown]
# **Exercise 06.2** Write `grid_of(n, h, w, co)`: the three numbers of blocks that version 2 is
# launched with, for a tile of 4 x 8 pixels and 8 channels: (tiles of a picture, groups of channels,
# pictures).

# %%
check("06.2")

# %% [markdown]
# **Exercise 06.3** A block of threads adds up a list in shared memory in rounds: in round $r$
# thread $t$ adds `shared[t + s]` to `shared[t]`, $s = 128, 64, \dots, 1$. Write `reduce(thread,
# shared)`, a generator that yields at each barrier, for 256 threads and a list of 256 numbers. It
# has to be right in every order of threads.

# %%
check("06.3")

# %% [markdown]
# **Exercise 06.4** Reading shared memory has its own rule: it has 32 banks, number $a$ lies in bank
# $a \bmod 32$, and a warp waits once for each *different* number it wants from the same bank. Write
# `conflicts(addresses)`: how many rounds 32 threads need for these addresses.

# %%
check("06.4")

# %% [markdown]
# ## What we learned
#
# - A kernel is what one thread does; its number says which result is its own.
# - Tiles in shared memory spare main memory, squares in registers spare shared memory: lesson 05,
#   one floor up.
# - A missing barrier gives wrong results, or with other sizes none at all. So threads are stepped
#   in many orders, and watched.
#
# ## Next
#
# [Lesson 07](07_pooling_and_activations.ipynb): the small operations, and why the network has two
# streams of them.
