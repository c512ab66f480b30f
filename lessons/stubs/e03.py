"""Your answers to lesson 03. Check one with `check("03.1")` in the notebook, or submit them all:

python -m lessons.check 03
"""


def numeric_gradient(f, x, h):
    """Central differences of the number f(x) for every element of the array x; x as it was."""
    return None


def directional(f, x, u, h):
    """The slope of f at the array x along u, for each unit of length; a step of length h."""
    return None


def complex_step(f, x):
    """f'(x) from one evaluation at a complex number, to 14 digits."""
    return None


# The name of the suspect whose backward lies.
liar = None


def has_kink(f, x, h):
    """Whether the slope of f jumps somewhere between x - h and x + h."""
    return None
