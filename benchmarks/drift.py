"""What drift does to a trained network and what becomes of it: undone, told from another medium, mapped, re-measured.

A model is trained on a simulated cavity or fibre, physics alone. Then the bench is disturbed and the model is tested
with fresh passes, once with what the guard does about it and once without. Points are those of test accuracy lost
against the same model on the bench as it was; low and high are 95 % intervals of their mean over seeds, each a training
and a disturbance of its own.

The fibre is a measured transmission matrix T; sqrt(0.7) T + sqrt(0.3) N has 30 % of its power decorrelated, N being
complex normal numbers of the same power. `drift.fibre_bent` is the same fibre measured when it was squeezed: a
correlation of 0.85, 28 % of its power.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from labctl_simulators.faults import FaultPlan, FaultyLayer
from numpy.typing import NDArray

from benchmarks.harness import DATA, ROOT, Row, Target, over_draws
from labctl.config.loading import load_experiment
from labctl.contract.clock import SimulatedClock
from labctl.contract.layer import Drives, PhysicalLayer, Responses, RowIds, Stop
from labctl.learning.rule import Metrics
from labctl.orchestrator.assembly import Bench, Task, build_bench, build_task
from labctl.orchestrator.counters import Counters
from labctl.orchestrator.inference import evaluate, load_trained
from labctl.orchestrator.runs import begin_run
from labctl.orchestrator.session import pinned_arithmetic, train_and_test
from labctl.orchestrator.stopping import StopRequest
from labctl.record.folder import LOG_NAME
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.rig.rig import opened

EXPERIMENTS = ROOT / "configs" / "experiments"
PHYSICS_ALONE = ("network.blocks.0.skip=false", "training.epochs=30", "report.baselines=[]")
DRIFTED = ("gain", "offset", "gain and offset")
HALF_A_POINT, A_POINT, ALL = Target("<=", 0.5), Target("<=", 1.0), Target(">=", 1.0)
DEAD = "mic-b 395 Hz"
CHANGED_AT = 12_000
"""Of 14,380 training passes."""

FIBRE = DATA / "measured" / "mmf_tm_110modes.npz"
MOVED = ("kind: moved, distance: 10 cm",)
WARMER_AND_COLDER = ("kind: temperature, temperature: 18 °C", "kind: temperature, temperature: 22 °C")
DECORRELATED = 0.3
BENT = 5
"""The deformation that leaves a correlation of 0.85."""

Told = Sequence[Mapping[str, Any]]
"""What the guard noted, look by look."""


@dataclass(frozen=True)
class Bed:
    """What a model is trained on: an experiment file with changes, and noise of every pass as a share of its rms."""

    experiment: Path
    references: int = 8
    noise: float = 0.0
    changes: tuple[str, ...] = ()

    def settings(self, seed: int) -> tuple[str, ...]:
        """Return the changes for one seed."""
        once = ("drift.every=100000", f"drift.references={self.references}")
        return (f"seed={seed}", *PHYSICS_ALONE, *once, *self.changes)


CAVITY = Bed(EXPERIMENTS / "quickstart.yaml")
NOISY_CAVITY = replace(CAVITY, references=16, noise=0.05)
FIBRE_BED = Bed(EXPERIMENTS / "digits_fibre.yaml")


@dataclass(frozen=True)
class Trained:
    """A run with its accuracy in percent, and the rms of its responses by channel (C,)."""

    bed: Bed
    seed: int
    run: Path
    accuracy: float
    rms: NDArray[np.float64]
    passes: int


class Silent:
    """A monitor that shows nothing."""

    def rows_done(self, counters: Counters) -> None:
        """Say nothing."""

    def epoch_done(self, epoch: int, metrics: Metrics) -> None:
        """Say nothing."""

    def test_begins(self) -> None:
        """Say nothing."""


class Noisy:
    """A layer with noise (C,) on every response, drawn by the id of its row."""

    def __init__(self, layer: PhysicalLayer, noise: NDArray[np.float64]) -> None:
        self._layer = layer
        self._noise = noise
        self.info = layer.info
        self.open, self.make_safe, self.close = layer.open, layer.make_safe, layer.close

    @property
    def state_id(self) -> str:
        """That of the layer."""
        return self._layer.state_id

    def measure(self, drives: Drives, ids: RowIds, *, stop: Stop) -> Iterator[Responses]:
        """Yield what the layer answers, with noise."""
        for chunk in self._layer.measure(drives, ids, stop=stop):
            drawn = [np.random.default_rng([5, int(number)]).normal(size=len(self._noise)) for number in chunk.ids]
            noisy = chunk.values + np.array(drawn).reshape(chunk.values.shape) * self._noise
            yield replace(chunk, values=noisy.astype(chunk.values.dtype))


def measure(quick: bool) -> Iterator[Row]:
    """Yield the rows on drift."""
    seeds = range(1, 2 if quick else 4)
    with tempfile.TemporaryDirectory() as name, pinned_arithmetic():
        folder = Path(name)
        right: list[bool] = []
        models = [trained(CAVITY, seed, folder) for seed in seeds]
        yield over_draws("drift.undisturbed", [model.accuracy for model in models], "% right")
        for case, of in (("gain10", _gain(0.1)), ("gain20", _gain(0.2)), ("offset", _offset)):
            yield undone(case, models, of, right)
        yield dead(models)
        fibres = [trained(FIBRE_BED, seed, folder) for seed in seeds]
        yield mapped("fibre", fibres, lambda seed: [f"medium.path={_decorrelated(seed, folder)}"], right)
        yield mapped("fibre_bent", fibres, lambda _: [f"medium.deformation={BENT}"], right)
        for case, media in (("kelvin", WARMER_AND_COLDER), ("moved", MOVED)):
            yield measured_again(case, models, media, right, folder)
        noisy = [trained(NOISY_CAVITY, seed, folder, models[0].rms) for seed in seeds]
        yield undone("gain20_noise5", noisy, _gain(0.2), right)
        row = Row("drift.told_right", float(np.mean(right)), None, None, len(right), "share")
        yield replace(row, aim=row.held_against(ALL))


def undone(case: str, models: Sequence[Trained], of: "Disturb", right: list[bool]) -> Row:
    """Return what is lost after a look at a drifted bench; whether the look told drift is added to `right`."""
    tests = [tested(model, of(model)) for model in models]
    ignored = [tested(model, of(model), "drift.on_drift=note")[1] for model in models]
    right += [told[-1]["verdict"] in DRIFTED for told, _ in tests]
    baselines = {"ignored": _mean_lost(models, ignored), "reference_passes": float(models[0].bed.references)}
    row = over_draws(f"drift.{case}", _lost(models, [accuracy for _, accuracy in tests]), "points", baselines)
    return replace(row, aim=row.held_against(HALF_A_POINT))


def dead(models: Sequence[Trained]) -> Row:
    """Return how often a dead channel is named and masked, and what is lost then."""
    channels = [{"kind": "dead", "row": 0, "channel": DEAD}]
    tests = [tested(model, channels) for model in models]
    ignored = [tested(model, channels, "drift.on_dead=note")[1] for model in models]
    named = [told[-1].get("dead") == [DEAD] and told[-1]["action"] == "mask" for told, _ in tests]
    lost = {"lost_points": _mean_lost(models, [accuracy for _, accuracy in tests])}
    lost["lost_points_ignored"] = _mean_lost(models, ignored)
    row = Row("drift.dead", float(np.mean(named)), None, None, len(named), "share named and masked", lost)
    return replace(row, aim=row.held_against(ALL))


def measured_again(case: str, models: Sequence[Trained], media: Sequence[str], right: list[bool], folder: Path) -> Row:
    """Return what is lost when the medium becomes one of `media`, by seed, near the end, and all is measured again.

    The price is in passes of such a run more than of one without. Beside it: the trained model on the changed medium,
    nothing done, and with the responses mapped from stored rows.
    """
    again: list[Trained] = []
    changed = [media[model.seed % len(media)] for model in models]
    for model, medium in zip(models, changed, strict=True):
        changes = (_in_box(medium, CHANGED_AT), "drift.on_remixed=re-measure", "drift.every=1000")
        bed = replace(model.bed, changes=(*model.bed.changes, *changes))
        again.append(trained(bed, model.seed, folder / case))
        right.append("re-mixed" in {told["verdict"] for told in _told(again[-1].run)})
    ignored, maps = (
        [
            tested(model, (), _in_box(medium, 0), f"drift.on_remixed={action}")
            for model, medium in zip(models, changed, strict=True)
        ]
        for action in ("note", "map")
    )
    right += [told[-1]["verdict"] == "re-mixed" for told, _ in ignored]
    baselines = {
        "ignored": _mean_lost(models, [accuracy for _, accuracy in ignored]),
        "price_passes": float(np.mean([new.passes - old.passes for new, old in zip(again, models, strict=True)])),
        "mapped": _mean_lost(models, [accuracy for _, accuracy in maps]),
        "price_passes_of_map": float(np.mean([_spent(told) for told, _ in maps])),
    }
    lost = _lost(models, [each.accuracy for each in again])
    row = over_draws(f"drift.{case}", lost, "points", baselines)
    return replace(row, aim=row.held_against(A_POINT))


def mapped(case: str, models: Sequence[Trained], changes: Callable[[int], list[str]], right: list[bool]) -> Row:
    """Return what is lost when responses of a changed fibre are mapped back from stored frames."""

    def of_fibre(seed: int) -> list[str]:
        return [f"rig.layers.fibre.{change}" for change in changes(seed)]

    maps = [tested(model, (), *of_fibre(model.seed), "drift.on_remixed=map") for model in models]
    ignored = [tested(model, (), *of_fibre(model.seed), "drift.on_remixed=note")[1] for model in models]
    right += [{look["verdict"] for look in told} <= {"re-mixed", "baseline"} for told, _ in maps]
    looks = [look for told, _ in maps for look in told if "explained" in look]
    baselines = {
        "ignored": _mean_lost(models, ignored),
        "stored_frames": float(max(look["passes"] for look in looks)),
        "explained": float(np.mean([look["explained"] for look in looks])),
    }
    lost = _lost(models, [accuracy for _, accuracy in maps])
    row = over_draws(f"drift.{case}", lost, "points", baselines)
    return replace(row, aim=row.held_against(A_POINT))


def trained(bed: Bed, seed: int, folder: Path, rms: NDArray[np.float64] | None = None) -> Trained:
    """Train on a bench that nobody disturbs, unless its changes do."""
    loaded = load_experiment(bed.experiment, bed.settings(seed))
    bench = _noisy(build_bench(loaded), bed, rms)
    task = build_task(loaded, bench.infos)
    folder.mkdir(exist_ok=True)
    with opened(bench.rigs.values()):
        run, log = begin_run(loaded, bench, task, folder)
        with log:
            outcome = train_and_test(task, bench, log, Silent(), StopRequest())
    with LogReader(run / LOG_NAME) as reader:
        values = reader.rows(0, 2000, block=0, drives=False).values
        passes = sum(reader.count_by_purpose().values())
    own = np.sqrt((values.astype(np.float64) ** 2).mean(axis=0)) if rms is None else rms
    return Trained(bed, seed, run, 100 * outcome.evaluation.accuracy, own, passes)


def tested(model: Trained, channels: Sequence[Mapping[str, Any]], *changes: str) -> tuple[Told, float]:
    """Return what the guard told on a disturbed bench, and the accuracy of the model there in percent."""
    changed = load_experiment(model.bed.experiment, (*model.bed.settings(model.seed), *changes))
    bench = disturbed(_noisy(build_bench(changed), model.bed, model.rms), channels, model.seed)
    task: Task = build_task(changed, bench.infos)
    with LogReader(model.run / LOG_NAME) as reader:
        load_trained(task, reader)
    before = len(_told(model.run))
    with opened(bench.rigs.values()), PassLog.open_for_append(model.run / LOG_NAME) as log:
        evaluation = evaluate(task, bench, log, StopRequest())
    return _told(model.run)[before:], 100 * evaluation.accuracy


def disturbed(bench: Bench, channels: Sequence[Mapping[str, Any]], seed: int) -> Bench:
    """Return `bench` with the channels of its one layer disturbed."""
    if not channels:
        return bench
    plan = FaultPlan.model_validate({"seed": seed, "disturbances": channels})
    return _with(bench, FaultyLayer(bench.layers[0], plan, SimulatedClock(float("inf"))))


Disturb = Callable[[Trained], Sequence[Mapping[str, Any]]]


def _gain(spread: float) -> Disturb:
    return lambda _: [{"kind": "gain", "row": 0, "spread": spread}]


def _offset(model: Trained) -> Sequence[Mapping[str, Any]]:
    """Return an offset of 10 % of the rms of the responses."""
    return [{"kind": "offset", "row": 0, "spread": 0.1 * float(np.sqrt((model.rms**2).mean()))}]


def _in_box(medium: str, row: int) -> str:
    return f"rig.instruments.interface.faults={{disturbances: [{{row: {row}, {medium}}}]}}"


def _decorrelated(seed: int, folder: Path) -> Path:
    """Write the matrix of a fibre that shares 70 % of its power with the one at rest."""
    with np.load(FIBRE) as measured:
        at_rest: NDArray[np.complex64] = measured["tm"][0]
    parts = np.random.default_rng(seed).standard_normal((2, *at_rest.shape))
    other: NDArray[np.complex128] = parts[0] + 1j * parts[1]
    other *= np.linalg.norm(at_rest) / np.linalg.norm(other)
    mixed: NDArray[np.complex128] = np.sqrt(1 - DECORRELATED) * at_rest + np.sqrt(DECORRELATED) * other
    file = folder / f"decorrelated-{seed}.npz"
    np.savez(file, tm=mixed[None].astype(np.complex64))
    return file


def _noisy(bench: Bench, bed: Bed, rms: NDArray[np.float64] | None) -> Bench:
    return bench if rms is None or not bed.noise else _with(bench, Noisy(bench.layers[0], bed.noise * rms))


def _with(bench: Bench, layer: PhysicalLayer) -> Bench:
    rigs = {role: replace(rig, layers=dict.fromkeys(rig.layers, layer)) for role, rig in bench.rigs.items()}
    return Bench(rigs, (layer,))


def _told(run: Path) -> Told:
    with LogReader(run / LOG_NAME) as reader:
        return [event.detail for event in reader.events() if event.kind == "drift"]


def _spent(told: Told) -> int:
    return sum(look["passes"] for look in told)


def _lost(models: Sequence[Trained], accuracies: Sequence[float]) -> list[float]:
    return [model.accuracy - accuracy for model, accuracy in zip(models, accuracies, strict=True)]


def _mean_lost(models: Sequence[Trained], accuracies: Sequence[float]) -> float:
    return float(np.mean(_lost(models, accuracies)))
