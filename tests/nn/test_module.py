"""Modules: finding parts in order, state that is saved and refused, modes, dtypes."""

import numpy as np
import pytest

from minissr import Tensor
from minissr.errors import CheckpointError
from minissr.nn.layers import BatchNorm, Conv2d, Dense
from minissr.nn.module import Module, Parameter, composed, watch


class Inner(Module):
    def __init__(self):
        self.weight = Parameter(np.ones((2, 3), np.float32))
        self.add_buffer("mean", np.zeros(3, np.float32))
        self.note = "not a parameter"

    def forward(self, x):
        return x @ self.weight


class Outer(Module):
    def __init__(self):
        self.zulu = Inner()
        self.list = [Inner(), Inner()]
        self.alpha = Parameter(np.full(3, 2.0, np.float32))
        self.nothing = None

    def forward(self, x):
        return self.zulu(x) * self.alpha


NAMES = ["alpha", "zulu.weight", "zulu.mean", "list.0.weight", "list.0.mean",
         "list.1.weight", "list.1.mean"]  # fmt: skip


def test_parts_in_containers_however_deep():
    class Nested(Module):
        def __init__(self):
            self.pair = (Inner(), [Inner()])
            self.by_name = {"left": Inner(), "constants": [1, 2]}

    model = Nested()
    names = ["pair.0.weight", "pair.1.0.weight", "by_name.left.weight"]
    assert [name for name, _ in model.named_parameters()] == names
    assert model.astype("float64").by_name["left"].mean.dtype == np.float64


def test_names_follow_assignment_not_the_alphabet():
    model = Outer()
    assert list(model.state_dict()) == NAMES
    assert [n for n, _ in model.named_parameters()] == [n for n in NAMES if "mean" not in n]
    assert [n for n, _ in model.named_buffers()] == [n for n in NAMES if "mean" in n]
    assert [n for n, _ in model.named_modules()] == ["", "zulu", "list.0", "list.1"]
    assert model.parameter_count() == 3 + 3 * (6 + 3)


def test_unknown_attribute_raises():
    with pytest.raises(AttributeError, match="wieght"):
        Outer().wieght  # noqa: B018


def test_state_is_a_copy_and_loading_writes_in_place():
    model, other = Outer(), Outer()
    state = model.state_dict()
    state["alpha"][...] = 7
    assert (model.alpha.data == 2).all()
    before = other.alpha.data
    other.load_state_dict(state)
    assert other.alpha.data is before
    assert (before == 7).all()


def test_loading_lists_everything_wrong_in_one_error_and_changes_nothing():
    model = Outer()
    state = model.state_dict()
    del state["zulu.mean"]
    state["list.0.weight"] = np.zeros((3, 2), np.float32)
    state["extra"] = np.zeros(1)
    state["alpha"] = np.full(3, 9.0)
    with pytest.raises(CheckpointError) as caught:
        model.load_state_dict(state)
    message = str(caught.value)
    assert "\n" not in message
    for part in ("missing zulu.mean", "unknown extra", "list.0.weight is (3, 2) instead of (2, 3)"):
        assert part in message
    assert (model.alpha.data == 2).all()


def test_loading_float64_into_float32_keeps_the_dtype():
    model = Outer()
    model.load_state_dict({n: a.astype(np.float64) for n, a in model.state_dict().items()})
    assert all(a.dtype == np.float32 for a in model.state_dict().values())


def test_modes_reach_every_child():
    model = Outer()
    assert model.training
    assert model.eval() is model
    assert not any(m.training for m in model.modules())
    model.train()
    assert all(m.training for m in model.modules())
    assert Outer.training  # the class's default is untouched


def test_astype_converts_parameters_and_buffers_and_drops_gradients():
    model = Outer()
    model(Tensor(np.ones((1, 2), np.float32))).sum().backward()
    assert model.alpha.grad is not None
    model.astype("float64")
    assert model.dtype == np.float64
    assert all(a.dtype == np.float64 for a in model.state_dict().values())
    assert model.alpha.grad is None


def test_to_keeps_numpy_arrays_for_cpu_backends():
    assert isinstance(Outer().to("numpy").alpha.data, np.ndarray)


def test_zero_grad():
    model = Outer()
    model(Tensor(np.ones((1, 2), np.float32))).sum().backward()
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_buffers_of_one_module_are_not_those_of_its_class():
    first, second = BatchNorm(2), BatchNorm(3)
    first.moving_mean += 1
    assert len(first._buffers) == len(second._buffers) == 2
    assert (second.moving_mean == 0).all()
    assert Module._buffers == ()


def test_a_constant_beside_a_parameter_is_not_a_parameter():
    product = Parameter(np.ones(2, np.float32)) * 3.0
    assert product.creator.context.needs_grad == (True, False)


def test_watch_reports_calls_in_order_with_outputs():
    seen = []

    def observer(module, inputs):
        seen.append(("in", type(module).__name__, inputs[0].shape))
        return lambda output: seen.append(("out", type(module).__name__, output.shape))

    model, x = Outer(), Tensor(np.ones((4, 2), np.float32))
    with watch(observer):
        model(x)
    model(x)
    assert seen == [
        ("in", "Outer", (4, 2)),
        ("in", "Inner", (4, 2)),
        ("out", "Inner", (4, 3)),
        ("out", "Outer", (4, 3)),
    ]


def test_composed_forbids_shortcuts_inside_the_block_only():
    layer = Dense(2, 2, rng=np.random.default_rng(0))
    with composed():
        assert not layer.may_fuse
    assert layer.may_fuse
    layer.fused = False
    assert not layer.may_fuse


def test_a_subclass_is_not_what_fused_ops_stand_for_unless_it_says_so():
    class Scaled(Dense):
        def forward(self, x):
            return super().forward(x) * 2.0

    class Renamed(Dense, fusible=True):
        pass

    rng = np.random.default_rng(0)
    assert Dense(2, 2, rng=rng).may_fuse
    assert not Scaled(2, 2, rng=rng).may_fuse
    assert Renamed(2, 2, rng=rng).may_fuse
    assert not Outer().may_fuse


def test_same_generator_same_weights():
    one, two = (Conv2d(3, 4, 3, rng=np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.w.data, two.w.data)
    assert not np.array_equal(one.w.data, Conv2d(3, 4, 3, rng=np.random.default_rng(6)).w.data)
