"""Lesson 11, one answer to each exercise."""

import numpy as np


def stretched_widths(delta, stages, V):
    """V over the cumulative product of the stretched numbers of bins, along the stages."""
    return V / np.cumprod(np.array(stages) * (1 + delta), axis=1)


def shifted_index(p, eta, stages):
    """Stage by stage: cut its bins out of the row, add eta to 0, 1, 2, ..., weight with p."""
    index, first = [], 0
    for s in stages:
        bins = slice(first, first + s)
        index.append((p[:, bins] * (np.arange(s) + eta[:, bins])).sum(axis=1))
        first += s
    return np.stack(index, axis=1)


def soft_stagewise(p, eta, delta, stages, V, c_delta, c_eta):
    """The switches multiply the inputs, and everything else stays as it is."""
    width = stretched_widths(c_delta * delta, stages, V)
    return (width * shifted_index(p, c_eta * eta, stages)).sum(axis=1)


def delta_for(age, index, stages, V):
    """1 + delta_1 divides every width, so it divides the whole age: f = age at 0 / age wanted."""
    without = float((V / np.cumprod(stages)) @ index)
    return without / age - 1


def another_way(p, eta, delta):
    """Change each a little as we like, and let all shifts of stage 1 together make up for it.

    Its p add up to 1, so a common shift c moves the age by c times its width.
    """

    def age_of(p, eta, delta):
        return soft_stagewise(p[None], eta[None], delta[None], (3, 3), 90.0, 1.0, 1.0)[0]

    other_p, other_eta, other_delta = p.copy(), eta.copy(), delta + np.array([0.06, 0])
    fullest = 3 + p[3:].argmax()
    other_p[fullest] -= 0.06
    other_p[3 + (fullest - 2) % 3] += 0.06
    other_eta[3:] += 0.1
    missing = age_of(p, eta, delta) - age_of(other_p, other_eta, other_delta)
    other_eta[:3] += missing / stretched_widths(other_delta[None], (3, 3), 90.0)[0, 0]
    return other_p, other_eta, other_delta
