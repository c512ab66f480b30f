"""Optimisers against their literal formulas, on one flat array; schedules as pure functions."""

import math

import numpy as np
import pytest

from minissr import use_backend
from minissr.errors import CheckpointError
from minissr.nn.module import Parameter
from minissr.training.optim import SGD, Adam, build_schedule, constant_lr, cosine_lr, step_lr


@pytest.fixture(autouse=True)
def _numpy():
    """Where a test doesn't say otherwise."""
    with use_backend("numpy"):
        yield


SHAPES = [(2, 3), (4,), (1, 1, 2, 2)]


def parameters(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return [Parameter(rng.standard_normal(shape).astype(dtype)) for shape in SHAPES]


def gradients(step):
    rng = np.random.default_rng((1, step))
    return [rng.standard_normal(shape) for shape in SHAPES]


def run(optimizer, steps, first=0):
    for step in range(first, first + steps):
        for parameter, grad in zip(optimizer.parameters, gradients(step), strict=True):
            parameter.grad = grad.astype(parameter.dtype)
        optimizer.step()
    return [p.data.copy() for p in optimizer.parameters]


def literal_adam(form, lr, b1, b2, eps, steps):
    values = [p.data.copy() for p in parameters()]
    m, v = ([np.zeros(s) for s in SHAPES] for _ in range(2))
    for t in range(1, steps + 1):
        for i, g in enumerate(gradients(t - 1)):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * g * g
            if form == "keras":
                lr_t = lr * math.sqrt(1 - b2**t) / (1 - b1**t)
                values[i] -= lr_t * m[i] / (np.sqrt(v[i]) + eps)
            else:
                m_hat, v_hat = m[i] / (1 - b1**t), v[i] / (1 - b2**t)
                values[i] -= lr * m_hat / (np.sqrt(v_hat) + eps)
    return values


def literal_sgd(lr, momentum, nesterov, steps):
    values = [p.data.copy() for p in parameters()]
    velocity = [np.zeros(s) for s in SHAPES]
    for t in range(steps):
        for i, g in enumerate(gradients(t)):
            velocity[i] = momentum * velocity[i] - lr * g
            values[i] += momentum * velocity[i] - lr * g if nesterov else velocity[i]
    return values


def assert_close(ours, expected):
    for a, b in zip(ours, expected, strict=True):
        assert np.allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("form", ["keras", "pytorch"])
def test_adam_is_its_formula(form, backend):
    settings = {"beta1": 0.8, "beta2": 0.99, "eps": 0.1}  # an eps that shows where it is added
    with use_backend(backend):
        ours = run(Adam(parameters(), 0.05, form=form, **settings), 5)
    assert_close(ours, literal_adam(form, 0.05, 0.8, 0.99, 0.1, 5))


@pytest.mark.parametrize(("form", "eps"), [("keras", 1e-7), ("pytorch", 1e-8)])
def test_adam_takes_the_usual_epsilon_of_its_form(form, eps):
    assert Adam(parameters(), form=form).eps == eps
    assert Adam(parameters()).form == "keras"


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_its_formula(momentum, nesterov, backend):
    with use_backend(backend):
        ours = run(SGD(parameters(), 0.05, momentum=momentum, nesterov=nesterov), 4)
    assert_close(ours, literal_sgd(0.05, momentum, nesterov, 4))


def test_adam_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    theirs = [torch.tensor(p.data, requires_grad=True) for p in parameters()]
    optimizer = torch.optim.Adam(theirs, lr=0.01)
    for step in range(6):
        for tensor, grad in zip(theirs, gradients(step), strict=True):
            tensor.grad = torch.tensor(grad)
        optimizer.step()
    assert_close(run(Adam(parameters(), 0.01, form="pytorch"), 6), [t.detach() for t in theirs])


def test_parameters_become_views_of_one_array():
    ours = parameters()
    values = [p.data.copy() for p in ours]
    optimizer = Adam(ours)
    assert optimizer.flat.shape == (14,)
    for parameter, value in zip(ours, values, strict=True):
        assert np.shares_memory(parameter.data, optimizer.flat)
        assert np.array_equal(parameter.data, value)
        assert parameter.data.flags.c_contiguous


def test_a_missing_gradient_counts_as_zero():
    optimizer = SGD(parameters(), 1.0)
    run(optimizer, 1)
    before = [p.data.copy() for p in optimizer.parameters]
    optimizer.parameters[0].grad = np.ones(SHAPES[0])
    for parameter in optimizer.parameters[1:]:
        parameter.grad = None
    optimizer.step()
    assert np.allclose(optimizer.parameters[0].data, before[0] - 1)
    assert np.array_equal(optimizer.parameters[1].data, before[1])


def test_zero_grad_forgets_what_the_optimiser_trains():
    parameters = [Parameter(np.ones(3, np.float32)) for _ in range(2)]
    optimizer = SGD(parameters, 0.1)
    for parameter in parameters:
        parameter.grad = np.ones(3, np.float32)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in parameters)


