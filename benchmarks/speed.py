"""How fast labctl computes: the update of a block beside PyTorch's, the simulated layers, memory over many epochs.

`speed.update.ROWSxFEATURESxUNITS` is one PhyLL update (gradient of the pair loss through the weights and the bias, then
Adam) in float32, with the rows of one batch, positive and negative passes together: 206 rows are 103 pairs. Its value
is PyTorch's time over labctl's (`training.arithmetic: fused`), both on one thread and measured in turns; of the ways
to write it in PyTorch (benchmarks/torch_update.py) the one with the smallest median is taken. PyTorch is no dependency
of labctl: install it beside labctl (`pip install torch`), else these rows are left out. Beside the value stand the same
against PyTorch's Adam as it comes, without `foreach` or `fused`, and what would be reached if an update were its two
matrix products and nothing else.

`speed.threads.ROWSxFEATURESxUNITS` is the time of the same update on one thread over that on two: what a second thread
would bring to a run, where a second run on it brings 2. `speed.sim.*` are passes through the layers of configs/rigs as
they are, noise and camera included, on one thread, per second of wall time; beside it the same per second of processor
time, which other load on the machine lowers less. `speed.memory_growth_mb` is by how much resident memory grows over 50
epochs of a recorded training, in a process of its own, after 100 in which SQLite's caches fill; beside it stands the
growth while they do, from epoch 20 on.
"""

import gc
import mmap
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from typing_extensions import override

from benchmarks import harness, torch_update
from benchmarks.harness import Row, over_repeats
from labctl.config.loading import load_rig
from labctl.config.network import Network as NetworkSettings
from labctl.config.training import PhyllTraining
from labctl.contract.layer import Drives, LayerInfo, Levels, PhysicalLayer
from labctl.learning.offers import Offer
from labctl.learning.phyll import Phyll
from labctl.learning.rule import Metrics, Surroundings
from labctl.learning.update import BlockUpdate, make_update
from labctl.network.block import Block
from labctl.network.network import build_network
from labctl.orchestrator.acquisition import Acquisition
from labctl.orchestrator.schedules import Joint
from labctl.orchestrator.session import pinned_arithmetic
from labctl.orchestrator.training import Observer, Training
from labctl.record.writer import PassLog
from labctl.rig.rig import build_rig, opened
from labctl.testing.layers import InstantLayer

SHAPES = ((206, 40, 20), (1000, 676, 676), (1000, 1794, 1000), (256, 4096, 4096))
"""Rows of a batch, features and units of a block."""

THETA, LR = 4.0, 5e-4

RIGS = harness.ROOT / "configs" / "rigs"
SIMULATED = {"acoustic": "sim_acoustic.yaml", "microwave": "sim_microwave.yaml", "optics": "sim_optics.yaml"}
LAYERS = {"acoustic": "cavity", "microwave": "cavity", "optics": "bench"}

COLD_EPOCHS, WARM_UP_EPOCHS, EPOCHS = 20, 100, 50

Shape = tuple[int, int, int]


class Times(NamedTuple):
    """Microseconds (repeats,) of wall and of processor time."""

    wall: NDArray[np.float64]
    processor: NDArray[np.float64]


def labctl_update(shape: Shape, arithmetic: str) -> Callable[[], None]:
    """Return the update of a block in labctl's own arithmetic, `numpy` or `fused`."""
    weights, features, reference = drawn(shape)
    update = updater(block_of(weights, reference), arithmetic)

    def step() -> None:
        update.train(features, 0.0)

    return step


def updater(block: Block, arithmetic: str) -> BlockUpdate:
    """Return what updates a block, one step at a time."""
    settings = {"rule": "phyll", "epochs": 1, "inner_steps": 1, "theta": THETA, "arithmetic": arithmetic}
    return make_update(PhyllTraining.model_validate(settings | {"optimizer": {"lr": LR}}), block, 2)


