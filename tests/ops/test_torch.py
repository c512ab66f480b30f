"""Ops against PyTorch where it is installed: values and gradients of somebody else's making."""

from __future__ import annotations

import numpy as np
import pytest

from minissr import Tensor, ops, use_backend

torch = pytest.importorskip("torch")
functional = torch.nn.functional


@pytest.fixture(autouse=True)
def _on_each(backend: str):
    with use_backend(backend):
        yield


def ours(call, *arrays: np.ndarray) -> list[np.ndarray]:
    """The output, then the gradient of each array, for the output gradient 1, 2, 3, ..."""
    tensors = [Tensor(a, requires_grad=True) for a in arrays]
    y = call(*tensors)
    y.backward(1 + np.arange(y.size, dtype=float).reshape(y.shape))
    return [y.data, *(t.grad for t in tensors)]


def theirs(call, *arrays: np.ndarray) -> list[np.ndarray]:
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = call(*tensors)
    y.backward(1 + torch.arange(y.numel(), dtype=torch.float64).reshape(y.shape))
    return [y.detach().numpy(), *(t.grad.numpy() for t in tensors)]


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def agree(our_call, their_call, *arrays: np.ndarray) -> None:
    for got, expected in zip(ours(our_call, *arrays), theirs(their_call, *arrays), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("stride", "padding", "groups", "kernel"),
    [(1, 0, 1, (3, 3)), (2, 1, 1, (3, 2)), (1, (2, 1), 2, (5, 3)), ((2, 3), 0, 4, (1, 1))],
)
def test_conv2d(rng, stride, padding, groups: int, kernel) -> None:
    x = rng.standard_normal((2, 9, 7, 4))
    w, b = rng.standard_normal((*kernel, 4 // groups, 8)), rng.standard_normal(8)
    agree(
        lambda x, w, b: ops.conv2d(x, w, b, stride, padding, groups),
        lambda x, w, b: nhwc(
            functional.conv2d(nchw(x), w.permute(3, 2, 0, 1), b, stride, padding, groups=groups)
        ),
        *(x, w, b),
    )


@pytest.mark.parametrize(("size", "stride", "padding"), [(2, 2, 0), ((3, 2), (1, 3), 1), (4, 4, 0)])
def test_pooling(rng, size, stride, padding) -> None:
    x = rng.standard_normal((2, 9, 7, 3))
    agree(
        lambda x: ops.max_pool(x, size, stride, padding),
        lambda x: nhwc(functional.max_pool2d(nchw(x), size, stride, padding)),
        x,
    )
    for counted in (True, False):
        agree(
            lambda x, counted=counted: ops.avg_pool(x, size, stride, padding, counted),
            lambda x, counted=counted: nhwc(
                functional.avg_pool2d(nchw(x), size, stride, padding, count_include_pad=counted)
            ),
            x,
        )


def test_ties_in_a_window_have_the_same_winner(rng) -> None:
    """Whole numbers from 0 to 2: hardly a window without a tie, and both take the first."""
    x = rng.integers(0, 3, (2, 9, 7, 3)).astype(float)
    for size, stride, padding in ((2, 2, 0), (3, 1, 1), (4, 3, 2)):
        agree(
            lambda x, s=size, t=stride, p=padding: ops.max_pool(x, s, t, p),
            lambda x, s=size, t=stride, p=padding: nhwc(functional.max_pool2d(nchw(x), s, t, p)),
            x,
        )


def test_kinks(rng) -> None:
    """ReLU'(0) = 0 on both sides. At its limits ours clips a gradient too; PyTorch lets it pass."""
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0])
    agree(ops.relu, torch.relu, x)
    agree(ops.absolute, torch.abs, x)
    agree(lambda x: ops.clip(x, -2, 3), lambda x: torch.clamp(x, -2, 3), x)
    (_, ours_at), (_, theirs_at) = (
        ours(lambda x: ops.clip(x, 0, 1), x),
        theirs(lambda x: torch.clamp(x, 0, 1), x),
    )
    np.testing.assert_array_equal(ours_at, [0, 0, 3, 0, 0])
    np.testing.assert_array_equal(theirs_at, [0, 2, 3, 4, 0])


def test_reductions_and_rearrangements(rng) -> None:
    x, z = rng.standard_normal((2, 5, 4, 3)), rng.standard_normal((2, 5, 4, 2))
    agree(ops.global_avg_pool, lambda x: x.mean(dim=(1, 2)), x)
    agree(lambda x: ops.mean(x, (0, 2)), lambda x: x.mean(dim=(0, 2)), x)
    agree(lambda x: ops.sum(x, -1, True), lambda x: x.sum(dim=-1, keepdim=True), x)
    agree(lambda x: ops.transpose(x, (2, 0, 3, 1)), lambda x: x.permute(2, 0, 3, 1), x)
    agree(lambda x, z: ops.concat([x, z]), lambda x, z: torch.concat([x, z], dim=-1), x, z)
    agree(lambda x: ops.flatten(x, 2), lambda x: x.flatten(2).flatten(0, 1), x)