def test_replaced_data_is_noticed():
    optimizer = Adam(parameters())
    optimizer.parameters[1].data = np.zeros(4)
    with pytest.raises(RuntimeError, match=r"build the optimiser after model\.to"):
        optimizer.step()


@pytest.mark.parametrize("kind", [Adam, lambda p: SGD(p, momentum=0.9)])
def test_saved_and_restored_is_never_stopped(kind):
    whole = run(kind(parameters()), 6)
    first = kind(parameters())
    values = run(first, 3)
    second = kind([Parameter(v) for v in values])
    second.load_state_dict(first.state_dict())
    assert second.steps == 3
    for a, b in zip(run(second, 3, first=3), whole, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("kind", [Adam, lambda *p, **s: SGD(*p, momentum=0.9, **s)])
def test_parameters_of_another_rate_are_trained_as_by_an_optimiser_of_their_own(kind, backend):
    """The second of three has a tenth of the rate: it goes last, and with an lr of its own."""

    def steps(optimizer, indices):
        for step in range(4):
            for i in indices:
                mixed[i].grad = gradients(step)[i]
            optimizer.step()

    with use_backend(backend):
        apart, mixed = parameters(), parameters()
        mixed[1].rate = 0.1
        together = kind(mixed, lr=0.1, weight_decay=0.01)
        assert [p is q for p, q in zip(together.parameters, mixed, strict=True)] == [1, 0, 0]
        assert together.groups == {1.0: slice(0, 10), 0.1: slice(10, 14)}
        steps(together, (0, 1, 2))
        got, mixed = [p.data.copy() for p in mixed], apart
        for indices, lr in (((0, 2), 0.1), ((1,), 0.1 * 0.1)):
            steps(kind([apart[i] for i in indices], lr=lr, weight_decay=0.01), indices)
    for one, other in zip(got, apart, strict=True):
        np.testing.assert_array_equal(one, other.data)


def test_state_is_a_copy():
    optimizer = Adam(parameters())
    state = optimizer.state_dict()
    assert set(state) == {"m", "v", "steps"}
    run(optimizer, 1)
    assert not state["m"].any()
    assert state["steps"] == 0


def test_foreign_state_is_refused_in_one_sentence():
    optimizer = Adam(parameters())
    with pytest.raises(CheckpointError) as caught:
        optimizer.load_state_dict({"m": np.zeros(3), "velocity": np.zeros(14), "steps": 0})
    for part in ("missing v", "unknown velocity", "m is (3,) instead of (14,)"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Adam([]), "no parameters"),
        (lambda: Adam(parameters(), 0.0), "learning rate 0.0"),
        (lambda: Adam(parameters(), math.nan), "learning rate nan"),
        (lambda: Adam(parameters(), form="jax"), "'jax' is none of keras, pytorch"),
        (lambda: Adam(parameters(), beta2=1.0), "beta2 1.0"),
        (lambda: Adam(parameters(), eps=-1.0), "eps -1.0"),
        (lambda: SGD(parameters(), momentum=1.5), "momentum 1.5"),
        (lambda: Adam([*parameters(), *parameters(np.float32)]), "float64 and float32"),
    ],
)
def test_bad_settings_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


