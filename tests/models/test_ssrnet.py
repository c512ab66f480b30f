"""SSRNet: variants and their counts, any stages, settings and their errors, explanations, slip."""

import json

import numpy as np
import pytest

from minissr import Tensor, no_grad, use_backend
from minissr.autograd.gradcheck import gradcheck
from minissr.models import registry
from minissr.models.criterion import Criterion
from minissr.models.ssrnet import VARIANTS, SSRNet, as_images
from minissr.training.optim import Adam

SMALL = {"image_size": 46, "filters_s": 3, "filters_x": 4, "compact": 2}


@pytest.fixture(autouse=True)
def _numpy():
    with use_backend("numpy"):
        yield


def pixels(n, size=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def small(**settings):
    return registry.build("ssrnet", **SMALL, **settings)


class TestVariants:
    def test_released_has_the_papers_count(self):
        model = registry.build("ssrnet", variant="released")
        assert model.parameter_count() == 40_915
        assert sum(p.size for p in model.parameters()) == 40_531
        assert sum(b.size for _, b in model.named_buffers()) == 384

    def test_the_default_is_ours_and_no_larger(self):
        model = registry.build("ssrnet")
        assert model.variant == "minissr"
        assert model.parameter_count() <= 40_915

    def test_ours_starts_with_a_slope_through_the_product(self):
        first = registry.build("ssrnet").stages[1].prediction
        assert first.s.b.data.tolist() == first.x.b.data.tolist() == [1, 1, 1]
        assert not registry.build("ssrnet", variant="released").stages[1].prediction.s.b.data.any()

    def test_paper_differs_where_text_and_figure_do(self):
        model = registry.build("ssrnet", variant="paper")
        assert model.streams.sizes == [31, 14, 6, 2]
        assert [stage.pool for stage in model.stages] == [2, 2, 2]
        assert all(stage.prediction.mix is None for stage in model.stages)
        assert all(stage.dropout.rate == 0 for stage in model.stages)
        # 1x1, 7x7 and 15x15 pixels of 10 channels
        assert [stage.delta.w.shape[0] for stage in model.stages] == [10, 490, 2250]

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_config_rebuilds_it_through_json(self, variant):
        model = registry.build("ssrnet", variant=variant, stages=(2, 5), lambda_d=0.5, max_age=80)
        config = json.loads(json.dumps(model.config()))
        again = registry.build(**config)
        again.load_state_dict(model.state_dict())
        assert again.config() == config
        images = pixels(2)
        with no_grad():
            assert np.array_equal(again.eval()(images).data, model.eval()(images).data)

    def test_same_generator_same_weights(self):
        one, two, other = (
            registry.build("ssrnet", rng=np.random.default_rng(seed)).state_dict()
            for seed in (1, 1, 2)
        )
        assert all(np.array_equal(one[name], two[name]) for name in one)
        assert not np.array_equal(one["streams.s.0.conv.w"], other["streams.s.0.conv.w"])

    def test_the_rate_of_the_heads_is_that_of_what_reads_the_features(self):
        model = small(head_rate=0.1)
        slow = {name for name, p in model.named_parameters() if p.rate == 0.1}
        layers = ("delta", "prediction.s", "prediction.x")
        assert slow == {f"stages.{k}.{layer}.w" for k in range(3) for layer in layers}
        assert all(p.rate in (0.1, 1.0) for p in model.parameters())

    def test_parameters_carry_their_names(self):
        model = small()
        assert all(p.name == name for name, p in model.named_parameters())


class TestStages:
    @pytest.mark.parametrize(
        ("stages", "levels"),
        [((7,), (4,)), ((3, 4), (4, 2)), ((2, 3, 5), (4, 2, 1)), ((2, 3, 4, 2), (4, 3, 2, 1))],
    )
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_any_stages(self, variant, stages, levels):
        model = registry.build("ssrnet", variant=variant, stages=stages)
        assert model.levels == levels
        model.eval()
        seen = model.explain(pixels(2))
        assert [stage["p"].shape[1] for stage in seen["stages"]] == list(stages)
        assert np.isfinite(seen["age"]).all()

    @pytest.mark.parametrize("levels", [(4, 3, 2), [3, 3, 1], (1, 1, 1)])
    @pytest.mark.parametrize("variant", VARIANTS)
    def test_any_levels(self, variant, levels):
        model = registry.build("ssrnet", variant=variant, levels=levels)
        assert model.levels == tuple(levels)
        again = registry.build(**json.loads(json.dumps(model.config())))
        again.load_state_dict(model.state_dict())
        images = pixels(2)
        with no_grad():
            ages = model.eval()(images).data
            assert np.array_equal(again.eval()(images).data, ages)
        assert np.isfinite(ages).all()

    def test_each_stage_looks_at_its_level(self):
        model = registry.build("ssrnet", levels=(4, 3, 2)).eval()
        images = pixels(2)
        with no_grad():
            every = model.streams(as_images(images, 64, np.zeros(0, np.float32)))
            seen = model.maps(images)
        for level, pair in zip((4, 3, 2), seen, strict=True):
            for one, other in zip(pair, every[level - 1], strict=True):
                assert np.array_equal(one.data, other.data)

    @pytest.mark.parametrize(
        "levels", [(), (4, 2), (4, 2, 0), (5, 2, 1), (1, 2, 4), (4, 2.0, 1), "421", 4]
    )
    def test_other_levels_are_refused_in_a_sentence(self, levels):
        with pytest.raises(ValueError, match=r"levels .*expected one from 4 to 1 for each of 3"):
            registry.build("ssrnet", levels=levels)

    @pytest.mark.parametrize("stages", [(), (3, 0), (3, -1), (2, 2, 2, 2, 2), (2.5,), "333", 3])
    def test_others_are_refused_in_a_sentence(self, stages):
        with pytest.raises(ValueError, match=r"stages .*expected 1 to 4 whole numbers"):
            registry.build("ssrnet", stages=stages)


class TestErrors:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"variant": "best"}, "variant 'best' is none of minissr, paper, released"),
            ({"lambda": 1}, "no setting 'lambda'; there are stages, levels, min_age"),
            ({"dropout": 1.0}, "dropout 1.0; expected 0 <= rate < 1"),
            ({"max_age": 0}, "ages from 0.0 to 0"),
            ({"lambda_d": 1.5}, "c_delta 1.5|lambda_d 1.5"),
            ({"floor": -1}, "floor -1"),
            ({"head_rate": 0}, "head_rate 0; expected a number above 0"),
            ({"activation_p": "sigmoidal"}, "activation_p 'sigmoidal' is none of"),
            ({"activation_mix": "no"}, "activation_mix 'no' is none of"),
            ({"fusion_pool": "3x3"}, "fusion_pool '3x3' is none of fit, 2x2"),
            ({"image_size": 20}, "image_size 20 is too small"),
            ({"compact": 0}, "compact 0; expected a whole number above 0"),
            ({"momentum": 2.0}, "momentum 2.0; expected 0 <= momentum < 1"),
        ],
    )
    def test_bad_settings(self, settings, message):
        with pytest.raises(ValueError, match=message):
            registry.build("ssrnet", **settings)

    def test_unknown_model(self):
        with pytest.raises(ValueError, match="model 'resnet' is none of ssrnet"):
            registry.build("resnet")

    @pytest.mark.parametrize("shape", [(64, 64, 3), (1, 3, 64, 64), (1, 32, 32, 3)])
    def test_images_of_another_shape(self, shape):
        with pytest.raises(ValueError, match=r"expected \(N, 64, 64, 3\)"):
            registry.build("ssrnet")(np.zeros(shape, np.uint8))

    def test_a_batch_of_one_in_training(self):
        with pytest.raises(ValueError, match="batch of 1; use a batch size of 2 or more"):
            small()(pixels(1, 46), rng=np.random.default_rng(0))


