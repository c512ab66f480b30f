"""Lesson 06, answered."""


def owner(n, i, j, q, oh, ow, co):
    number = ((n * oh + i) * ow + j) * co + q
    return divmod(number, 256)


def grid_of(n, h, w, co):
    rows, columns = -(-(h - 2) // 4), -(-(w - 2) // 8)  # rounded up: the last tiles stick out
    return rows * columns, -(-co // 8), n


def reduce(thread, shared):
    for s in (128, 64, 32, 16, 8, 4, 2, 1):
        if thread < s:
            shared[thread] += shared[thread + s]
        yield  # for every thread, also those that add nothing: all must come to a barrier


def conflicts(addresses):
    banks = {}
    for address in addresses:
        banks.setdefault(address % 32, set()).add(address)  # equal ones are served together
    return max(len(wanted) for wanted in banks.values())
