"""Lesson 17, one answer to each exercise."""

import numpy as np


def shares(p, eta, delta, stages, V):
    """Width times index, stage by stage (Equation 7 before its outer sum)."""
    result, width, first = [], V, 0
    for s, d in zip(stages, delta, strict=True):
        width = width / (s * (1 + d))
        bins = slice(first, first + s)
        result.append(width * (p[bins] @ (np.arange(s) + eta[bins])))
        first += s
    return np.array(result)


def cover(predict, image, size):
    """One covered copy for each patch, all of them in one call."""
    rows, columns = image.shape[0] // size, image.shape[1] // size
    covered = np.repeat(image[None], rows * columns, axis=0)
    for r in range(rows):
        for c in range(columns):
            place = slice(r * size, (r + 1) * size), slice(c * size, (c + 1) * size)
            covered[(r * columns + c, *place)] = 0
    return (predict(covered) - predict(image[None])).reshape(rows, columns)


def attribute(predict, gradient, image):
    """Integrated gradients: go from black to the image in small steps, and add up, pixel by pixel,
    what each step's gradient says it changed. The total is the integral of the slope: the change.
    """
    steps = 200
    total = sum(gradient((k + 0.5) / steps * image) for k in range(steps))
    return image * total / steps
