"""The shipped rig files of network analysers, brought up as `labctl simulate` does, on a small box without noise."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from labctl.config.examples import examples_folder
from labctl.config.loading import load_rig
from labctl.rig.simulation import simulated

RESOLUTION: Mapping[str, float] = {
    "copper_mountain": 1e-12,
    "keysight_ena": 1e-12,
    "keysight_pna": 1e-12,
    "librevna": 1e-5,
    "nanovna": 1e-6,
    "nanovna_v2": 1e-8,
    "rohde_schwarz": 1e-12,
}
"""Of the numbers that each analyser sends over its wire, by rig file: `microwave_NAME.yaml`."""

SMALL_BOX = """\
schema: labctl/rig/1
name: small-box
time_scale: instant
instruments:
  box:
    driver: microwave.simulated
    box: {length: 0.6 m, width: 0.45 m, height: 20 mm, quality: 200, posts: 6}
    elements: {count: 32}
    vna: null
    drift: 0.0
    seed: 1
layers:
  cavity: {kind: simulated-microwave, cavity: box, frequencies: {start: 3.1 GHz, stop: 3.5 GHz, points: 4}, pass: 5 ms}
"""
SMALLER = {"columns: 10": "columns: 8", "points: 20}": "points: 4}"}


@contextmanager
def simulated_rig(name: str, folder: Path) -> Generator[Path]:
    """Serve the instruments of `microwave_NAME.yaml` and yield a copy in `folder` that leads to them.

    Beside it is box.yaml: the same cavity, computed.
    """
    text = (examples_folder() / "rigs" / f"microwave_{name}.yaml").read_text(encoding="utf-8")
    for old, new in SMALLER.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    rig, box = folder / f"{name}.yaml", folder / "box.yaml"
    rig.write_text(text, encoding="utf-8")
    box.write_text(SMALL_BOX, encoding="utf-8")
    with simulated(load_rig(rig), load_rig(box), {}) as served:
        data: Any = yaml.safe_load(text)
        for instrument, settings in served.items():
            data["instruments"][instrument] |= {**settings, "simulated": True}
        rig.write_text(yaml.safe_dump(data), encoding="utf-8")
        yield rig
