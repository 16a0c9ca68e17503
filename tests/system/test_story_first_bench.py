"""Her first evening at a bench: the quickstart of its system, by `--rig` alone, over the wires of a virtual one."""

import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labctl.record.reader import LogReader

if TYPE_CHECKING:
    from .conftest import Labctl

SHORTER = ("--set", "rig.layers.cavity.settle=40ms", "--set", "rig.layers.cavity.gap=20ms")
"""So that sound takes 46 s and not 80; too short for this box, as the run must say."""

QUICKSTARTS = [
    pytest.param("quickstart_microwave", "microwave_keysight_pna", 534, (), id="microwave"),
    pytest.param("quickstart_optics", "optics_window_basler", 178, (), id="optics"),
    pytest.param(
        "quickstart_acoustic",
        "acoustic_portaudio",
        178,
        SHORTER,
        id="acoustic",
        marks=pytest.mark.skipif(shutil.which("jackd") is None, reason="needs jackd"),
    ),
]
LEAST = 0.8
"""A third of her wines is of each cultivar."""

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="virtual benches need Linux or macOS")


@pytest.mark.parametrize(("experiment", "rig", "passes", "changes"), QUICKSTARTS)
def test_the_quickstart_of_every_system_trains_over_its_wire(
    labctl: "Labctl", desk: Path, experiment: str, rig: str, passes: int, changes: tuple[str, ...]
) -> None:
    labctl("init", "lab")
    going = labctl.start("simulate", f"lab/rigs/{rig}.yaml")
    assert going.process.stdout is not None
    assert any("Ctrl-C ends" in line for line in going.process.stdout)
    labctl("run", f"lab/experiments/{experiment}.yaml", "--rig", f"lab/rigs/{rig}-simulated.yaml", *changes)
    going.send(signal.SIGTERM)
    going.ends(0)
    (run,) = labctl.runs()
    with LogReader(run / "run.sqlite") as reader:
        events = {event.kind: event.detail for event in reader.events()}
        assert sum(reader.count_by_purpose().values()) - sum(reader.rejected().values()) == passes
    assert events["test"]["accuracy"] > LEAST
    if changes:
        assert events["unwell"]["subject"] == "carry-over"
        assert "of a burst is left in the next" in (run / "run.log").read_text(encoding="utf-8")
        page = (run / "report.html").read_text(encoding="utf-8")
        assert "Beware: cavity, carry-over" in page
    else:
        assert "unwell" not in events
