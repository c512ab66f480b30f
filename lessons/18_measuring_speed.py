# %% [markdown]
# # 18. Measuring honestly
#
# **Question:** When may one say that a program is faster than another?
#
# **Minutes:** 20 · **Needs:** NumPy, Numba
#
# ## Goal
#
# To time a program so that the number means something: warm, repeated, in turns, checked for being
# right, with its noise beside it, and in relation to what the machine can do.
#
# ## What you need
#
# Lesson 05 for what makes the kernels fast. Nothing here depends on *how fast* your machine is: no
# timing is asserted, only what follows from them.
#
# ## In the paper
#
# Table 1: inference in 0.17 ms on a GPU and 2.69 ms on a CPU. Which batch? Warm? How often? It
# doesn't say, like most papers. We do it for our own network.

# %%
import json
import sys
import time
from pathlib import Path

sys.path[:0] = ["..", "../.."]  # the project, seen from lessons/ or from your copy in lessons/my/
import numpy as np

import lessons
from lessons import style
from lessons.check import check, hint
from minissr import gradcheck, no_grad, ops, use_backend
from minissr.data.synthetic import draw_faces
from minissr.models import registry
from minissr.models.summary import trace

style.begin()

# %% [markdown]
# ## First correct, then fast
#
# A wrong program can be very fast. So before anything is timed, both sides compute the same: the
# network by the NumPy kernels, and by Numba's where it is installed.

# %%
faces = draw_faces(8, stream="test")[0]


def predict_with(backend):
    """A function without arguments that predicts the faces."""
    model = registry.build("ssrnet", rng=np.random.default_rng(0)).to(backend).eval()

    def run():
        with use_backend(backend), no_grad():
            return model(faces).numpy()

    return run


with use_backend("auto") as fast:
    print("the fast backend here is", fast)
slow, quick = predict_with("numpy"), predict_with(fast)
start = time.perf_counter()
first_answer = quick()
first = 1e3 * (time.perf_counter() - start)
assert np.allclose(slow(), first_answer, rtol=1e-3, atol=1e-2)
rng = np.random.default_rng(0)
shapes = (1, 5, 5, 2), (3, 3, 2, 2), (2,)
report = gradcheck(ops.conv2d, [rng.normal(size=shape) for shape in shapes])

# %% [markdown]
# ## Warm
#
# **Predict.** The first call above, against the next ten: longer, shorter, the same?


# %%
def times(run, repeats):
    """Milliseconds of each of `repeats` calls."""
    result = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        result.append(1e3 * (time.perf_counter() - start))
    return np.array(result)


print(f"first call {first:.1f} ms; then", times(quick, 10).round(2), "ms")

# %% [markdown]
# The first call loads or compiles kernels and touches memory for the first time. That is worth
# knowing, but it is another number: start-up. Say which one you report.
#
# ## Often
#
# **Predict.** 150 calls of the same function with the same input: what does their histogram look
# like? Symmetric, like errors of measurement usually are?

# %%
ms = times(quick, 150)
fig, ax = style.figure()
ax.hist(ms, bins=40, range=(ms.min(), np.quantile(ms, 0.98)), color=style.SKY)
for value, line, words in ((ms.min(), ":", "minimum"), (np.median(ms), "-", "median"),
                           (ms.mean(), "--", "mean")):  # fmt: skip
    ax.axvline(value, color="black", linestyle=line, label=f"{words} {value:.2f} ms")
style.label(ax, "time of a call [ms]", "calls")
ax.legend()
style.show(
    fig,
    f"Histogram of the times of 150 calls, from {ms.min():.1f} to {ms.max():.1f} ms. Lines mark "
    f"the minimum, the median at {np.median(ms):.1f} and the mean at {ms.mean():.1f} ms.",
)

# %% [markdown]
# Noise in timings is one-sided: other programs can only make us slower. So the mean says as much
# about them as about us. The median is robust. (The minimum is too, but it shows a day on which
# nobody else was there.)
#
# ## In turns
#
# Machines drift: they get warm, others come and go. To *see* drift we simulate it: two programs
# that take exactly 10 ms, on a machine that gets 20 % slower during the measurement.
#
# **Predict.** First 50 times A, then 50 times B: which seems faster, and by how much? And if A and
# B take turns?

# %%
noise = np.random.default_rng(18).exponential(0.3, 100)
clock = 10 * np.linspace(1, 1.2, 100) + noise  # what the i-th call takes, whoever is called
one_after_the_other = np.median(clock[50:]) / np.median(clock[:50])
in_turns = np.median(clock[1::2]) / np.median(clock[0::2])
print(f"one after the other: B takes {100 * (one_after_the_other - 1):+.1f} %")
print(f"in turns:            B takes {100 * (in_turns - 1):+.1f} %")
assert one_after_the_other > 1.07
assert abs(in_turns - 1) < 0.02

# %%
fig, ax = style.figure()
for name, calls, marker, colour in (("A", slice(0, 50), "o", style.BLUE),
                                    ("B", slice(50, 100), "s", style.ORANGE)):  # fmt: skip
    ax.plot(np.arange(100)[calls], clock[calls], marker, ms=4, color=colour, label=name)
style.label(ax, "call", "time [ms]", "the same program, called A and then B")
ax.legend()
style.show(
    fig,
    "Times of 100 calls that rise slowly from 10 to 12 ms. The first fifty are called A, the "
    "others B: B seems slower though both are the same program.",
)

