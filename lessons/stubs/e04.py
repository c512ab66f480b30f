"""Your answers to lesson 04. Check one with `check("04.1")` in the notebook, or submit them all:

python -m lessons.check 04
"""


def output_size(length, window, stride, before, after):
    """At how many places the window fits; ValueError if at none."""
    return None


def conv_stride(x, w, stride):
    """x (N, H, W, C), w (KH, KW, C, CO): the convolution at every stride-th place."""
    return None


def conv_stride_backward(gy, x, w):
    """The gradients towards x and w of the convolution with stride 2."""
    return None


def depthwise_backward(gy, x, w):
    """The gradients towards x (N, H, W, C) and w (KH, KW, C) of one filter for each channel."""
    return None
