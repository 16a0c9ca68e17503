"""Runs from their folder alone: what was begun can be opened again, on the same data and bench or not at all."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from labctl.config.errors import ConfigError
from labctl.config.loading import load_experiment
from labctl.contract.errors import InputError, RecordError
from labctl.orchestrator.assembly import build_bench, build_task
from labctl.orchestrator.model import describe_model, normalisation_of
from labctl.orchestrator.runs import begin_run, check_bench, check_states, continue_run, reopen, reopen_task
from labctl.orchestrator.session import train_and_test
from labctl.orchestrator.stopping import stop_on_signals
from labctl.record.bundle import read_bundle, write_bundle
from labctl.record.folder import LOG_NAME
from labctl.record.reader import LogReader
from labctl.record.writer import PassLog
from labctl.rig.rig import opened
from tests.unit.orchestrator.monitors import Silent

RIG = """\
schema: labctl/rig/1
name: small-box
time_scale: instant
power_w: 40
instruments:
  interface:
    driver: audio.simulated
    samplerate: 4 kHz
    speakers: {north: {max_level: -12 dBFS}, east: {max_level: -12 dBFS}}
    microphones: [mic-a, mic-b]
    box: {length: 1.2 m, width: 0.9 m, height: 0.7 m, absorption: 0.5, temperature: 20 °C}
    seed: 1
layers:
  cavity:
    kind: acoustic
    interface: interface
    tones: [200 Hz, 300 Hz]
    order: speaker-major
    phases: schroeder
    settle: 50 ms
    window: 50 ms
    gap: 50 ms
    averages: 1
    readout: amplitude
"""

EXPERIMENT = """\
schema: labctl/experiment/1
name: small
rig: rig.yaml
seed: 3
data: {source: npz, path: data.npz}
network:
  label: {kind: one-hot}
  blocks:
    - {layer: cavity, encoder: {kind: fitted-range, mix: orthogonal}, skip: true, units: 5}
training: {rule: phyll, schedule: cached, epochs: 2, batch: 10, inner_steps: 1}
"""


def write_data(folder: Path, seed: int = 0) -> None:
    labels = np.arange(30) % 3
    noise = np.random.default_rng(seed).normal(0, 0.4, (30, 3))
    np.savez(folder / "data.npz", x=np.eye(3)[labels] + noise, y=labels)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with an experiment, its rig and its data."""
    (tmp_path / "rig.yaml").write_text(RIG, encoding="utf-8")
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT, encoding="utf-8")
    write_data(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Path:
    """Return the folder of a run, begun with --set seed=5."""
    loaded = load_experiment(folder / "experiment.yaml", ["seed=5"])
    bench = build_bench(loaded)
    task = build_task(loaded, bench.infos)
    with stop_on_signals() as stop, opened(bench.rigs.values()):
        run, log = begin_run(loaded, bench, task, folder / "runs")
        with log:
            train_and_test(task, bench, log, Silent(), stop)
    return run


@pytest.fixture
def reader(run: Path) -> Iterator[LogReader]:
    with LogReader(run / LOG_NAME) as opened_log:
        yield opened_log


def test_a_run_folder_holds_the_files_as_they_were(run: Path) -> None:
    assert (run / "experiment.yaml").read_text(encoding="utf-8") == EXPERIMENT
    assert (run / "rig-main.yaml").read_text(encoding="utf-8") == RIG


def test_a_run_is_described_in_its_log(reader: LogReader) -> None:
    meta = reader.meta()
    assert meta["name"] == "small"
    assert meta["simulated"] is True
    assert meta["power_w"] == 40
    assert meta["resolved"]["seed"] == 5
    assert meta["experiment"]["overrides"] == ["seed=5"]
    assert (meta["data"]["train"], meta["data"]["test"]) == (24, 6)
    assert meta["data"]["class_names"] == ["0", "1", "2"]
    assert meta["blocks"][0]["name"] == "cavity"
    assert len(meta["blocks"][0]["inputs"]) == 4


def test_a_run_is_reopened_as_it_began_whatever_became_of_its_files(folder: Path, reader: LogReader) -> None:
    before = load_experiment(folder / "experiment.yaml", ["seed=5"])
    (folder / "experiment.yaml").unlink()
    (folder / "rig.yaml").write_text("nonsense", encoding="utf-8")
    loaded = reopen(reader)
    assert loaded.experiment == before.experiment
    assert loaded.rigs["main"].rig == before.rigs["main"].rig
    task = reopen_task(reader, loaded)
    fresh = build_task(before, build_bench(loaded).infos)
    for name, array in fresh.rule.arrays().items():
        assert np.array_equal(array, task.rule.arrays()[name]), name
    check_bench(reader, build_bench(loaded))


def test_a_run_on_a_changed_rig_is_reopened_on_it(folder: Path) -> None:
    loaded = load_experiment(folder / "experiment.yaml", ["rig.instruments.interface.seed=2", "rig.power_w=50"])
    bench = build_bench(loaded)
    run, log = begin_run(loaded, bench, build_task(loaded, bench.infos), folder / "runs")
    log.close()
    with LogReader(run / LOG_NAME) as reader:
        again = reopen(reader)
        described = reader.meta()["rigs"]["main"]
    assert again.rigs["main"].rig == loaded.rigs["main"].rig
    assert build_bench(again).layers[0].state_id == bench.layers[0].state_id
    assert described["overrides"] == ["rig.instruments.interface.seed=2", "rig.power_w=50"]
    assert described["resolved"]["instruments"]["interface"]["seed"] == 2
    assert described["text"] == RIG


def test_changed_data_are_refused(folder: Path, reader: LogReader) -> None:
    write_data(folder, seed=1)
    with pytest.raises(RecordError, match=r"the data have changed since the run began \(fingerprint \w{12}, then"):
        reopen_task(reader, reopen(reader))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed: 1", "seed: 2", r"layer 'cavity' is in state \w+.*, the run's passes were measured in \w+"),
        ("gap: 50 ms", "gap: 60 ms", r"block 1: layer 'cavity' now differs in nominal_pass_s from the run's"),
        (
            "[200 Hz, 300 Hz]",
            "[200 Hz, 300 Hz, 400 Hz]",
            r"block 1: layer 'cavity' now differs in inputs, outputs from the run's",
        ),
    ],
)
def test_another_bench_is_refused(folder: Path, reader: LogReader, old: str, new: str, message: str) -> None:
    (folder / "rig.yaml").write_text(RIG.replace(old, new), encoding="utf-8")
    bench = build_bench(load_experiment(folder / "experiment.yaml"))
    check = check_states if "state" in message else check_bench
    with pytest.raises(RecordError, match=message):
        check(reader, bench)