def drawn(shape: Shape) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Draw weights (units, d + 1) with the bias, features (rows, d + 1) with the constant, and a reference (units,)."""
    rows, width, units = shape
    rng = np.random.default_rng(0)
    weights = (rng.uniform(-1, 1, (units, width + 1)) / np.sqrt(width)).astype(np.float32)
    features = rng.standard_normal((rows, width + 1)).astype(np.float32)
    features[:, -1] = 1
    reference = rng.standard_normal(units)
    return weights, features, (reference / np.linalg.norm(reference)).astype(np.float32)


def block_of(weights: NDArray[np.float32], reference: NDArray[np.float32]) -> Block:
    """Return a block with these weights (units, d + 1)."""
    units, width = weights.shape
    described = {"layer": "instant", "encoder": "direct", "skip": False, "units": units}
    network = build_network(
        NetworkSettings.model_validate({"label": {"kind": "none"}, "blocks": [described]}),
        [InstantLayer(1, width - 1).info],
        n_features=1,
        n_classes=2,
        seed=0,
        precision="float32",
    )
    (block,) = network.blocks
    block.weights, block.reference = weights, reference
    return block


def in_turns(updates: Mapping[str, Callable[[], None]], *, repeats: int, block_s: float) -> dict[str, Times]:
    """Return microseconds per call of each update over `repeats` blocks of about `block_s`, taken in turns."""
    calls: dict[str, int] = {}
    for name, update in updates.items():
        _us(update, 2)
        calls[name] = max(1, int(block_s * 1e6 / _us(update, 1)[0]))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in updates}
    for _ in range(repeats):
        for name, update in updates.items():
            times[name].append(_us(update, calls[name]))
    return {name: Times(*np.array(values).T) for name, values in times.items()}


def _us(update: Callable[[], None], calls: int) -> tuple[float, float]:
    """Return microseconds of wall and of processor time per call."""
    begin_s, begin_processor_s = time.perf_counter(), time.process_time()
    for _ in range(calls):
        update()
    spent = time.perf_counter() - begin_s, time.process_time() - begin_processor_s
    return spent[0] / calls * 1e6, spent[1] / calls * 1e6


def update_row(shape: Shape, *, repeats: int, block_s: float) -> Row:
    """Return the row on one shape: PyTorch's time over labctl's, repeat by repeat."""
    weights, features, reference = drawn(shape)
    own = {f"labctl_{arithmetic}": labctl_update(shape, arithmetic) for arithmetic in ("fused", "numpy")}
    own["products"] = matrix_products(weights, features)
    rivals = torch_update.rivals(weights, features, reference, THETA, LR)
    steps = own | {name: rival.step for name, rival in rivals.items()}
    times = in_turns(steps, repeats=repeats, block_s=block_s)
    medians = {name: float(np.median(each.wall)) for name, each in times.items()}
    ranked = sorted(rivals, key=medians.__getitem__)
    torch, fused, plain = times[ranked[0]], times["labctl_fused"], times["labctl_numpy"]
    low, median, high = np.quantile(torch.wall / fused.wall, (0.025, 0.5, 0.975)).tolist()
    as_it_comes = min(medians[name] for name in rivals if name.startswith("adam_bias"))
    by_processor = {name: float(np.median(each.processor)) for name, each in times.items()}
    baselines = {
        "of_labctl_numpy": float(np.median(torch.wall / plain.wall)),
        "of_matrix_products_alone": float(np.median(torch.wall / times["products"].wall)),
        "against_adam_as_it_comes": as_it_comes / medians["labctl_fused"],
        "by_processor_time": min(by_processor[name] for name in rivals) / by_processor["labctl_fused"],
        "labctl_fused_us": medians["labctl_fused"],
        "labctl_numpy_us": medians["labctl_numpy"],
        **{f"torch_{name}_us": medians[name] for name in ranked},
    }
    return Row(_row_id("update", shape), median, low, high, repeats, "torch/labctl", baselines)


def matrix_products(weights: NDArray[np.float32], features: NDArray[np.float32]) -> Callable[[], None]:
    """Return the two matrix products of an update: outputs of all rows, and the gradient from what became of them."""
    outputs, gradient = np.empty((len(weights), len(features)), np.float32), np.empty_like(weights)

    def step() -> None:
        np.dot(weights, features.T, out=outputs)
        np.dot(outputs, features, out=gradient)

    return step


def threads_row(shape: Shape, *, repeats: int, block_s: float) -> Row:
    """Return the row on a second thread for the matrix products of an update of one shape."""
    update = labctl_update(shape, "fused")

    def on(threads: int) -> Callable[[], None]:
        def step() -> None:
            with threadpool_limits(threads):
                update()

        return step

    times = in_turns({"one": on(1), "two": on(2)}, repeats=repeats, block_s=block_s)
    low, median, high = np.quantile(times["one"].wall / times["two"].wall, (0.025, 0.5, 0.975)).tolist()
    baselines = {f"{name}_us": float(np.median(each.wall)) for name, each in times.items()}
    return Row(_row_id("threads", shape), median, low, high, repeats, "1 thread/2", baselines)


def _row_id(figure: str, shape: Shape) -> str:
    return f"speed.{figure}.{'x'.join(map(str, shape))}"


def passes_per_s(layer: PhysicalLayer, drives: Drives) -> tuple[float, float]:
    """Return the passes per second of wall and of processor time that an open layer answers to `drives`."""
    rows = len(drives)
    begin_s, begin_processor_s = time.perf_counter(), time.process_time()
    answered = sum(len(chunk.ids) for chunk in layer.measure(drives, np.arange(rows), stop=threading.Event()))
    wall_s, processor_s = time.perf_counter() - begin_s, time.process_time() - begin_processor_s
    assert answered == rows
    return rows / wall_s, rows / processor_s


def drives_of(info: LayerInfo, rows: int) -> Drives:
    """Draw drives (rows, n_inputs) evenly from each input's range, or from its levels."""
    low, high = (np.array(ends) for ends in zip(*((channel.low, channel.high) for channel in info.inputs), strict=True))
    share = np.random.default_rng(0).random((rows, len(low)))
    return Levels(info.inputs).nearest((low + (high - low) * share).astype(np.float32))


