"""The hardware learns, too: its parameters are trained in place, and are there again when a run goes on."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from labctl.record.reader import LogReader
from tests.simulated_rig import SMALL_BOX, simulated_rig

if TYPE_CHECKING:
    from .conftest import Labctl

DRIVEN = "driven: [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30]"
BENCH = """\
schema: labctl/rig/1
name: bench
time_scale: instant
layers:
  cavity:
    kind: simulated-optics
    modulator: {modulation: {kind: phase, stroke_rad: 6.283185}, levels: 256}
    medium: {kind: gaussian, inputs: 16, outputs: 8, seed: 1}
    camera: {bits: 8, noise: 0.01, max_saturated: 0.9}
    tunable_bias: true
    seed: 1
    pass: 60 ms
"""
EXPERIMENT = """\
schema: labctl/experiment/1
name: tuned
rig: rig.yaml
seed: 7
data: {source: csv, path: wine.csv, label: cultivar, test_fraction: 0.3}
network:
  label: {kind: one-hot, amplitude: 1.0}
  blocks:
    - {layer: cavity, encoder: ENCODER, skip: true, units: 8}
training: {rule: phyll-spsa, epochs: 3, batch: 14, perturbation: 0.5, parameter_lr: 0.2}
report: {baselines: [], page: false}
"""


@pytest.fixture(params=["computed-surface", "computed-bias", "surface-on-the-wire"])
def bench(request: pytest.FixtureRequest, desk: Path) -> Iterator[str]:
    """Lay an experiment whose layer has parameters on the desk, and yield the name of a rig that has it."""
    kind = str(request.param)
    head, *rows = (desk / "wine.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    (desk / "wine.csv").write_text("".join([head, *rows[::3]]), encoding="utf-8")
    encoder = f"{{kind: {'fitted-range' if kind == 'computed-bias' else 'two-bit'}, mix: orthogonal}}"
    with ExitStack() as served:
        if kind == "computed-bias":
            (desk / "rig.yaml").write_text(BENCH, encoding="utf-8")
        elif kind == "computed-surface":
            box = SMALL_BOX.replace("cavity: box,", f"cavity: box, {DRIVEN},")
            (desk / "rig.yaml").write_text(box, encoding="utf-8")
        elif sys.platform == "win32":
            pytest.skip("pseudo-terminals need Linux or macOS")
        else:
            rig = served.enter_context(simulated_rig("keysight_pna", desk))
            text = rig.read_text(encoding="utf-8")
            assert "kind: microwave\n" in text
            (desk / "rig.yaml").write_text(text.replace("kind: microwave\n", f"kind: microwave\n    {DRIVEN}\n"))
        (desk / "tuned.yaml").write_text(EXPERIMENT.replace("ENCODER", encoder), encoding="utf-8")
        yield kind


def test_a_run_that_was_interrupted_ends_with_the_same_hardware(labctl: "Labctl", bench: str) -> None:
    """The run was stopped in mid-epoch. Are elements and phases set again as they were, before anything is measured?"""
    # Where instruments have a host, it takes an orchestrator that stands still, as a busy test process may, for hung.
    command = labctl if "wire" in bench else labctl.quick
    command("run", "tuned.yaml", "--json")
    command("run", "tuned.yaml", "--json", "--pass-limit", "260", code=5)
    command("resume", "latest", "--json")
    assert "equal bit for bit" in labctl.quick("runs", "verify", "latest").out
    whole, resumed = labctl.runs()
    assert (whole / "model" / "model.npz").read_bytes() == (resumed / "model" / "model.npz").read_bytes()
    states: list[list[str]] = []
    for run in (whole, resumed):
        with LogReader(run / "run.sqlite") as reader:
            states.append(reader.rows(0, 10_000, drives=False).state_ids.tolist())
    assert states[0] == states[1]
    assert len(set(states[0])) > 10, "the state of the hardware names its parameters"
