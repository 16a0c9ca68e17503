"""What is learnt: test accuracy over named splits, seeds and media, with baselines, paired differences and its price.

Each figure comes from `labctl run EXPERIMENT --json`, that is from fresh passes through the trained network. Baselines
and differences are of the same splits and seeds. Beside the baselines of the run itself stands `untrained`: the same
network on the same rig, its random weights as they are drawn and no label in the drive, under the rule `readout`.

`--full --keep DIR --json FILE` may be interrupted and started again: what is kept in DIR is not measured a second time.
With `--rows` only these are measured; the others stay in FILE as they are.
"""

import hashlib
import json
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from benchmarks.harness import Row, Target, in_words, over_draws, over_repeats, run_experiment
from labctl.config import experiment as experiment_settings
from labctl.config.loading import load_experiment
from labctl.config.training import ContrastivePhyllTraining
from labctl.data.load import load_dataset, prepare
from labctl.record.folder import LOG_NAME
from labctl.record.reader import LogReader
from labctl.report.linear import predict_linearly
from labctl.report.rivals import NOT_TRAINING

EXPERIMENTS = harness.ROOT / "configs" / "experiments"
BASELINES = {
    "linear": "linear model",
    "skip-only": "skip only",
    "untrained": "untrained features",
    "linear-map": "linear map",
    "linear-map-modulus": "its modulus",
    "shuffled": "shuffled",
}
"""Baselines by the name in the JSON, and their headings for people."""

BASELINES_OF_RUN = experiment_settings.BASELINES
"""Baselines that a run reports of itself."""

FIGURES = ("accuracy", "minus_linear", "minus_skip_only", "training_passes", "hardware_hours")

POINTS = "percentage points"

Result = Mapping[str, Any]
"""What `labctl run --json` prints, with `training_passes`, `seconds` and the `commit` that measured it."""


@dataclass(frozen=True)
class Case:
    """An experiment file and the draws it is measured over: `varied` are the keys that are set to each of `seeds`.

    `targets` are what its figures are to reach. `figure` is the only figure that is asked for, unless all of them are.
    Where every baseline takes as long as the run itself, only those in `every` are of every draw, the others of the
    first, or of none where one figure alone is asked for. The linear model sees nothing but the data, and is one for
    all draws where these leave the data alone. `untrained` are further arguments of `--set` for the untrained network.
    """

    id: str
    title: str
    experiment: Path
    varied: tuple[str, ...]
    seeds: range
    over: str
    targets: Mapping[str, Target] = field(default_factory=dict[str, Target])
    quick: bool = False
    figure: str | None = None
    every: tuple[str, ...] | None = None
    untrained: tuple[str, ...] = ()

    def row_id(self, figure: str) -> str:
        """Return the id of the row of one figure; the accuracy's is the case's own."""
        return self.id if figure in ("accuracy", self.figure) else f"{self.id}.{figure}"

    def draw(self, seed: int) -> list[str]:
        """Return the arguments of `--set` for one draw."""
        return [f"{key}={seed}" for key in self.varied]

    @property
    def draws_data(self) -> bool:
        """Whether the draws differ in their data."""
        return any(key.startswith("data.") for key in self.varied)

    def fewer_baselines(self, seed: int) -> list[str]:
        """Return the arguments of `--set` that leave out the baselines that the run of this draw does without."""
        whole = self.every is None or (seed == self.seeds[0] and self.figure is None)
        named = BASELINES_OF_RUN if whole else self.every or ()
        wanted = [name for name in named if name != "linear" or self.draws_data]
        return [] if tuple(wanted) == BASELINES_OF_RUN else [f"report.baselines=[{', '.join(wanted)}]"]


_SPLIT = ("data.split_seed",)
_SPLIT_AND_BOX = ("data.split_seed", "rig.instruments.box.seed")
_SEED_AND_MEDIUM = ("seed", "rig.layers.bench.medium.seed")

