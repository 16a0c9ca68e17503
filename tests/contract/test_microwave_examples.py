"""The shipped experiments on the simulated metasurface cavity fit their rigs, block by block."""

from pathlib import Path

import pytest

from labctl.config.loading import load_experiment
from labctl.network.network import build_network
from labctl.orchestrator.assembly import build_bench

EXPERIMENTS = Path(__file__).parents[2] / "configs" / "experiments"


@pytest.mark.parametrize(
    ("name", "n_features", "n_classes", "n_outputs"),
    [
        ("vowels258_microwave", 12, 7, [20, 20, 20]),
        ("vowels258_microwave_fine", 12, 7, [42, 42, 42]),
        ("digits_microwave_fine", 64, 10, [126]),
    ],
)
def test_every_block_fits_its_operating_point_and_all_share_one_cavity(
    name: str, n_features: int, n_classes: int, n_outputs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABCTL_DATA", str(tmp_path))
    loaded = load_experiment(EXPERIMENTS / f"{name}.yaml")
    infos = build_bench(loaded).infos
    assert [(info.n_inputs, info.n_outputs) for info in infos] == [(40, n) for n in n_outputs]
    assert {info.resources for info in infos} == {frozenset({"box"})}
    assert len({info.name for info in infos}) == len(infos)
    network = build_network(
        loaded.experiment.network, infos, n_features=n_features, n_classes=n_classes, seed=1, precision="float32"
    )
    assert len(network.blocks) == len(n_outputs)