def test_batch_norm(rng) -> None:
    x = rng.normal(3, 2, (4, 5, 6, 3))
    gamma, beta = rng.uniform(0.5, 2, 3), rng.standard_normal(3)
    mean, var = rng.standard_normal(3), rng.uniform(0.5, 2, 3)
    for statistics in ((None, None), (mean, var)):
        known = [None if s is None else torch.tensor(s) for s in statistics]
        agree(
            lambda x, g, b, statistics=statistics: ops.batch_norm(x, g, b, *statistics)[0],
            lambda x, g, b, known=known: nhwc(
                functional.batch_norm(nchw(x), *known, g, b, training=known[0] is None, eps=1e-3)
            ),
            *(x, gamma, beta),
        )


@pytest.mark.parametrize(
    ("our_op", "their_op"),
    [
        (ops.relu, torch.relu),
        (ops.relu6, functional.relu6),
        (ops.leaky_relu, functional.leaky_relu),
        (ops.tanh, torch.tanh),
        (ops.sigmoid, torch.sigmoid),
        (ops.softplus, functional.softplus),
        (lambda x: ops.softmax(x, 1), lambda x: torch.softmax(x, 1)),
        (lambda x: ops.log_softmax(x, 0), lambda x: torch.log_softmax(x, 0)),
    ],
)
def test_activations(rng, our_op, their_op) -> None:
    agree(our_op, their_op, 4 * rng.standard_normal((5, 6)))


def test_losses(rng) -> None:
    z, t = 3 * rng.standard_normal((4, 5)), rng.dirichlet(np.ones(5), 4)
    classes, weight = np.array([0, 4, 2, 2]), rng.uniform(0.5, 2, 5)
    soft, w = torch.tensor(t), torch.tensor(weight)
    for our_loss, their_loss in [
        (lambda z: ops.mae(z, t), lambda z: functional.l1_loss(z, soft)),
        (lambda z: ops.mse(z, t), lambda z: functional.mse_loss(z, soft)),
        (lambda z: ops.cross_entropy(z, t), lambda z: functional.cross_entropy(z, soft)),
        (
            lambda z: ops.cross_entropy(z, classes),
            lambda z: functional.cross_entropy(z, torch.tensor(classes)),
        ),
        *(
            (
                lambda z, how=how: ops.cross_entropy(z, classes, how),
                lambda z, how=how: functional.cross_entropy(
                    z, torch.tensor(classes), reduction=how
                ),
            )
            for how in ("sum", "none")
        ),
        (
            lambda z: ops.kl_divergence(z, t),
            lambda z: functional.kl_div(torch.log_softmax(z, 1), soft, reduction="batchmean"),
        ),
        (
            lambda z: ops.binary_cross_entropy(z, t, weight),
            lambda z: functional.binary_cross_entropy_with_logits(z, soft, w),
        ),
    ]:
        agree(our_loss, their_loss, z)


def test_broadcasting_matrices_and_indexing(rng) -> None:
    a, b = rng.standard_normal((3, 1, 4)), rng.uniform(0.5, 2, (2, 4))
    rows = np.array([1, 0, 1])
    agree(lambda a, b: a * b + a / b - b**3, lambda a, b: a * b + a / b - b**3, a, b)
    agree(lambda a, b: a @ b.transpose(), lambda a, b: a @ b.T, a, b)
    agree(lambda b: b[rows, 1:].sum(axis=0), lambda b: b[rows, 1:].sum(dim=0), b)


def test_soft_stagewise_regression_by_torch_s_autograd(rng) -> None:
    """The equations typed into PyTorch, differentiated by it."""
    stages, v = (3, 5, 2), 90.0

    def equation_7(p, eta, delta):
        age, bins, first = 0.0, 1.0, 0
        for k, s in enumerate(stages):
            stage = slice(first, first + s)
            bins = bins * s * (1 + delta[:, k])
            age = age + (p[:, stage] * (torch.arange(s) + eta[:, stage])).sum(1) * v / bins
            first += s
        return age

    agree(
        lambda p, eta, delta: ops.soft_stagewise_regression(
            p, eta, delta, stages=stages, max_age=v, floor=0
        ),
        equation_7,
        rng.uniform(0, 1, (4, 10)),
        rng.uniform(-1, 1, (4, 10)),
        rng.uniform(-0.9, 0.9, (4, 3)),
    )


@pytest.mark.parametrize("delta", [0.5, 3.0])
def test_huber_is_smooth_l1(rng, delta: float) -> None:
    x, target = 4 * rng.standard_normal(40), 4 * rng.standard_normal(40)
    agree(
        lambda a: ops.huber(a, target, delta=delta),
        lambda a: functional.smooth_l1_loss(a, torch.tensor(target), beta=delta),
        x,
    )


def test_normal_divergence(rng) -> None:
    mean, variance, target = rng.uniform(0, 90, 9), rng.exponential(9, 9), rng.uniform(0, 90, 9)
    normal = torch.distributions.Normal

    def theirs_of(m, v):
        said = normal(m, torch.sqrt(v + 6.25))
        return torch.distributions.kl_divergence(normal(torch.tensor(target), 2.5), said).mean()

    agree(lambda m, v: ops.normal_divergence(m, v, target, 2.5), theirs_of, mean, variance)