class TestForward:
    def test_pixels_floats_and_tensors_are_the_same_images(self):
        model, images = small().eval(), pixels(3, 46)
        ages = model(images)
        assert ages.shape == (3,)
        assert ages.dtype == np.float32
        for same in (images.astype(np.float64), images.astype(np.float32), Tensor(images)):
            assert np.array_equal(model(same).data, ages.data)

    def test_dropout_depends_on_the_generator_alone(self):
        model, images = small(dropout=0.2), pixels(4, 46)
        ages = [model(images, rng=np.random.default_rng(seed)).data for seed in (1, 1, 2)]
        assert np.array_equal(ages[0], ages[1])
        assert not np.array_equal(ages[0], ages[2])

    def test_loss_is_the_mean_absolute_error(self):
        model, images, ages = small(), pixels(4, 46), np.array([1, 20, 30, 90], np.float32)
        loss, predicted = model.loss(images, ages, rng=np.random.default_rng(0))
        assert loss.item() == pytest.approx(abs(predicted.data - ages).mean(), rel=1e-6)


class TestExplain:
    def test_contributions_add_up_and_edges_follow(self):
        model = small(stages=(2, 4, 3), min_age=10, max_age=70).astype("float64")
        seen = model.explain(pixels(5, 46))
        start = np.full(5, 10.0)
        for stage in seen["stages"]:
            p, eta, width = stage["p"], stage["eta"], stage["width"]
            i = np.arange(p.shape[1])
            assert np.allclose(stage["index"], (p * (i + eta)).sum(axis=1))
            assert np.allclose(stage["contribution"], width * stage["index"])
            lower = start[:, None] + (i + eta) * width[:, None]
            assert np.allclose(stage["edges"], np.stack([lower, lower + width[:, None]], axis=2))
            start = start + stage["contribution"]
        assert np.allclose(start, seen["age"])

    def test_it_is_evaluation_and_leaves_the_mode_alone(self):
        model, images = small(), pixels(3, 46)
        state = model.state_dict()
        seen = model.explain(images)
        assert model.training
        assert all(np.array_equal(a, state[name]) for name, a in model.state_dict().items())
        assert np.allclose(model.eval()(images).data, seen["age"], rtol=1e-5)


