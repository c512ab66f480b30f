"""The exercises of lesson 17: explaining one face."""

import numpy as np

from lessons.check import exercise
from lessons.checking import attempted, call, compare, require, same
from lessons.solutions import e17 as right


@exercise(
    "17.1",
    "shares",
    (
        "Equation 7 is a sum over stages; what is a single stage's term?",
        "Width: V over the product of s (1 + delta) so far. Index: the sum of p (i + eta).",
        "width * (p[bins] @ (np.arange(s) + eta[bins])), collected for each stage.",
    ),
)
def shares(answer):
    rng = np.random.default_rng(17)
    cases = []
    for stages in ((2,), (3, 3), (2, 4), (3, 3, 3)):
        p = np.concatenate([rng.dirichlet(np.ones(s)) for s in stages]).round(2)
        eta, delta = rng.uniform(-0.8, 0.8, len(p)), rng.uniform(-0.5, 0.8, len(stages))
        cases.append({"p": p, "eta": eta.round(2), "delta": delta.round(2), "stages": stages,
                      "V": 90.0})  # fmt: skip
    same(answer, right.shares, cases, name="shares")


@exercise(
    "17.2",
    "cover",
    (
        "There are (H / size) times (W / size) patches, so as many covered copies of the image.",
        "np.repeat(image[None], n, axis=0) makes the copies; set one patch of each to 0.",
        "(predict(covered) - predict(image[None])).reshape(H // size, W // size).",
    ),
)
def cover(answer):
    rng = np.random.default_rng(17)
    for h, w, size in ((1, 1, 1), (2, 2, 1), (2, 4, 2), (6, 4, 2)):
        weights = rng.normal(0, 1, (h, w)).round(1)

        def predict(images, weights=weights):
            return np.tanh((images * weights).sum(axis=(1, 2)))

        case = {"predict": predict, "image": rng.uniform(0, 1, (h, w)).round(2), "size": size}
        compare(call(answer, case, name="cover"), right.cover(**case), case, name="cover")


@exercise(
    "17.3",
    "attribute",
    (
        "Walk from black to the image in many small steps. What does each step change, and where?",
        "A step changes pixel i by image_i / n, and the answer by gradient_i image_i / n.",
        "image / n * sum of gradient((k + 0.5) / n * image) for k = 0 .. n - 1.",
    ),
)
def attribute(answer):
    rng = np.random.default_rng(17)
    for shape in ((2,), (3, 3)):
        weights = rng.normal(0, 1, shape)

        def predict(image, weights=weights):
            return 40 * np.tanh((image * weights).sum()) + (image**2).sum()

        def gradient(image, weights=weights):
            return 40 * weights / np.cosh((image * weights).sum()) ** 2 + 2 * image

        for _ in range(3):
            image = rng.uniform(0, 1, shape).round(2)
            got = attempted(answer(predict, gradient, image.copy()))
            case = {"predict": predict, "gradient": gradient, "image": image}
            compare(np.shape(got), shape, case, name="the shape of attribute")
            change = predict(image) - predict(0 * image)
            require(
                abs(np.sum(got) - change) <= 0.01 * abs(change),
                f"for the image {image} your map adds up to {np.sum(got):.3f}, "
                f"and the answer changes by {change:.3f}",
            )
            require(np.ptp(np.ravel(got)) > 1e-9, "the same share for every pixel explains nothing")


WRONG = {
    "17.1": [
        lambda p, eta, delta, stages, V: right.shares(p, 0 * eta, delta, stages, V),
        lambda p, eta, delta, stages, V: right.shares(p, eta, 0 * delta, stages, V),
    ],
    "17.2": [
        lambda predict, image, size: -right.cover(predict, image, size),
        lambda predict, image, size: right.cover(predict, image.T.copy().T, size) * 0,
    ],
    "17.3": [
        lambda predict, gradient, image: gradient(image) * image,
        lambda predict, gradient, image: np.full(
            image.shape, (predict(image) - predict(0 * image)) / image.size
        ),
    ],
}