CASES = (
    Case(
        "vowels919.acoustic.skip",
        "919 vowels, unheard speakers, acoustic cavity",
        EXPERIMENTS / "vowels919_acoustic.yaml",
        _SPLIT,
        range(10),
        "splits",
        {"minus_linear": Target(">=", 0.0)},
        quick=True,
    ),
    Case(
        "vowels258.recorded.skip",
        "258 vowels, surrogate of the recorded cavity",
        EXPERIMENTS / "vowels258_recorded.yaml",
        _SPLIT,
        range(20),
        "splits",
        {"accuracy": Target(">=", 0.975), "training_passes": Target("<=", 3612)},
        quick=True,
    ),
    Case(
        "digits.acoustic",
        "digits, acoustic cavity",
        EXPERIMENTS / "digits_acoustic.yaml",
        _SPLIT,
        range(10),
        "splits",
        {"accuracy": Target(">=", 0.975)},
        quick=True,
    ),
    Case(
        "digits.fibre",
        "digits, measured fibre",
        EXPERIMENTS / "digits_fibre.yaml",
        _SPLIT,
        range(10),
        "splits",
        {"accuracy": Target(">=", 0.975)},
        quick=True,
    ),
    Case(
        "vowels258.microwave",
        "258 vowels, metasurface cavity",
        EXPERIMENTS / "vowels258_microwave.yaml",
        _SPLIT_AND_BOX,
        range(1, 11),
        "splits and cavities",
        {"accuracy": Target(">=", 0.96)},
        quick=True,
    ),
    Case(
        "vowels258.microwave.fine",
        "258 vowels, metasurface cavity, finer drives",
        EXPERIMENTS / "vowels258_microwave_fine.yaml",
        _SPLIT_AND_BOX,
        range(1, 11),
        "splits and cavities",
        {"minus_skip_only": Target(">", 0.0)},
        quick=True,
    ),
    Case(
        "digits.microwave.fine",
        "digits, metasurface cavity, finer drives",
        EXPERIMENTS / "digits_microwave_fine.yaml",
        _SPLIT_AND_BOX,
        range(1, 11),
        "splits and cavities",
        {"minus_skip_only": Target(">", 0.0)},
        quick=True,
    ),
    Case(
        "mnist.optics",
        "MNIST, scattering medium",
        EXPERIMENTS / "mnist_optics.yaml",
        _SEED_AND_MEDIUM,
        range(1, 4),
        "seeds and media",
        {"accuracy": Target(">=", 0.983)},
        every=("skip-only",),
    ),
    Case(
        "fashion.optics",
        "Fashion-MNIST, scattering medium",
        EXPERIMENTS / "fashion_optics.yaml",
        _SEED_AND_MEDIUM,
        range(1, 4),
        "seeds and media",
        {"accuracy": Target(">=", 0.885)},
        every=("skip-only",),
        # Without a label the range is fitted to darker inputs, and the brightest clothes would blind the camera.
        untrained=("network.blocks.0.encoder.high_quantile=1",),
    ),
    Case(
        "mnist.physics_gain",
        "MNIST, what the medium adds to the published pair rule",
        EXPERIMENTS / "mnist_optics_pairs.yaml",
        _SEED_AND_MEDIUM,
        range(1, 4),
        "seeds and media",
        {"minus_skip_only": Target(">=", 2.0)},
        figure="minus_skip_only",
        every=("skip-only",),
    ),
)


