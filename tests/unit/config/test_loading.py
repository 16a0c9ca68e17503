"""From an experiment file to experiment, rigs and drivers' settings."""

from pathlib import Path

import pytest
from pydantic import Field

from labctl.config.errors import ConfigError, Position
from labctl.config.loading import experiment_from_text, load_experiment, load_rig, resolve_path, rig_from_text
from labctl.config.network import DirectEncoder, FittedRangeEncoder
from labctl.contract.driver import Settings
from labctl.contract.units import DecibelFullScale, Hertz, Seconds


class Output(Settings):
    name: str
    max_level_dbfs: DecibelFullScale = Field(alias="max_level")


class InterfaceSettings(Settings):
    samplerate_hz: Hertz = Field(alias="samplerate")
    outputs: dict[int, Output]


class CavitySettings(Settings):
    interface: str
    tones: tuple[Hertz, ...]
    settle: Seconds
    averages: int = 1


def test_the_quickstart_is_read_as_written(folder: Path) -> None:
    loaded = load_experiment(folder / "experiments/quick.yaml")
    experiment = loaded.experiment
    assert (experiment.name, experiment.seed, experiment.data.source) == ("digits-acoustic", 7, "digits")
    assert experiment.rigs == {"main": "../rigs/sim_acoustic.yaml"}
    assert isinstance(experiment.network.blocks[0].encoder, FittedRangeEncoder)
    assert experiment.network.blocks[0].encoder.high_quantile == 0.99
    assert experiment.training.rule == "phyll"
    assert (experiment.training.epochs, experiment.training.theta) == (60, 10.0)
    assert (experiment.training.optimizer.lr, experiment.training.batch) == (2e-3, 100)
    assert (experiment.record.commit_every, experiment.record.retries) == (0.2, 3)
    assert loaded.rigs["main"].rig.name == "chamber"
    assert loaded.rigs["main"].rig.layers["cavity"]["kind"] == "acoustic"


def test_overrides_and_another_main_rig(folder: Path, rig_text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "other.yaml").write_text(rig_text.replace("chamber", "attic"), encoding="utf-8")
    (folder / "rigs/sim_acoustic.yaml").unlink()
    monkeypatch.chdir(folder)
    loaded = load_experiment(
        Path("experiments/quick.yaml"), ["network.blocks.0.encoder=direct"], rig=Path("other.yaml")
    )
    assert loaded.rigs["main"].rig.name == "attic"
    assert loaded.experiment.network.blocks[0].encoder == DirectEncoder(kind="direct")


@pytest.mark.parametrize("start", ["rig", "rigs.main"])
def test_an_override_goes_on_into_the_rig_file(folder: Path, start: str) -> None:
    assignment = f"{start}.layers.cavity.tones.1=500 Hz"
    loaded = load_experiment(folder / "experiments/quick.yaml", ["seed=9", assignment, f"{start}.power_w=12"])
    rig = loaded.rigs["main"]
    assert rig.rig.layers["cavity"]["tones"] == ["330 Hz", "500 Hz"]
    assert rig.rig.power_w == 12
    assert rig.document.position(("layers", "cavity", "tones", 1)) == Position(f"--set {assignment}")
    assert rig.document.overrides == (assignment, f"{start}.power_w=12")
    assert loaded.document.overrides == ("seed=9",)


def test_each_rig_has_its_own_overrides(folder: Path, quickstart: str, rig_text: str) -> None:
    (folder / "rigs/other.yaml").write_text(rig_text, encoding="utf-8")
    named = "rigs: {main: ../rigs/sim_acoustic.yaml, annex: ../rigs/other.yaml}  #"
    text = quickstart.replace("rig: ../rigs/sim_acoustic.yaml        #", named)
    loaded = experiment_from_text(text, Path("q"), folder / "experiments", ["rigs.annex.name=b", "rig.name=a"])
    assert {role: rig.rig.name for role, rig in loaded.rigs.items()} == {"main": "a", "annex": "b"}


