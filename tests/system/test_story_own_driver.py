"""A laboratory writes a driver of its own: in a package of its own, found by its entry point alone."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Labctl

RIG = """\
schema: labctl/rig/1
name: chamber
layers:
  cavity: {kind: our-chamber, pass: 1 ms, seed: 3}
"""


@pytest.fixture
def installed(labctl: "Labctl", desk: Path) -> "Labctl":
    """The template as it is copied, installed into a folder of this desk's own."""
    labctl.quick("init", "--driver", "our-chamber")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", "site"]
    subprocess.run([*pip, "./our-chamber"], cwd=desk, check=True, timeout=120)
    (desk / "chamber.yaml").write_text(RIG, encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(desk / "site"), os.environ.get("PYTHONPATH")]))
    return replace(labctl, environment={"PYTHONPATH": path})


def test_a_run_on_a_driver_of_our_own(installed: "Labctl", desk: Path) -> None:
    """labctl has never heard of my chamber. I name its kind in a rig file, and train on it."""
    result = installed("run", "wine.yaml", "--rig", "chamber.yaml", "--json").json
    assert result["passes"] == 3 * (134 + 44)
    assert "equal bit for bit" in installed("runs", "verify", "latest").out


def test_the_contract_suite_over_a_driver_of_our_own(installed: "Labctl", desk: Path) -> None:
    """First over the class itself, then over the rig file that uses it."""
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    variables = installed.variables()
    for what, rig in (["our-chamber"], None), (["--pyargs", "labctl.testing"], "chamber.yaml"):
        environment = variables if rig is None else {**variables, "LABCTL_RIG": rig}
        done = subprocess.run([*suite, *what], cwd=desk, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert "20 passed" in done.stdout


def test_a_driver_that_is_there_is_not_written_over(labctl: "Labctl", desk: Path) -> None:
    """I type the command a second time, months later."""
    labctl.quick("init", "--driver", "our-chamber")
    (desk / "our-chamber" / "our_chamber.py").write_text("mine", encoding="utf-8")
    said = labctl.quick("init", "--driver", "our-chamber", code=2).err
    assert "exists already" in said
    assert (desk / "our-chamber" / "our_chamber.py").read_text(encoding="utf-8") == "mine"
