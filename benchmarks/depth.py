"""Does depth pay? Three blocks against one that has as many trainable weights, on the same simulated hardware.

Each pair of a system and a data set is trained with the schedules `joint` and `greedy`, over splits of the data: with
skips past the layers, with skips from the input to all blocks, and without. All have the same number of epochs:
`greedy` gives them to one block after the other.
"""

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import harness
from benchmarks.harness import ROOT, Row, over_draws, run_experiment
from labctl.config.loading import load_experiment
from labctl.orchestrator.assembly import build_bench, build_task

EPOCHS = 30
DEPTH = 3
SCHEDULES = ("joint", "greedy")
SKIPS = {"skip": ("true", "true"), "physics": ("false", "false"), "input": ("true", "input")}
"""What the weights of the first block and of those behind it see beside the responses: what was encoded for that block,
nothing, or what entered the network, which the first block encodes."""

EXPERIMENT = """\
schema: labctl/experiment/1
name: depth
rig: RIG
seed: 0
data: DATA
network:
  label: LABEL
  blocks:
BLOCKS
training:
  {rule: phyll, schedule: joint, epochs: 30, theta: 10, inner_steps: 5,
   optimizer: {kind: adam, lr: 2e-3, decay: cosine}}
report: {baselines: [], page: false}
"""
VOWELS = (
    f"{{source: csv, path: {harness.DATA / 'phyll_acoustic' / 'vowels_258.csv'}, label: vowel, test_fraction: 0.2, "
    "features: [F1_ss, F2_ss, F3_ss, F1_20, F2_20, F3_20, F1_50, F2_50, F3_50, F1_80, F2_80, F3_80], "
    "normalise: standard}"
)
MIXED = "{kind: fitted-range, mix: orthogonal}"


@dataclass(frozen=True)
class Pair:
    """A system and data: `layers` of the first, second and third block, `units` of each of three."""

    rig: str
    layers: Sequence[str]
    data: str
    label: str
    encoder: str
    units: int


PAIRS: Mapping[str, Pair] = {
    "digits.fibre": Pair(
        "sim_fibre", ["fibre"] * DEPTH, "{source: digits, test_fraction: 0.2}", "{amplitude: 1.0}", MIXED, 60
    ),
    "vowels258.microwave": Pair(
        "sim_microwave",
        ["cavity", "cavity-31", "cavity-41"],
        VOWELS,
        "{amplitude: 1.5, pad: 1}",
        "{kind: quantile, cells: 2}",
        20,
    ),
    "vowels258.acoustic": Pair("sim_acoustic", ["cavity"] * DEPTH, VOWELS, "{amplitude: 1.0}", MIXED, 40),
}


def measure(quick: bool, pairs: Sequence[str] = tuple(PAIRS), kinds: Sequence[str] = tuple(SKIPS)) -> Iterable[Row]:
    """Yield a row per pair, schedule and kind of network."""
    seeds = range(2 if quick else 3)
    for name in pairs:
        for schedule in SCHEDULES:
            for kind in kinds:
                yield gain_row(name, schedule, kind, seeds)


def gain_row(name: str, schedule: str, kind: str, seeds: Sequence[int], *, epochs: int = EPOCHS) -> Row:
    """Return how many points of test accuracy three blocks are above one, paired over splits."""
    pair = PAIRS[name]
    with tempfile.TemporaryDirectory() as folder:
        desk = Path(folder)
        deep, flat = desk / "deep.yaml", desk / "flat.yaml"
        deep.write_text(_experiment(pair, SKIPS[kind], [pair.units] * DEPTH), encoding="utf-8")
        flat.write_text(_experiment(pair, SKIPS[kind], [1]), encoding="utf-8")
        units = round(_weights(deep) / _weights(flat))
        flat.write_text(_experiment(pair, SKIPS[kind], [units]), encoding="utf-8")
        weights = {"weights of three": float(_weights(deep)), "weights of one": float(_weights(flat))}
        changes = [f"training.schedule={schedule}", f"training.epochs={epochs}"]
        found = np.array([[_accuracy(file, desk, seed, changes) for file in (deep, flat)] for seed in seeds])
    three, one = found.T
    others = {"three blocks": float(three.mean()), "one block": float(one.mean()), **weights}
    return over_draws(f"depth.{name}.{schedule}.{kind}", (three - one).tolist(), "points", others)


def _experiment(pair: Pair, skips: tuple[str, str], units: Sequence[int]) -> str:
    first, later = skips
    blocks = "\n".join(
        f"    - {{layer: {layer}, encoder: {pair.encoder}, skip: {skip}, units: {own}}}"
        for layer, skip, own in zip(pair.layers, [first, *[later] * (DEPTH - 1)], units, strict=False)
    )
    text = EXPERIMENT.replace("RIG", str(ROOT / "configs" / "rigs" / f"{pair.rig}.yaml")).replace("BLOCKS", blocks)
    return text.replace("DATA", pair.data).replace("LABEL", f"{{kind: one-hot, {pair.label[1:]}")


def _weights(file: Path) -> int:
    """Return how many weights an experiment trains."""
    loaded = load_experiment(file, [])
    task = build_task(loaded, build_bench(loaded).infos)
    return sum(block.weights.size for block in task.rule.network.blocks)


def _accuracy(file: Path, desk: Path, seed: int, changes: Sequence[str]) -> float:
    result, _ = run_experiment(file, desk / "runs", [f"seed={seed}", f"data.split_seed={seed}", *changes])
    return 100 * float(result["accuracy"])


def main() -> None:
    """Run the command."""
    parser = harness.parser("Compare three blocks with one of as many weights.")
    parser.add_argument("--rows", nargs="+", metavar="PAIR", choices=list(PAIRS), default=list(PAIRS))
    parser.add_argument("--kinds", nargs="+", metavar="KIND", choices=list(SKIPS), default=list(SKIPS))
    arguments = parser.parse_args()
    spread = "mean and 95 % interval over splits"
    harness.run("depth", spread, arguments, lambda quick: measure(quick, arguments.rows, arguments.kinds))


if __name__ == "__main__":
    main()