def test_an_override_mends_a_rig_file_as_if_it_had_been_edited(folder: Path, rig_text: str) -> None:
    (folder / "rigs/sim_acoustic.yaml").write_text(rig_text.replace("chamber", "'two words'"), encoding="utf-8")
    loaded = load_experiment(folder / "experiments/quick.yaml", ["rig.name=chamber"])
    assert loaded.rigs["main"].rig.name == "chamber"


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("rig.powr_w=3", 'unknown key "powr_w"; did you mean "power_w"?'),
        ("rig.layers.cavity.kind.x=3", 'rig.layers.cavity.kind is "acoustic", which has no keys; expected '
         "rig.layers.cavity.kind=VALUE"),
        ("rigs.main.layers.cavity.tones.7=3", 'rigs.main.layers.cavity.tones has no item "7"; expected an index '
         "from 0 to 1"),
        ("rigs.annex.name=b", 'no rig here has the role "annex"; there are: main'),
        ("rig.=b", "not an assignment; expected KEY.KEY=VALUE, as in training.epochs=3"),
    ],
)  # fmt: skip
def test_a_mistake_in_an_override_of_a_rig(folder: Path, assignment: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_experiment(folder / "experiments/quick.yaml", [assignment])
    assert str(caught.value) == f"--set {assignment}: {said}"


def test_rigs_by_role(folder: Path, quickstart: str) -> None:
    text = quickstart.replace("rig: ../rigs", "rigs: {left: ../rigs/sim_acoustic.yaml, right: ../rigs").replace(
        "sim_acoustic.yaml        #", "sim_acoustic.yaml}  #"
    )
    path = folder / "experiments/quick.yaml"
    path.write_text(text, encoding="utf-8")
    assert sorted(load_experiment(path).rigs) == ["left", "right"]
    with pytest.raises(ConfigError) as caught:
        load_experiment(path, rig=folder / "rigs/sim_acoustic.yaml")
    assert str(caught.value) == (
        f'{path}:4:7: no rig here has the role "main", which --rig replaces; there are: left, right'
    )


def test_a_rig_file_that_is_not_there_is_told_where_it_is_named(folder: Path, quickstart: str) -> None:
    path = folder / "experiments/quick.yaml"
    path.write_text(quickstart.replace("sim_acoustic", "sim_acustic"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_experiment(path)
    missing = folder / "experiments/../rigs/sim_acustic.yaml"
    assert str(caught.value) == f'{path}:4:6: there is no file {missing}; did you mean "sim_acoustic.yaml"?'


def test_mistakes_in_a_rig_file_are_told_in_the_rig_file(folder: Path, rig_text: str) -> None:
    rig = folder / "rigs/sim_acoustic.yaml"
    rig.write_text(rig_text.replace("power_w", "power"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_experiment(folder / "experiments/quick.yaml")
    assert str(caught.value).endswith('sim_acoustic.yaml:3:1: unknown key "power"; did you mean "power_w"?')


def test_an_experiment_given_as_a_rig(folder: Path) -> None:
    with pytest.raises(ConfigError, match="this is an experiment file; expected a rig file"):
        load_rig(folder / "experiments/quick.yaml")


def test_a_stored_copy_opens_as_the_original_did(folder: Path) -> None:
    loaded = load_experiment(folder / "experiments/quick.yaml", ["seed=9", "rig.power_w=12"])
    rig = loaded.rigs["main"].document
    rigs = {"main": rig_from_text(rig.text, Path("stored/rig.yaml"), rig.folder, rig.overrides)}
    document = loaded.document
    again = experiment_from_text(document.text, Path("stored.yaml"), document.folder, document.overrides, rigs)
    assert again.experiment == loaded.experiment
    assert again.rigs["main"].rig == loaded.rigs["main"].rig
    assert again.document.folder == folder / "experiments"


def test_a_stored_experiment_without_stored_rigs_reads_the_files(folder: Path, quickstart: str) -> None:
    loaded = experiment_from_text(quickstart, Path("stored.yaml"), folder / "experiments")
    assert loaded.rigs["main"].rig.name == "chamber"


def test_paths_are_relative_to_the_file_that_names_them(folder: Path) -> None:
    assert resolve_path(folder, "x/y.npz") == folder / "x/y.npz"
    assert resolve_path(folder, str(folder / "y.npz")) == folder / "y.npz"
    assert resolve_path(folder, "~/y.npz") == Path.home() / "y.npz"


def test_drivers_settings_are_read_from_their_part_of_the_rig_file(rig_text: str) -> None:
    document = rig_from_text(rig_text, Path("rig.yaml"), Path()).document
    settings = document.validate(InterfaceSettings, at=("instruments", "interface"), ignoring=frozenset({"driver"}))
    assert settings.samplerate_hz == 48e3
    assert {number: output.name for number, output in settings.outputs.items()} == {1: "north", 2: "east"}
    assert settings.outputs[2].max_level_dbfs == -12.0
    cavity = document.validate(CavitySettings, at=("layers", "cavity"), ignoring=frozenset({"kind"}))
    assert cavity == CavitySettings.model_construct(
        interface="interface", tones=(330.0, 485.0), settle=0.15, averages=1
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("48 kHz", "48", "7:17: samplerate is 48; has no unit: write '48 Hz' (or Hz, mHz, kHz, MHz, GHz)"),
        ("{1:", "{one:", '8:15: key "one" is not valid; expected a whole number'),
        ("samplerate:", "samplrate:", '7:5: unknown key "samplrate"; did you mean "samplerate"?'),
        (
            "east, max_level: -12 dBFS",
            "east",
            '8:57: missing key "max_level"; expected a number with a unit, such as "1.5 dBFS"',
        ),
        ("east, max_level", "east, max_levl", '8:70: unknown key "max_levl"; did you mean "max_level"?'),
        ("name: east", "name: 5", "8:64: name is 5; expected text"),
    ],
)
def test_a_mistake_in_an_instrument(rig_text: str, old: str, new: str, said: str) -> None:
    document = rig_from_text(rig_text.replace(old, new), Path("rig.yaml"), Path()).document
    with pytest.raises(ConfigError) as caught:
        document.validate(InterfaceSettings, at=("instruments", "interface"), ignoring=frozenset({"driver"}))
    assert str(caught.value) == f"rig.yaml:{said}"


def test_text_is_no_number_even_for_a_lenient_model(rig_text: str) -> None:
    document = rig_from_text(rig_text + "    averages: '2'\n", Path("rig.yaml"), Path()).document
    with pytest.raises(ConfigError) as caught:
        document.validate(CavitySettings, at=("layers", "cavity"), ignoring=frozenset({"kind"}))
    assert str(caught.value) == 'rig.yaml:15:15: averages is the text "2"; expected a whole number'