class TestSlip:
    def test_pairs_of_images_are_scored_against_the_row(self):
        model = small(slip=True, dropout=0.0, stages=(2, 3)).astype("float64")
        images, ages = pixels(4, 46), np.array([5.0, 20.0, 40.0, 80.0])
        loss, predicted = model.loss(images, ages)
        answers = model.answers(images)
        q, w = [], []
        width = 101.0
        for p, eta, delta, _ in answers:
            width = width / (p.shape[1] * (1 + model.settings.lambda_d * delta.data[:, 0]))
            w.append(width)
            q.append((p.data * (np.arange(p.shape[1]) + eta.data)).sum(axis=1))
        every = sum(wk[:, None] * qk[None, :] for wk, qk in zip(w, q, strict=True))
        assert loss.item() == pytest.approx(abs(every - ages[:, None]).mean(), rel=1e-12)
        assert np.allclose(predicted.data, np.diagonal(every))
        assert np.allclose(model.loss(images, ages)[1].data, predicted.data)

    def test_it_changes_the_loss_and_not_the_ages(self):
        images, ages = pixels(4, 46), np.array([5.0, 20.0, 40.0, 80.0], np.float32)
        (with_slip, a), (without, b) = (
            small(slip=slip, dropout=0.0).loss(images, ages) for slip in (True, False)
        )
        assert with_slip.item() != pytest.approx(without.item(), rel=1e-4)
        assert np.array_equal(a.data, b.data)


class TestStageLoss:
    def test_it_adds_what_the_coarser_stages_say(self):
        """Two coarser stages; their middle ages by hand from `explain`'s numbers."""
        images, ages = pixels(4, 46), np.array([5.0, 20.0, 40.0, 80.0])
        model = small(stage_loss=0.4, dropout=0.0).astype("float64")
        plain = small(dropout=0.0).astype("float64")
        answers = model.answers(images)
        start, width, extra = 0.0, 101.0, 0.0
        for p, eta, delta, _ in answers[:2]:
            width = width / (3 * (1 + model.settings.lambda_d * delta.data[:, 0]))
            start = start + width * (p.data * (np.arange(3) + eta.data)).sum(axis=1)
            extra += abs(start + width / 2 - ages).mean() / 2
        loss = model.loss(images, ages)[0].item()
        assert loss == pytest.approx(plain.loss(images, ages)[0].item() + 0.4 * extra, rel=1e-12)

    def test_a_single_stage_has_no_coarser_one(self):
        images, ages = pixels(4, 46), np.array([5.0, 20.0, 40.0, 80.0], np.float32)
        losses = [small(stages=(5,), stage_loss=w).loss(images, ages)[0].item() for w in (0.0, 1.0)]
        assert losses[0] == losses[1]

    def test_it_makes_no_sense_with_the_slip(self):
        with pytest.raises(ValueError, match="exclude each other"):
            small(slip=True, stage_loss=1.0)
        with pytest.raises(ValueError, match="from 0 up"):
            small(stage_loss=-1.0)


class TestStreams:
    def test_alike_differs_in_nothing_but_activation_and_pooling(self):
        two, alike = small(), small(streams="alike")
        assert alike.parameter_count() == two.parameter_count()
        assert [(b.activation, b.pool) for b in alike.streams.s] == [
            (b.activation, b.pool) for b in alike.streams.x
        ]
        assert not np.array_equal(two.eval()(pixels(2, 46)).data, alike.eval()(pixels(2, 46)).data)

    def test_one_is_seen_from_both_sides(self):
        model = small(streams="one")
        assert model.streams.s == []
        assert not any(name.startswith("streams.s") for name, _ in model.named_parameters())
        for s, x in model.streams(Tensor(pixels(2, 46).astype(np.float32))):
            assert s is x

    def test_none_else(self):
        with pytest.raises(ValueError, match="streams 'three' is none of two, alike, one"):
            small(streams="three")


