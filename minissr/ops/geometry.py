"""Size, stride and padding of a window that slides over an image, as people write them.

Convolution and pooling take a number or a pair for a size or stride, and a word or up to four
numbers for a padding. The kernels take pairs and (top, bottom, left, right); this is the way from
one to the other, and the place where an impossible window is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from minissr.kernels.geometry import Padding, Size, output_size

SizeLike = int | Sequence[int]
PaddingLike = str | int | Sequence[int]


def as_pair(op: str, what: str, value: SizeLike) -> Size:
    """A size or stride as (vertical, horizontal), both at least 1."""
    numbers = integers(value)
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) != 2 or min(numbers) < 1:
        raise ValueError(f"{op} {what} {value!r}; expected an integer >= 1 or a pair of them")
    return numbers[0], numbers[1]


def as_padding(op: str, value: PaddingLike, image: Size, size: Size, stride: Size) -> Padding:
    """A padding as (top, bottom, left, right).

    "valid" is none. "same" gives ceil(length / stride) windows along each side, as in TensorFlow:
    where the number of pixels to add is odd, bottom and right get the odd one. With "same_lower"
    top and left get it.
    """
    if value == "valid":
        return 0, 0, 0, 0
    if value in ("same", "same_lower"):
        order = 1 if value == "same" else -1
        top, bottom = same_padding(image[0], size[0], stride[0])[::order]
        left, right = same_padding(image[1], size[1], stride[1])[::order]
        return top, bottom, left, right
    numbers = () if isinstance(value, str) else integers(value)
    if len(numbers) not in (1, 2, 4) or min(numbers) < 0:
        raise ValueError(
            f"{op} padding {value!r}; expected 'valid', 'same', 'same_lower', an integer >= 0, "
            "(vertical, horizontal) or (top, bottom, left, right)"
        )
    if len(numbers) == 4:
        return numbers[0], numbers[1], numbers[2], numbers[3]
    vertical, horizontal = numbers[0], numbers[-1]
    return vertical, vertical, horizontal, horizontal


def same_padding(length: int, size: int, stride: int) -> tuple[int, int]:
    """Pixels before and after one side so that ceil(length / stride) windows fit."""
    count = -(-length // stride)
    total = max((count - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


def integers(value: int | Sequence[int]) -> tuple[int, ...]:
    """The whole numbers in `value`, or () if there is anything else."""
    parts = tuple(value) if isinstance(value, Sequence) else (value,)
    return tuple(map(int, parts)) if all(hasattr(part, "__index__") for part in parts) else ()


def check_windows(op: str, image: Size, size: Size, stride: Size, padding: Padding) -> None:
    """Refuse an image in which not a single window fits."""
    if min(output_size(*image, size, stride, padding)) < 1:
        raise ValueError(
            f"{op} window {size} is larger than the image {image} with padding {padding}; "
            "use a smaller window, more padding or a larger image"
        )
