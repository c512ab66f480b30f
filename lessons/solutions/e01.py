"""Lesson 01, answered."""

import numpy as np

from minissr.autograd.function import Function


def divide_backward(g, a, b):
    # y = a (1/b): slope 1/b towards a, and a times the slope of 1/b, -1/b^2, towards b.
    return g / b, -g * a / b**2


def unbroadcast(g, shape):
    extra = g.ndim - len(shape)  # axes that NumPy put in front
    stretched = [extra + i for i, length in enumerate(shape) if length == 1]
    # An axis of length 1 that wasn't stretched is summed over its one element: no harm. The
    # reshape brings those axes back.
    return g.sum(axis=(*range(extra), *stretched)).reshape(shape)


def visiting_order(parents, last):
    children = {last: 0}  # for everything behind `last`: children not visited yet
    to_count = [last]
    while to_count:
        for parent in parents[to_count.pop()]:
            if parent not in children:
                children[parent] = 0
                to_count.append(parent)
            children[parent] += 1
    order, ready = [], [last]
    while ready:
        name = ready.pop()
        order.append(name)
        for parent in parents[name]:
            children[parent] -= 1
            if children[parent] == 0:  # the last child has reported
                ready.append(parent)
    return order


class Hypotenuse(Function):
    """y = sqrt(a^2 + b^2)."""

    @staticmethod
    def forward(ctx, a, b):
        y = np.sqrt(a**2 + b**2)
        ctx.save(a, b, y)
        return y

    @staticmethod
    def backward(ctx, g):
        a, b, y = ctx.saved
        return unbroadcast(g * a / y, a.shape), unbroadcast(g * b / y, b.shape)
