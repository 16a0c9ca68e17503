"""Two runs side by side: what was configured differently, and what difference it made."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import yaml

from labctl.record.json_text import differences
from labctl.record.reader import LogReader
from labctl.report.paired import Difference, paired_difference


@dataclass(frozen=True)
class Comparison:
    """Settings, instruments and software that differ as (first, second) by dotted name; accuracies.

    `paired` is second minus first, if they can be paired.
    """

    settings: Mapping[str, tuple[object, object]]
    accuracies: tuple[float | None, float | None]
    paired: Difference | None


def compare_runs(first: LogReader, second: LogReader) -> Comparison:
    """Compare configuration and test result; accuracies pair up only when both tested the same samples."""
    metas = first.meta(), second.meta()
    tests = _test(first), _test(second)
    accuracies = tuple(None if test is None else float(test["accuracy"]) for test in tests)
    return Comparison(
        settings=differences(*[_settings(meta, reader) for meta, reader in zip(metas, (first, second), strict=True)]),
        accuracies=cast("tuple[float | None, float | None]", accuracies),
        paired=_paired(metas, tests),
    )


def _settings(meta: Mapping[str, Any], reader: LogReader) -> Mapping[str, object]:
    """Return what was configured, and what carried it out.

    Rig files are as they were read, so that no driver is needed to compare them.
    """
    rigs = {role: source.get("resolved") or yaml.safe_load(source["text"]) for role, source in meta["rigs"].items()}
    origin = meta["provenance"]
    return {
        "experiment": meta["resolved"],
        "rig": rigs,
        "data": {"fingerprint": meta["data"]["fingerprint"][:12]},
        "instruments": reader.instruments(),
        "calibrations": meta.get("calibrations", {}),
        "software": {"python": origin["python"], **origin["packages"]},
        "environment": origin["environment"],
    }


def _paired(
    metas: tuple[Mapping[str, Any], Mapping[str, Any]], tests: tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]
) -> Difference | None:
    if tests[0] is None or tests[1] is None:
        return None
    same_data = metas[0]["data"]["fingerprint"] == metas[1]["data"]["fingerprint"]
    splits = [_split_of(meta["resolved"]["data"]) for meta in metas]
    if not same_data or splits[0] != splits[1]:
        return None
    right = [np.argmax(test["scores"], axis=1) == np.array(test["labels"]) for test in (tests[0], tests[1])]
    return paired_difference(right[1], right[0])


def _split_of(data: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in data.items() if name != "normalise"}


def _test(reader: LogReader) -> Mapping[str, Any] | None:
    return next((event.detail for event in reader.events() if event.kind == "test"), None)