class Kept:
    """Results of finished runs in `runs.jsonl` of a folder, one line each, so that no run is made twice.

    A run is known by the text of its experiment and rig files and by its overrides, not by the code: begin a new folder
    when the code has changed what a run gives.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "runs.jsonl"
        lines = self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []
        self._results: dict[str, Result] = {line["key"]: line["result"] for line in map(json.loads, lines)}

    def result(self, experiment: Path, overrides: Sequence[str]) -> Result:
        """Return the result of a run, which is made unless it is kept already."""
        return self._known(_key(experiment, overrides), experiment, overrides, lambda: _run(experiment, overrides))

    def linear(self, experiment: Path) -> float:
        """Return the accuracy of the linear model on the data of an experiment; it is known by these alone."""
        described = load_experiment(experiment).experiment.data.model_dump_json()
        name = "the linear model alone"
        return self._known(f"linear {described}", experiment, [name], lambda: _linear(experiment))["accuracy"]

    def _known(self, key: str, experiment: Path, overrides: Sequence[str], find: Callable[[], Result]) -> Result:
        if key not in self._results:
            result = find()
            line = {"key": key, "experiment": experiment.name, "overrides": list(overrides), "result": result}
            with self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
            self._results[key] = result
            share, seconds = 100 * result["accuracy"], result["seconds"]
            print(f"{experiment.stem} {' '.join(overrides)}: {share:.2f} % in {seconds:.0f} s", file=sys.stderr)
        return self._results[key]


def untrained(experiment: Path) -> list[str]:
    """Return the overrides that leave the network of an experiment untrained, with a linear readout behind it.

    A rule that has such a readout keeps its own. Where nothing mixes the vector that drives the first layer, zeros take
    the place of the label.
    """
    settings = load_experiment(experiment).experiment
    if isinstance(settings.training, ContrastivePhyllTraining):
        return ["training.epochs=0", "report.baselines=[]"]
    network = settings.network
    pad = network.label.pad
    if network.label.kind == "one-hot" and network.blocks[0].encoder.mix == "none":
        pad += _n_classes(experiment)
    label = f"network.label={{kind: none, pad: {pad}}}"
    return ["training={rule: readout}", label, "report.baselines=[]"]


def measure_case(case: Case, seeds: Iterable[int], kept: Kept, jobs: int) -> list[Row]:
    """Make the runs of a case, `jobs` at a time, and return its rows."""
    bare = [*untrained(case.experiment), *case.untrained]
    wanted = [[*more, *case.draw(seed)] for seed in seeds for more in (case.fewer_baselines(seed), bare)]
    with ThreadPoolExecutor(jobs) as pool:
        try:
            results = list(pool.map(partial(kept.result, case.experiment), wanted))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    linear = {} if case.draws_data else {"linear": kept.linear(case.experiment)}
    trained = [
        {**result, "baselines": {**linear, **result["baselines"], "untrained": readout["accuracy"]}}
        for result, readout in zip(results[::2], results[1::2], strict=True)
    ]
    return case_rows(case, trained)


def case_rows(case: Case, results: Sequence[Result]) -> list[Row]:
    """Return the rows of a case from one result per draw: accuracy, paired differences, passes and hours."""
    named = [result["baselines"] for result in results]
    baselines = {name: [known[name] for known in named if name in known] for name in named[0]}
    accuracies = [result["accuracy"] for result in results]
    means = {name: float(np.mean(baselines[name])) for name in BASELINES if name in baselines}
    figures = {"accuracy": over_draws(case.row_id("accuracy"), accuracies, "share", means)}
    for name in ("linear", "skip-only"):
        if len(baselines.get(name, ())) == len(accuracies):
            figure = f"minus_{name.replace('-', '_')}"
            gains = [100 * (own - other) for own, other in zip(accuracies, baselines[name], strict=True)]
            figures[figure] = over_draws(case.row_id(figure), gains, POINTS)
    for figure, key, per_unit, unit in (
        ("training_passes", "training_passes", 1, "passes"),
        ("hardware_hours", "hardware_s", 3600, "h"),
    ):
        values = [result[key] / per_unit for result in results]
        figures[figure] = over_repeats(case.row_id(figure), values, unit)
    commits = tuple(sorted({result["commit"] for result in results}))
    return [
        replace(row, commits=commits, aim=row.held_against(case.targets[figure]) if figure in case.targets else None)
        for figure, row in figures.items()
        if case.figure in (None, figure)
    ]


def measure(
    cases: Iterable[Case], kept: Kept, jobs: int, *, quick: bool, earlier: Mapping[str, Row] | None = None
) -> Iterator[Row]:
    """Yield the rows of the cases, of each case when all its runs are finished; only one draw of each when `quick`.

    Rows measured `earlier` come first, those of the other cases alone: so nothing is lost when this is interrupted.
    """
    cases = tuple(cases)
    measured = {case.row_id(figure) for case in cases for figure in FIGURES}
    yield from (row for name, row in (earlier or {}).items() if name not in measured)
    for case in cases:
        yield from measure_case(case, case.seeds[:1] if quick else case.seeds, kept, jobs)


def rows_of(file: Path) -> dict[str, Row]:
    """Return the rows of a JSON file by id."""
    rows = [harness.row(row) for row in json.loads(file.read_text(encoding="utf-8"))["rows"]]
    return {row.id: row for row in rows}


def markdown(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the tables of the README from the rows of the JSON by id: results with their price, and baselines."""
    shown = [case for case in CASES if case.id in rows]
    results = [[case.title, *_result_cells(case, rows)] for case in shown]
    compared = [case for case in shown if case.figure is None]
    baselines = [[case.title, *_baseline_cells(rows[case.id]["baselines"])] for case in compared]
    headings = ["", "over", "test accuracy, %", "above linear, points", "above skip only, points", "training passes",
                "hardware time", "to reach"]  # fmt: skip
    return f"{_table(headings, results)}\n\n{_table(['', *BASELINES.values()], baselines)}"


