"""Mistakes planted in the real kernels, to see which rung of the ladder catches each.

A mistake is a piece of a `.cu` or `.cuh` file and what stands there instead; the piece has to occur
exactly once, so a kernel that changes takes its mistakes along or fails the test.

    python -m tests.cuda.mistakes        prints the table
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from minissr.kernels import cuda
from minissr.kernels.batch_norm import cupy_gpu as batch_norm_gpu
from minissr.kernels.block import cupy_gpu as block_gpu
from minissr.kernels.conv2d import cupy_gpu as conv_gpu
from minissr.kernels.cuda import Program
from minissr.kernels.head import cupy_gpu as head_gpu
from minissr.kernels.loss import cupy_gpu as loss_gpu
from minissr.kernels.optim import cupy_gpu as optim_gpu
from minissr.kernels.pool2d import cupy_gpu as pool_gpu
from minissr.kernels.stagewise import cupy_gpu as stagewise_gpu
from minissr.kernels.stem import cupy_gpu as stem_gpu
from minissr.kernels.warp import cupy_gpu as warp_gpu
from tests import cuda_emulator
from tests.cuda.cases import results
from tests.cuda.test_emulated import check
from tests.cuda_emulator.module import running
from tests.cuda_emulator.source import EmulatorError

CONV3X3, GEMM, GROUPS = conv_gpu.CONV3X3, conv_gpu.GEMM, conv_gpu.GROUPS
FORWARD, BACKWARD = block_gpu.FORWARD, block_gpu.BACKWARD
POOL, NORM, OPTIM = pool_gpu.POOL2D, batch_norm_gpu.BATCH_NORM, optim_gpu.OPTIM
STAGEWISE, WARP = stagewise_gpu.STAGEWISE, warp_gpu.WARP
HEAD, HEAD_GRAD = head_gpu.FORWARD, head_gpu.BACKWARD
STEM, STEM_GRAD, LOSS = stem_gpu.FORWARD, stem_gpu.BACKWARD, loss_gpu.LOSS


@dataclass(frozen=True)
class Mistake:
    """One mistake.

    Attributes
    ----------
    what : str
    program : Program
        The file it is in, or the one that includes it.
    right, wrong : str
        What stands there, and what is put there.
    case : str
        The case of `cases.py` that runs the kernel.
    rung : "numpy" | "asan" | "tsan"
        What must catch it: the comparison with NumPy in five orders of threads, with all that the
        emulator itself reports; AddressSanitizer; ThreadSanitizer.
    """

    what: str
    program: Program
    right: str
    wrong: str
    case: str
    rung: str


MISTAKES = [
    # Synchronisation.
    Mistake(
        "tiled conv: no barrier after fetching",
        CONV3X3,
        "        __syncthreads();  // nobody computes before everything is fetched\n",
        "\n",
        "conv3x3_tiled",
        "tsan",
    ),
    Mistake(
        "tiled conv: no barrier before the next slice",
        CONV3X3,
        "__syncthreads();  // nobody fetches the next slice before everybody has used this one",
        "",
        "conv3x3_tiled",
        "tsan",
    ),
    Mistake(
        "conv tile: no barrier after fetching",
        CONV3X3,
        "fetch_weights(w, weights, c0, first, C, CO);\n        __syncthreads();",
        "fetch_weights(w, weights, c0, first, C, CO);\n",
        "conv3x3_blocked",
        "tsan",
    ),
    Mistake(
        "conv tile: no barrier before the next slice",
        CONV3X3,
        "accumulate(patch, weights, min(SLICE, C - c0), sums);\n        __syncthreads();",
        "accumulate(patch, weights, min(SLICE, C - c0), sums);\n",
        "conv3x3_blocked",
        "tsan",
    ),
    Mistake(
        "tiled conv: early return before a barrier",
        CONV3X3,
        "real sum = bias && q < CO ? bias[q] : real(0);",
        "if (i >= OH || j >= OW) return; real sum = bias && q < CO ? bias[q] : real(0);",
        "conv3x3_tiled",
        "numpy",
    ),
    Mistake(
        "batch norm: no barrier inside the sum over lanes",
        NORM,
        "cells[threadIdx.y][threadIdx.x] = value;\n    __syncthreads();",
        "cells[threadIdx.y][threadIdx.x] = value;\n",
        "batch_norm",
        "tsan",
    ),
    Mistake(
        "batch norm: barrier only where there is a channel",
        NORM,
        "    sum = sum_over_lanes(sum, cells);\n",
        "    if (c < 2 * C) sum = sum_over_lanes(sum, cells);\n",
        "batch_norm",
        "numpy",
    ),
    Mistake(
        "block: no barrier behind the shift",
        FORWARD,
        "shift[threadIdx.x] = all / real(pixels_of(tile, OH, OW));\n            __syncthreads();",
        "shift[threadIdx.x] = all / real(pixels_of(tile, OH, OW));\n",
        "block_relu_avg",
        "tsan",
    ),
    Mistake(
        "block: no barrier between the two merges",
        FORWARD,
        "result[step] = all / M;\n        __syncthreads();",
        "result[step] = all / M;\n",
        "block_relu_avg",
        "tsan",
    ),
    Mistake(
        "last block: counted by a plain addition",
        FORWARD,
        "last = atomicAdd(arrived + blockIdx.y, 1u) == gridDim.x - 1;",
        "last = arrived[blockIdx.y]++ == gridDim.x - 1;",
        "block_relu_avg",
        "tsan",
    ),
    Mistake(
        "last block: no fence before it is counted",
        FORWARD,
        "    __threadfence();   // my writes are out before I am counted ...\n",
        "\n",
        "block_relu_avg",
        "tsan",
    ),
    Mistake(
        "last block: no fence after it was counted",
        BACKWARD,
        "        __threadfence();   // ... and whoever counted the last sees all of them\n",
        "\n",
        "block_of_many_tiles",
        "tsan",
    ),
    Mistake(
        "last block: the counter is not set back",
        FORWARD,
        "        if (last) atomicExch(arrived + blockIdx.y, 0u);\n",
        "\n",
        "block_relu_avg",
        "numpy",
    ),
    Mistake(
        "weight gradient: no barrier before the next tile",
        BACKWARD,
        "                    }\n            }\n        __syncthreads();",
        "                    }\n            }\n",
        "block_of_many_tiles",
        "tsan",
    ),
    Mistake(
        "a sum of parts split over threads without an atomic",
        GEMM,
        "    total[e] = sum;\n",
        "    total[e / 2] += sum;\n",
        "conv_1x1",
        "tsan",
    ),
    # Memory.
    Mistake(
        "tiled conv: halo read one row too far",
        CONV3X3,
        "const bool inside = top + row < H && left + column < W && c0 + c < C;",
        "const bool inside = top + row <= H && left + column < W && c0 + c < C;",
        "conv3x3_tiled",
        "asan",
    ),
    Mistake(
        "naive conv: no guard for the last threads",
        CONV3X3,
        "    if (output >= N * OH * OW * CO) return;\n",
        "\n",
        "conv3x3_naive",
        "asan",
    ),
    Mistake(
        "blocked conv: store guard off by one",
        CONV3X3,
        "        if (i >= OH || j >= OW) continue;\n",
        "        if (i > OH || j >= OW) continue;\n",
        "conv3x3_blocked",
        "asan",
    ),
    Mistake(
        "tiled conv: shared patch a column too narrow",
        CONV3X3,
        "pixels[TILED_ROWS + 2][TILED_COLUMNS + 2][TILED_SLICE]",
        "pixels[TILED_ROWS + 2][TILED_COLUMNS + 1][TILED_SLICE]",
        "conv3x3_tiled",
        "asan",
    ),
    Mistake(
        "matrix product: reads beyond the last weight",
        GEMM,
        "k < K && first_column + q < CO ? w[k * CO + first_column + q] : real(0);",
        "k < K && first_column + q < CO + 1 ? w[k * CO + first_column + q] : real(0);",
        "conv_1x1",
        "asan",
    ),
    Mistake(
        "pooling: window may begin above the image",
        POOL,
        "if (h < 0 || h >= H || w < 0 || w >= W) continue;",
        "if (h >= H || w < 0 || w >= W) continue;",
        "pool_overlapping_with_ties",
        "asan",
    ),
    Mistake(
        "Adam: guard one too generous",
        OPTIM,
        "    const real g = grad[i];",
        "    const real g = grad[i + 1];",
        "adam",
        "asan",
    ),
    Mistake(
        "block: patch of the input gradient left half empty",
        BACKWARD,
        "const int rows = (top + PATCH_ROWS - first_row + 1) / 2;",
        "const int rows = (top + PATCH_ROWS - first_row + 1) / 2 - 1;",
        "block_relu_avg",
        "numpy",
    ),
    Mistake(
        "block: sums cells of lanes that nobody wrote",
        FORWARD,
        "for (int r = 0; r < CELLS; r++) sum += cells[r][threadIdx.x % TILE_CHANNELS];",
        "for (int r = 0; r < CELLS; r++) sum += cells[r][threadIdx.x % TILE_CHANNELS + 1];",
        "block_relu_avg",
        "numpy",
    ),
    # Arithmetic and indices.
    Mistake(
        "conv: bias of the wrong channel",
        CONV3X3,
        "sums[p][k] + (bias ? bias[q + k] : real(0));",
        "sums[p][k] + (bias ? bias[q] : real(0));",
        "conv3x3_blocked",
        "numpy",
    ),
    Mistake(
        "matrix product: row and column of a window swapped",
        GEMM,
        "const int c = k % g.C, v = k / g.C % g.KW, u = k / (g.C * g.KW);",
        "const int c = k % g.C, u = k / g.C % g.KW, v = k / (g.C * g.KW);",
        "conv_strided_and_padded",
        "numpy",
    ),
    Mistake(
        "input gradient: stride ignored",
        GEMM,
        "if (row < 0 || column < 0 || row % g.SH || column % g.SW) return real(0);",
        "if (row < 0 || column < 0) return real(0);",
        "conv_strided_and_padded",
        "numpy",
    ),
    Mistake(
        "groups: stale group index",
        GROUPS,
        "const int wide = C / groups, first = q / (CO / groups) * wide;",
        "const int wide = C / groups, first = q / CO * wide;",
        "conv_grouped",
        "numpy",
    ),
    Mistake(
        "max pool: the last of equal maxima wins",
        POOL,
        "value > best ||",
        "value >= best ||",
        "pool_overlapping_with_ties",
        "numpy",
    ),
    Mistake(
        "max pool: NaN doesn't win",
        POOL,
        "(value != value && best == best)",
        "false",
        "pool_nan_and_infinity",
        "numpy",
    ),
    Mistake(
        "average pool: padding counted",
        POOL,
        "const int count = count_padding ? KH * KW : pixels_on_image(h0, w0, H, W, KH, KW);",
        "const int count = KH * KW;",
        "pool_overlapping_with_ties",
        "numpy",
    ),
    Mistake(
        "block: the last of equal maxima gets the gradient",
        BACKWARD,
        "if (a[p] > a[best] ||",
        "if (a[p] >= a[best] ||",
        "block_with_ties",
        "numpy",
    ),
    Mistake(
        "block: gradient of half windows counted",
        BACKWARD,
        "const bool whole = i >= 0 && j >= 0 && i / 2 < PH && j / 2 < PW;",
        "const bool whole = i >= 0 && j >= 0 && i / 2 < PH;",
        "block_tanh_max",
        "numpy",
    ),
    Mistake(
        "block: weights not turned in the input gradient",
        BACKWARD,
        "weights[KH * KW - 1 - tap][slice]",
        "weights[tap][slice]",
        "block_relu_avg",
        "numpy",
    ),
    Mistake(
        "batch norm: mean_g forgotten",
        BACKWARD,
        "norm.scale * (g[p] - mean_g - xhat * mean_gxhat)",
        "norm.scale * (g[p] - xhat * mean_gxhat)",
        "block_relu_avg",
        "numpy",
    ),
    Mistake(
        "stagewise: delta moves only its own stage",
        STAGEWISE,
        "finer += w * index[n * K + k];",
        "finer = w * index[n * K + k];",
        "stagewise",
        "numpy",
    ),
    Mistake(
        "stagewise: a gradient below the floor",
        STAGEWISE,
        "f > floor ? -g * (c_delta / f) * finer : real(0)",
        "-g * (c_delta / f) * finer",
        "stagewise",
        "numpy",
    ),
    Mistake(
        "warp: half a pixel off",
        WARP,
        "(place[0] + (1 << 23)) >> 24",
        "place[0] >> 24",
        "warp",
        "numpy",
    ),
    # The head, the stem, and what gathers.
    Mistake(
        "head: no barrier behind the features",
        HEAD,
        "    __syncthreads();  // the whole block reads these features\n",
        "\n",
        "head_as_released",
        "tsan",
    ),
    Mistake(
        "head: half of the lanes left out of a sum",
        HEAD,
        "for (int step = 16; step > 0; step /= 2)",
        "for (int step = 8; step > 0; step /= 2)",
        "head_as_ours",
        "numpy",
    ),
    Mistake(
        "head: shuffle by lanes that are not in the mask",
        HEAD,
        "__shfl_down_sync(0xffffffffu, value, step)",
        "__shfl_down_sync(0x0000ffffu, value, step)",
        "head_as_ours",
        "numpy",
    ),
    Mistake(
        "head: what delta tells the features is forgotten",
        HEAD_GRAD,
        "        g_u += h_delta * delta_w[i] * v[from + i];\n",
        "\n",
        "head_as_ours",
        "numpy",
    ),
    Mistake(
        "head: no barrier before the next pixels",
        HEAD_GRAD,
        "chunk.sums[e] += sum;\n        }\n        __syncthreads();",
        "chunk.sums[e] += sum;\n        }\n",
        "head_as_ours",
        "tsan",
    ),
    Mistake(
        "head: the last image left out of a sum",
        HEAD_GRAD,
        "for (int m = 0; m < N; m++) sum += parts[m * sums + e];",
        "for (int m = 0; m < N - 1; m++) sum += parts[m * sums + e];",
        "head_without_mix",
        "numpy",
    ),
    Mistake(
        "stem: no barrier before the next tile's pixels",
        STEM,
        "sums[k] += sum;\n        }\n        __syncthreads();",
        "sums[k] += sum;\n        }\n",
        "stem_of_few_blocks",
        "tsan",
    ),
    Mistake(
        "stem: pooled store guard off by one",
        STEM,
        "    if (i >= PH || j >= PW) return;\n",
        "    if (i > PH || j >= PW) return;\n",
        "stem_of_many_channels",
        "asan",
    ),
    Mistake(
        "stem: covariance of one triangle only",
        STEM,
        "covariance[a][b] = covariance[b][a] = totals",
        "covariance[a][b] = totals",
        "stem",
        "numpy",
    ),
    Mistake(
        "stem gradient: no barrier after fetching",
        STEM_GRAD,
        "        __syncthreads();\n        for (int i = 0; i < TILE_ROWS; i++)\n",
        "        for (int i = 0; i < TILE_ROWS; i++)\n",
        "stem",
        "tsan",
    ),
    Mistake(
        "stem gradient: flags of the other stream",
        STEM_GRAD,
        "passes = flags[window * CO + before + q];",
        "passes = flags[window * CO + q];",
        "stem",
        "numpy",
    ),
    Mistake(
        "answer: bias forgotten",
        FORWARD,
        "        norm.mean -= bias[q];\n",
        "\n",
        "answer_relu_avg",
        "numpy",
    ),
    Mistake(
        "answer: half a window stored",
        FORWARD,
        "} else if (i + 1 < OH && j + 1 < OW) {",
        "} else if (i < OH && j + 1 < OW) {",
        "answer_relu_avg",
        "asan",
    ),
    Mistake(
        "loss: no barrier in the tree of sums",
        LOSS,
        "        __syncthreads();\n        if (threadIdx.x < half)",
        "        if (threadIdx.x < half)",
        "errors",
        "tsan",
    ),
    Mistake(
        "gather: a part read from where it goes",
        OPTIM,
        "part[e - begin]",
        "part[e]",
        "gather",
        "asan",
    ),
    Mistake(
        "moving variance follows the mean",
        NORM,
        "(seen_var##k[c] * correction##k - var##k[c])",
        "(seen_mean##k[c] * correction##k - var##k[c])",
        "batch_norm_follow",
        "numpy",
    ),
]


@contextlib.contextmanager
def planted(mistake: Mistake) -> Iterator[None]:
    """The program with the mistake in its text."""
    program = mistake.program
    original = program.source
    if original.count(mistake.right) != 1:
        raise ValueError(
            f"{mistake.what}: the piece occurs {original.count(mistake.right)} times, not once"
        )
    kept = program._modules, program._functions
    program.source = original.replace(mistake.right, mistake.wrong)
    program._modules, program._functions = {}, {}
    cuda.arrivals.cache_clear()  # a mistake may leave the counters of later launches wrong
    try:
        yield
    finally:
        cuda.arrivals.cache_clear()
        program.source = original
        program._modules, program._functions = kept


def caught(mistake: Mistake, rung: str) -> str | None:
    """What the rung says about the program with the mistake in it; None if nothing."""
    with planted(mistake):
        try:
            if rung == "numpy":
                check(mistake.case, "float32")
            else:
                with running(mode=rung):
                    results(mistake.case, "cupy", "float32")
        except AssertionError as error:
            return str(error).strip().splitlines()[0]
        except EmulatorError as error:
            return summary(str(error))
    return None


def summary(report: str) -> str:
    """The line of a sanitizer's report that says what was found."""
    for sign in ("data race", "heap-buffer-overflow", "out of bounds", "stack-buffer", "SEGV"):
        if sign in report:
            return sign
    return report.splitlines()[0]


def main() -> None:
    """Print the table: every mistake and the rung that catches it."""
    cuda_emulator.install()
    print("| mistake | file | caught by | it says |\n|---|---|---|---|")
    for mistake in MISTAKES:
        said = caught(mistake, mistake.rung) or "NOT CAUGHT"
        print(f"| {mistake.what} | {mistake.program.path.name} | {mistake.rung} | {said[:90]} |")


if __name__ == "__main__":
    main()
