"""From the labels people write to class numbers and names."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InputError
from labctl.data.dataset import Labels


def number_texts(texts: Sequence[str]) -> tuple[Labels, tuple[str, ...]]:
    """Return class numbers (n,) and the class names: the distinct texts, sorted.

    Texts that are all plain integers are sorted as numbers, so that 2 comes before 10.
    """
    distinct = set(texts)
    names = sorted(distinct, key=int) if all(map(_is_plain_integer, distinct)) else sorted(distinct)
    number = {name: index for index, name in enumerate(names)}
    return np.array([number[text] for text in texts], dtype=np.int64), tuple(names)


def _is_plain_integer(text: str) -> bool:
    digits = text.removeprefix("-")
    return len(digits) <= 18 and digits.isdecimal() and str(int(text)) == text


def number_array(where: str, labels: NDArray[Any]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return class numbers (n,) and class names of an array of labels read at `where`.

    Text becomes classes as in `number_texts`. Integers are class numbers already and name their classes; that they
    start at 0 and leave no gap is for `build_dataset` to check. Raises `InputError` for anything else.
    """
    if labels.ndim != 1:
        raise InputError(f"{where}: has shape {labels.shape}; expected one label per sample")
    if labels.dtype.kind == "U":
        return number_texts([str(label) for label in labels])
    if labels.dtype.kind not in "iu":
        raise InputError(f"{where}: is {labels.dtype}; labels are integers from 0 on, or text")
    return labels, tuple(map(str, range(len(np.unique(labels)))))