def _result_cells(case: Case, rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    def cell(figure: str, form: str, scale: float = 1.0) -> str:
        row = rows.get(case.row_id(figure)) if case.figure in (None, figure) else None
        return "" if row is None else _with_spread(row, form, scale)

    aims = [
        f"{_in_reading_units(figure, target)}: {in_words(harness.Aim(**aim))}"
        for figure, target in case.targets.items()
        if (aim := rows[case.row_id(figure)]["aim"])
    ]
    passes, hours = (None if case.figure else rows[case.row_id(name)] for name in ("training_passes", "hardware_hours"))
    return [
        f"{rows[case.id]['n']} {case.over}",
        cell("accuracy", ".1f", 100),
        cell("minus_linear", "+.1f"),
        cell("minus_skip_only", "+.1f"),
        f"{passes['value']:,.0f}" if passes else "",
        f"{hours['value']:.1f} h" if hours else "",
        "; ".join(aims),
    ]


def _baseline_cells(baselines: Mapping[str, float]) -> list[str]:
    return [f"{100 * baselines[name]:.1f}" if name in baselines else "" for name in BASELINES]


def _with_spread(row: Mapping[str, Any], form: str, scale: float) -> str:
    value, low, high = (
        None if row[key] is None else format(scale * row[key], form) for key in ("value", "low", "high")
    )
    return f"{value}" if low is None else f"{value} ({low} to {high})"


def _in_reading_units(figure: str, target: Target) -> str:
    sign = {">=": "at least", ">": "above", "<=": "at most"}[target.relation]
    if figure == "accuracy":
        return f"{sign} {100 * target.value:g} %"
    if figure == "training_passes":
        return f"{sign} {target.value:,.0f} passes"
    return f"{figure.replace('minus', 'above').replace('_', ' ')} {sign} {target.value:g} points"


def _table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    every = [headings, ["---"] * len(headings), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in every)


def _run(experiment: Path, overrides: Sequence[str]) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        result, seconds = run_experiment(experiment, Path(folder), overrides)
        with LogReader(Path(result["run"]) / LOG_NAME) as reader:
            passes = reader.count_by_purpose()
    training = sum(n for purpose, n in passes.items() if purpose not in NOT_TRAINING)
    figures = {name: result[name] for name in ("accuracy", "interval", "baselines", "passes", "hardware_s")}
    return {**figures, "training_passes": training, "seconds": seconds, "commit": harness.commit()}


def _linear(experiment: Path) -> Result:
    loaded = load_experiment(experiment)
    settings = loaded.experiment.data
    begin_s = time.perf_counter()
    data = prepare(load_dataset(settings, loaded.document.folder), settings)
    right = predict_linearly(data.train_x, data.train_y, data.test_x) == data.test_y
    return {"accuracy": float(right.mean()), "seconds": time.perf_counter() - begin_s, "commit": harness.commit()}


def _key(experiment: Path, overrides: Sequence[str]) -> str:
    loaded = load_experiment(experiment, overrides)
    rigs = {role: rig.document.text for role, rig in loaded.rigs.items()}
    return hashlib.sha256(json.dumps([loaded.document.text, rigs, overrides]).encode()).hexdigest()


def _n_classes(experiment: Path) -> int:
    loaded = load_experiment(experiment)
    return load_dataset(loaded.experiment.data, loaded.document.folder).n_classes


def main() -> None:
    """Run the command."""
    parser = harness.parser("Measure test accuracy over splits, seeds and media, beside all baselines.")
    parser.add_argument("--rows", nargs="+", metavar="ID", choices=[case.id for case in CASES], help="only these")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the result of every run there; repeat none")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at the same time (default 1)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="only print the README's tables of this JSON")
    arguments: Namespace = parser.parse_args()
    if arguments.markdown is not None:
        rows = json.loads(arguments.markdown.read_text(encoding="utf-8"))["rows"]
        print(markdown({row["id"]: row for row in rows}))
        return
    if arguments.rows is not None:
        cases = [case for case in CASES if case.id in arguments.rows]
    else:
        cases = [case for case in CASES if case.quick or not arguments.quick]
    file: Path | None = arguments.json
    earlier = rows_of(file) if arguments.rows is not None and file is not None and file.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        kept = Kept(arguments.keep or Path(folder))
        harness.run(
            "accuracy",
            "low and high are 95 % intervals by Student's t over the draws, of passes and hours the extremes",
            arguments,
            lambda quick: measure(cases, kept, arguments.jobs, quick=quick, earlier=earlier),
        )


if __name__ == "__main__":
    main()
