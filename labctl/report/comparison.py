"""Two runs side by side: what was configured differently, and what difference it made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from labctl.record.reader import LogReader


@dataclass(frozen=True)
class PairedDifference:
    """Second minus first accuracy on identical test samples (as shares), with its 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Settings that differ as (first, second) by dotted name; accuracies; their paired difference where it exists."""

    settings: Mapping[str, tuple[object, object]]
    accuracies: tuple[float | None, float | None]
    paired: PairedDifference | None


def compare_runs(first: LogReader, second: LogReader) -> Comparison:
    """Compare configuration and test result; accuracies pair up only when both tested the same samples."""
    metas = first.meta(), second.meta()
    settings = [
        _flat({"experiment": meta["resolved"], "layer": meta["blocks"], "data": meta["data"]["fingerprint"][:12]})
        for meta in metas
    ]
    names = list(dict.fromkeys([*settings[0], *settings[1]]))
    values = {name: (settings[0].get(name), settings[1].get(name)) for name in names}
    tests = _test(first), _test(second)
    accuracies = tuple(None if test is None else float(test["accuracy"]) for test in tests)
    return Comparison(
        settings={name: pair for name, pair in values.items() if pair[0] != pair[1]},
        accuracies=cast("tuple[float | None, float | None]", accuracies),
        paired=_paired(metas, tests),
    )


def paired_difference(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> PairedDifference:
    """Return second minus first share of right answers, both (n,) over the same samples.

    The interval is normal, of the mean of the n per-sample differences (-1, 0 or 1).
    """
    differences = second.astype(np.float64) - first.astype(np.float64)
    mean = float(differences.mean())
    half = 1.959964 * float(differences.std(ddof=1)) / sqrt(len(differences))
    return PairedDifference(mean, mean - half, mean + half)


def _paired(
    metas: tuple[Mapping[str, Any], Mapping[str, Any]], tests: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]
) -> PairedDifference | None:
    if tests[0] is None or tests[1] is None:
        return None
    same_data = metas[0]["data"]["fingerprint"] == metas[1]["data"]["fingerprint"]
    splits = [_split_of(meta["resolved"]["data"]) for meta in metas]
    if not same_data or splits[0] != splits[1]:
        return None
    right = [np.argmax(test["scores"], axis=1) == np.array(test["labels"]) for test in (tests[0], tests[1])]
    return paired_difference(right[0], right[1])


def _split_of(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in data.items() if name != "normalise"}


def _test(reader: LogReader) -> Mapping[str, Any] | None:
    return next((event.detail for event in reader.events() if event.kind == "test"), None)


def _flat(value: object, name: str = "") -> dict[str, object]:
    """Return the leaves of nested mappings and sequences by dotted name; lists of channels by their length alone."""
    if isinstance(value, Mapping):
        entries = [(str(key), item) for key, item in cast("Mapping[object, object]", value).items()]
    elif isinstance(value, Sequence) and not isinstance(value, str):
        items = cast("Sequence[object]", value)
        if name.endswith((".inputs", ".outputs")):
            return {name: f"{len(items)} channels"}
        entries = [(str(index), item) for index, item in enumerate(items)]
    else:
        return {name: value}
    return {
        key: leaf for part, item in entries for key, leaf in _flat(item, f"{name}.{part}" if name else part).items()
    }