class TestSchedules:
    def test_constant(self):
        assert [constant_lr(0.1)(s) for s in (0, 5, 10**6)] == [0.1] * 3

    def test_step(self):
        at = step_lr(1.0, [10, 20])
        assert [at(s) for s in (0, 9, 10, 19, 20, 99)] == pytest.approx(
            [1, 1, 0.1, 0.1, 0.01, 0.01]
        )

    def test_the_papers_ninety_epochs(self):
        at = build_schedule("step", lr=0.002, epochs=90, steps_per_epoch=7)
        rates = [at(epoch * 7) for epoch in (0, 29, 30, 59, 60, 89)]
        assert rates == pytest.approx([2e-3, 2e-3, 2e-4, 2e-4, 2e-5, 2e-5])
        assert at(30 * 7 - 1) == pytest.approx(2e-3)

    def test_a_run_of_one_epoch_still_has_its_full_rate(self):
        at = build_schedule("step", lr=0.1, epochs=1, steps_per_epoch=5)
        assert [at(s) for s in range(5)] == pytest.approx([0.1] * 5)

    def test_cosine(self):
        at = cosine_lr(1.0, total=110, warm_up=10)
        assert [at(s) for s in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
        assert at(10) == pytest.approx(1.0)
        assert at(60) == pytest.approx(0.5)
        assert at(110) == pytest.approx(0.0)
        assert at(500) == pytest.approx(0.0)
        rates = [at(s) for s in range(10, 111)]
        assert rates == sorted(rates, reverse=True)

    def test_cosine_floor(self):
        assert cosine_lr(1.0, total=10, floor=0.2)(10) == pytest.approx(0.2)

    def test_by_name(self):
        assert build_schedule("constant", lr=0.3, epochs=3, steps_per_epoch=2)(5) == 0.3
        assert build_schedule("cosine", lr=0.3, epochs=100, steps_per_epoch=10)(49) == 0.3
        with pytest.raises(ValueError, match="'exp' is none of step, cosine, constant"):
            build_schedule("exp", lr=0.3, epochs=3, steps_per_epoch=2)


@pytest.mark.parametrize("kind", [Adam, SGD])
def test_weight_decay_is_apart_from_the_gradient_and_spares_biases(kind, backend):
    """AdamW's own order: first each weight loses lr * decay of itself, then the usual step."""
    with use_backend(backend):
        plain, decayed = kind(parameters(), 0.05), kind(parameters(), 0.05, weight_decay=0.4)
        before = [p.data.copy() for p in plain.parameters]
        after, less = run(plain, 1), run(decayed, 1)
    for start, usual, mine in zip(before, after, less, strict=True):
        lost = 0.05 * 0.4 * start if start.ndim > 1 else 0 * start
        np.testing.assert_allclose(mine, usual - lost, rtol=1e-12)


def test_adam_with_decay_agrees_with_pytorch():
    torch = pytest.importorskip("torch")
    theirs = [torch.tensor(p.data, requires_grad=True) for p in parameters()]
    groups = [
        {"params": [t for t in theirs if t.ndim > 1], "weight_decay": 0.3},
        {"params": [t for t in theirs if t.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    for step in range(6):
        for tensor, grad in zip(theirs, gradients(step), strict=True):
            tensor.grad = torch.tensor(grad)
        optimizer.step()
    ours = run(Adam(parameters(), 0.01, form="pytorch", weight_decay=0.3), 6)
    assert_close(ours, [t.detach() for t in theirs])


def test_a_decay_below_zero_is_refused():
    with pytest.raises(ValueError, match="weight_decay -1"):
        Adam(parameters(), weight_decay=-1)


@pytest.mark.parametrize("name", ["step", "cosine", "constant"])
def test_a_warm_up_of_two_epochs_rises_and_joins(name):
    schedule = build_schedule(name, lr=0.1, epochs=9, steps_per_epoch=5, warm_up=2)
    assert [schedule(step) for step in range(10)] == pytest.approx([0.01 * k for k in range(1, 11)])
    usual = build_schedule(name, lr=0.1, epochs=9, steps_per_epoch=5, warm_up=0)
    assert usual(0) == pytest.approx(0.1)
    if name != "cosine":
        assert all(schedule(step) == usual(step) for step in range(10, 45))


@pytest.mark.parametrize("name", ["step", "cosine", "constant"])
def test_a_warm_up_longer_than_the_run_rises_all_the_way(name):
    for warm_up in (9, 100, 1e308):
        schedule = build_schedule(name, lr=0.1, epochs=9, steps_per_epoch=50, warm_up=warm_up)
        assert schedule(449) == pytest.approx(0.1)