def test_a_log_of_another_kind_of_run_is_refused(folder: Path) -> None:
    with PassLog.create(folder / "other.sqlite", {"schema": "labctl/run/9"}):
        pass
    with (
        LogReader(folder / "other.sqlite") as other,
        pytest.raises(RecordError, match="holds 'labctl/run/9'; this labctl reads runs of labctl/run/1"),
    ):
        reopen(other)


def test_a_continued_run_has_one_writer(run: Path, reader: LogReader) -> None:
    loaded = reopen(reader)
    with continue_run(run, loaded), pytest.raises(RecordError, match="is being written by process"):
        continue_run(run, loaded)


def test_a_network_starts_from_the_model_of_another_run(folder: Path, reader: LogReader) -> None:
    task = reopen_task(reader, reopen(reader))
    checkpoint = reader.latest_checkpoint()
    assert checkpoint is not None
    task.rule.restore(checkpoint.arrays)
    write_bundle(folder / "model", *describe_model(task))
    loaded = load_experiment(folder / "experiment.yaml", ["training.init_from=model"])
    started = build_task(loaded, task.infos)
    for name, array in task.rule.network.arrays().items():
        assert np.array_equal(array, started.rule.network.arrays()[name]), name
    saved = normalisation_of(read_bundle(folder / "model")[0])
    samples = np.random.default_rng(0).random((4, 3))
    assert np.array_equal(saved.apply(samples), task.data.normalisation.apply(samples))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["network.blocks.0.units=6"], r"--set training.init_from=model: block 1: expected weights of shape"),
        (["training.init_from=elsewhere"], r"--set training.init_from=elsewhere: there is no model bundle in"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_where_it_is_named(
    folder: Path, reader: LogReader, overrides: list[str], message: str
) -> None:
    task = reopen_task(reader, reopen(reader))
    write_bundle(folder / "model", *describe_model(task))
    loaded = load_experiment(folder / "experiment.yaml", ["training.init_from=model", *overrides])
    with pytest.raises(ConfigError, match=message):
        build_task(loaded, task.infos)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["network.blocks.0.layer=cavty"],
            r"--set network.blocks.0.layer=cavty: no rig has a layer 'cavty'; did you mean 'cavity'\?",
        ),
        (["data.path=absent.npz"], r"absent.npz"),
        (
            ["network.blocks.0.encoder=direct"],
            r"--set network.blocks.0.encoder=direct: block 1 on layer 'cavity': encoder direct sends 6 values, but the",
        ),
    ],
)
def test_what_does_not_fit_together_is_found_before_anything_is_opened(
    folder: Path, overrides: list[str], message: str
) -> None:
    loaded = load_experiment(folder / "experiment.yaml", overrides)
    with pytest.raises(InputError, match=message):
        build_task(loaded, build_bench(loaded).infos)


def test_a_second_block_that_does_not_fit_is_reported_at_its_own_line(folder: Path) -> None:
    second = "    - {layer: cavity, encoder: direct, skip: true, units: 7}\n"
    text = EXPERIMENT.replace("units: 5}\n", "units: 5}\n" + second)
    (folder / "experiment.yaml").write_text(text, encoding="utf-8")
    loaded = load_experiment(folder / "experiment.yaml")
    with pytest.raises(ConfigError, match=r"experiment.yaml:10:32: block 2 on layer 'cavity': encoder direct sends 5"):
        build_task(loaded, build_bench(loaded).infos)