def off_the_kinks(variant, seed, **changes):
    """A small network whose biases aren't 0: a ReLU of exactly 0 has no slope to compare with."""
    rng = np.random.default_rng((7, seed))
    stages = ((2, 3), (3,), (3, 2, 4))[seed % 3]
    size = 62 if variant == "paper" else 46  # the paper's pools leave nothing of less
    settings = {**SMALL, "image_size": size, "stages": stages}
    settings = {**settings, "dropout": 0.2, **changes}
    model = registry.build("ssrnet", variant=variant, rng=rng, **settings).astype("float64")
    for parameter in model.parameters():
        parameter.data += 0.1 * rng.standard_normal(parameter.shape)
    images, ages = rng.uniform(0, 255, (3, size, size, 3)), rng.uniform(1, 90, 3)

    def loss(images, *parameters):
        return model.loss(images, ages, rng=np.random.default_rng(seed))[0]

    return loss, [images, *model.parameters()]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_whole_networks_gradient(variant, seed):
    """Along one direction through the images and all parameters at once."""
    assert gradcheck(*off_the_kinks(variant, seed), tol=1e-5, seed=seed).worst.error < 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"streams": "alike"},
        {"streams": "one"},
        {"stage_loss": 0.5},
        {"activation_p": "normalized"},
        {"slip": True},
    ],
    ids=lambda changes: "-".join(map(str, *changes.items())),
)
def test_the_gradient_of_what_is_there_for_study(changes):
    gradcheck(*off_the_kinks("minissr", 2, **changes), tol=1e-5, seed=3)


def test_the_gradient_of_each_parameter_by_itself():
    """Where a small gradient doesn't hide beside a large one."""
    loss, inputs = off_the_kinks("minissr", 0)
    gradcheck(loss, inputs, tol=1e-5, mode="inputs")


@pytest.mark.parametrize("variant", ["minissr", "released"])
def test_eight_images_are_learnt_by_heart(variant):
    with use_backend("auto"):
        rng = np.random.default_rng(3)
        model = registry.build("ssrnet", variant=variant, rng=rng, dropout=0.0)
        images, ages = pixels(8), np.array([3, 12, 25, 33, 47, 58, 71, 90], np.float32)
        optimizer = Adam(model.parameters(), lr=0.01)
        steps = 150
        for step in range(steps):
            optimizer.lr = 0.01 * (1 - step / steps)
            model.zero_grad()
            loss, _ = model.loss(images, ages)
            loss.backward()
            optimizer.step()
    assert loss.item() < 1


def test_ssrnet_without_the_registry():
    assert SSRNet().config() == registry.build("ssrnet").config()


class TestCriterion:
    def test_smooth_is_the_huber_error_of_the_ages(self):
        images, ages = pixels(4, 46), np.array([5.0, 20.0, 40.0, 80.0])
        model = small(dropout=0.0).astype("float64")
        loss, predicted = model.loss(images, ages, criterion=Criterion("smooth", smooth_delta=20.0))
        error = abs(predicted.data - ages)
        by_hand = np.where(error <= 20, error**2 / 40, error - 10).mean()
        assert loss.item() == pytest.approx(by_hand, rel=1e-12)

    def test_distribution_by_all_combinations_of_bins(self):
        """Mean and variance of the age, over every way to pick a bin in each stage."""
        images, ages = pixels(3, 46), np.array([5.0, 40.0, 80.0])
        model = small(stages=(2, 3), dropout=0.0).astype("float64")
        told = Criterion("distribution", label_sigma=4.0, divergence_weight=2.0)
        loss, predicted = model.loss(images, ages, criterion=told)
        total = 0.0
        answers = model.answers(images)
        lambda_d, lambda_local = model.settings.lambda_d, model.settings.lambda_local
        for n, age in enumerate(ages):
            chances, values, width = np.ones(1), np.zeros(1), 101.0
            for p, eta, delta, _ in answers:
                bins = p.shape[1]
                width /= bins * (1 + lambda_d * delta.data[n, 0])
                stands = width * (np.arange(bins) + lambda_local * eta.data[n])
                chances = np.outer(chances, p.data[n]).ravel()
                values = np.add.outer(values, stands).ravel()
            mean = chances @ values
            assert mean == pytest.approx(predicted.data[n], rel=1e-10)
            r = chances @ (values - mean) ** 2 + 16
            kl = (np.log(r / 16) + (16 + (mean - age) ** 2) / r - 1) / 2
            total += (abs(mean - age) + 2.0 * kl) / len(ages)
        assert loss.item() == pytest.approx(total, rel=1e-10)

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"activation_p": "relu"}, "softmax or normalized"),
            ({"slip": True}, "excludes slip"),
            ({"stage_loss": 0.3}, "excludes slip and stage_loss"),
        ],
    )
    def test_a_distribution_needs_stages_that_are_one(self, settings, says):
        model = small(**settings)
        with pytest.raises(ValueError, match=says):
            model.loss(pixels(2, 46), np.float32([1, 2]), criterion=Criterion("distribution"))