def sim_row(name: str, *, rows: int, repeats: int) -> Row:
    """Return the row on the layer of one simulated rig."""
    rig = build_rig(load_rig(RIGS / SIMULATED[name]))
    layer = rig.layers[LAYERS[name]]
    drives = drives_of(layer.info, rows)
    with opened([rig]):
        passes_per_s(layer, drives)
        speeds = np.array([passes_per_s(layer, drives) for _ in range(repeats)])
    if name == "acoustic":
        speeds *= layer.info.nominal_pass_s
        row, unit = "speed.sim.acoustic_x_realtime", "x"
    else:
        row, unit = f"speed.sim.{name}_passes_per_s", "passes/s"
    wall, processor = speeds.T.tolist()
    return over_repeats(row, wall, unit, {"per_processor_time": float(np.median(processor))})


class MemoryWatch(Observer):
    """Notes the resident memory, garbage collected, when the warm-up and when all epochs are over."""

    def __init__(self) -> None:
        self.resident_mb: dict[int, float] = {}

    @override
    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """Look at memory."""
        if epoch in (COLD_EPOCHS, WARM_UP_EPOCHS, WARM_UP_EPOCHS + EPOCHS):
            gc.collect()
            self.resident_mb[epoch] = resident_mb()


def resident_mb() -> float:
    """Return the resident memory of this process in MB; Linux alone says it without a package."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * mmap.PAGESIZE / 1e6


def memory_growth_mb(arithmetic: str) -> tuple[float, float]:
    """Return the growth of resident memory over a recorded training of 200 samples, warm and while warming up."""
    n, width, classes = 200, 20, 5
    rng = np.random.default_rng(0)
    layer, watch = InstantLayer(width, width), MemoryWatch()
    block = {"layer": "instant", "encoder": "fitted-range", "skip": True, "units": width}
    network = build_network(
        NetworkSettings.model_validate({"label": {"kind": "one-hot"}, "blocks": [block]}),
        [layer.info],
        n_features=width - classes,
        n_classes=classes,
        seed=0,
        precision="float32",
    )
    settings = {"rule": "phyll", "epochs": WARM_UP_EPOCHS + EPOCHS, "arithmetic": arithmetic}
    rule = Phyll(PhyllTraining.model_validate(settings), network, Surroundings(0, [layer.info], [Offer()]))
    with (
        pinned_arithmetic(),
        tempfile.TemporaryDirectory() as folder,
        PassLog.create(Path(folder) / "passes.sqlite", {"schema": "benchmark"}) as log,
    ):
        acquisition = Acquisition(network, [layer.info], [layer], record=log)
        Training(
            rule,
            Joint(acquisition),
            acquisition,
            features=rng.random((n, width - classes), dtype=np.float32),
            labels=rng.integers(classes, size=n),
            samples=np.arange(n),
            seed=0,
            stages=[range(1)],
            record=log,
            observer=watch,
        ).run()
    cold_mb, warm_mb, end_mb = watch.resident_mb.values()
    return end_mb - warm_mb, warm_mb - cold_mb


def memory_row(*, repeats: int) -> Row:
    """Return the row on memory; every training has a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        warm, warming = zip(*processes.map(memory_growth_mb, ["numpy"] * repeats), strict=True)
    return over_repeats("speed.memory_growth_mb", list(warm), "MB", {"while_caches_fill": float(np.median(warming))})


def measure(*, quick: bool) -> list[Row]:
    """Return all rows."""
    repeats, block_s = (11, 0.02) if quick else (41, 0.1)
    rows: list[Row] = []
    with pinned_arithmetic():
        if torch_update.INSTALLED:
            rows += [update_row(shape, repeats=repeats, block_s=block_s) for shape in SHAPES]
        else:
            print("no rows speed.update.*: PyTorch is not installed beside labctl", file=sys.stderr)
        rows += [threads_row(shape, repeats=repeats, block_s=block_s) for shape in SHAPES]
        sizes = {"acoustic": 200, "microwave": 2_000, "optics": 5_000}
        rows += [sim_row(name, rows=n, repeats=5 if quick else 25) for name, n in sizes.items()]
    if sys.platform == "linux":
        rows.append(memory_row(repeats=1 if quick else 5))
    return rows


def main() -> None:
    """Run the command."""
    harness.run(
        "speed",
        "medians; low and high are 2.5 and 97.5 % of the repeats for ratios, the extremes for others",
        harness.parser("Measure how fast labctl computes.").parse_args(),
        lambda quick: measure(quick=quick),
    )


if __name__ == "__main__":
    main()