# %% [markdown]
# Ten per cent out of nothing. Benchmarks in this project always take turns.
#
# ## How sure?
#
# Now really: NumPy's kernels against the fast ones, in turns. The ratio of medians is a guess too.
# The *bootstrap* tells how good: draw as many calls again from those we have, with repetition,
# many times, and see how the ratio varies.


# %%
def ratio_with_range(a, b, draws=500):
    """Median of a over that of b, and the range in which 90 % of redrawn ratios lie."""
    rng = np.random.default_rng(0)
    again = [np.median(rng.choice(a, len(a))) / np.median(rng.choice(b, len(b)))
             for _ in range(draws)]  # fmt: skip
    return np.median(a) / np.median(b), *np.quantile(again, [0.05, 0.95])


pairs = np.array([(times(slow, 1)[0], times(quick, 1)[0]) for _ in range(15)])
ratio, low, high = ratio_with_range(pairs[:, 0], pairs[:, 1])
print(f"numpy takes {ratio:.1f} times as long as {fast}, 90 % range {low:.1f} to {high:.1f}")
same = times(quick, 40)
ratio, low, high = ratio_with_range(same[0::2], same[1::2])
print(f"a program against itself: {ratio:.2f}, 90 % range {low:.2f} to {high:.2f}")

# %% [markdown]
# If the range contains 1, say "we can't tell". A program against itself is the best test of a
# benchmark.
#
# ## Threads
#
# What one and two threads took in a stored study of ours. Look at the quartiles first: where they
# are wide, the machine had other work to do, and a ratio of two such numbers is worth little.

# %%
stored = Path(lessons.__file__).parent / "studies" / "results" / "speed.json"
study = json.loads(stored.read_text())
about = study["about"]
print(about["made_by"], "on", about["date"], "on", about["processor"], about["cores"], "cores")
medians = {}
for case in study["cases"]:
    key = case["backend"], case["threads"], case["batch"]
    medians[key] = np.median(case["ms"])
    quarter = np.quantile(case["ms"], [0.25, 0.75]).round(2)
    print(f"{key[0]:<6} {key[1]} thread(s), batch {key[2]:>2}: median {medians[key]:8.2f} ms, "
          f"quartiles {quarter}")  # fmt: skip
paper = {"GPU": 0.17, "CPU": 2.69}  # Table 1
print("the paper's Table 1, ms:", paper)
speedup = medians["numba", 1, 64] / medians["numba", 2, 64]
print(f"two threads are {speedup:.2f} times as fast as one")

# %% [markdown]
# Even on an idle machine it is seldom quite 2 (and now and then more: two cores have two caches). A
# part of the work, a share $1 - a$, can't be divided, and so with $n$ threads the most there can be
# is Amdahl's
#
# $$S(n) = \frac{1}{(1 - a) + a / n}$$
#
# **Predict.** If 95 % can be divided: how fast with 2 threads, with 16, with a million?


# %%
def amdahl(share, threads):
    return 1 / ((1 - share) + share / threads)


for threads in (2, 16, 1_000_000):
    print(f"{threads:>9,} threads: {amdahl(0.95, threads):.2f} times as fast")
assert round(amdahl(0.95, 1_000_000), 2) == 20

# %% [markdown]
# ## How far to the limit?
#
# "Three times faster than X" depends on X. What the machine can do at most doesn't. The network's
# multiply-adds are counted (lesson 13); a large matrix product shows about the most this machine
# can do with 32-bit numbers.

# %%
model = registry.build("ssrnet")
macs = 8 * sum(row.macs for row in trace(model, faces[:1]))
square = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
matmul = np.median(times(lambda: square @ square, 20))
limit, ours = 2 * 512**3 / matmul / 1e6, 2 * macs / np.median(times(quick, 20)) / 1e6
print(f"matrix product {limit:.0f} GFLOP/s, our network on 8 faces {ours:.0f} GFLOP/s")

# %% [markdown]
# ## Break it
#
# The classic mistake: timing the wrong thing. `broken=True` starts the clock before the network is
# built and warm.


# %%
def measure(backend, broken):
    start = time.perf_counter()
    run = predict_with(backend)
    if not broken:
        run()
        start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


for broken in (False, True):
    word = "broken" if broken else "right "
    print(word, f"{np.median([measure(fast, broken) for _ in range(5)]):.2f} ms a call")

# %% [markdown]
# ## Exercises
#
# Write your answers in `lessons/my/e18.py`.
#
# **Exercise 18.1** `median_ratio(a, b)`: how many times as long A takes as B, from their times, by
# medians.

# %%
check("18.1")

# %% [markdown]
# **Exercise 18.2** `turns(names, rounds)`: a list of names in the order in which to call them,
# each once a round, and every other round backwards, so that nobody is always first.

# %%
check("18.2")

# %% [markdown]
# **Exercise 18.3** `divisible(speedup, threads)`: Amdahl backwards: which share $a$ of the work
# can be divided, if so many threads gave this speed-up?

# %%
check("18.3")

# %% [markdown]
# **Exercise 18.4** (open-ended) `verdict(a, b)`: `"faster"` if A's times (n,) show that it is
# faster than B (m,), `"slower"` if slower, else `"can't tell"`. The checker draws times of equal
# programs and of programs 20 % apart, and wants few mistakes. Stuck? Run this cell again.

# %%
check("18.4")
hint("18.4")

# %% [markdown]
# ## What we learned
#
# - Correct first; warm; many times; in turns; medians with their range; say what was measured on
#   what.
# - Noise is one-sided, drift is real, and a program against itself tests the benchmark.
# - Compare with the limit of the machine, not only with each other.
#
# ## Next
#
# [Lesson 19](19_another_quantity.ipynb): the same head for something that isn't an age.
