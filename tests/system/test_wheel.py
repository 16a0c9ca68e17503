"""What is installed from the wheel, away from the checkout, is all that is needed."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def told(*command: str | Path, folder: Path) -> str:
    """Run a command that has nothing of ours on its path, and return what it printed."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LABCTL"))}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=variables, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of executables of an environment in which the wheel is installed.

    Its dependencies are those of this environment, whose own (editable) labctl is out of its reach: a path file
    brings in a folder, not the path files in it.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    told(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, CHECKOUT, folder=folder)
    (wheel,) = folder.glob("labctl-*.whl")
    told(sys.executable, "-m", "venv", "--without-pip", folder / "venv", folder=folder)
    binaries = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    pip = [sys.executable, "-m", "pip", "--python", binaries / "python", "--disable-pip-version-check"]
    told(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, folder=folder)
    purelib = told(binaries / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder)
    (Path(purelib.strip()) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return binaries


def test_the_installed_package_is_the_one_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    names = "labctl, labctl_drivers, labctl_simulators"
    where = told(
        installed / "python", "-c", f"import {names}; print(*[p.__file__ for p in ({names})])", folder=tmp_path
    )
    assert len(where.split()) == 3
    for file in where.split():
        assert Path(file).is_relative_to(installed.parent)
        assert not Path(file).is_relative_to(CHECKOUT)


def test_the_first_steps_of_the_readme(installed: Path, tmp_path: Path) -> None:
    labctl = installed / "labctl"
    told(labctl, "init", "lab", folder=tmp_path)
    shipped = {path.name for path in (CHECKOUT / "configs").rglob("*.yaml")}
    assert {path.name for path in (tmp_path / "lab").rglob("*.yaml")} == shipped
    short = ["--set", "data={source: wine}", "--set", "training.epochs=2", "--set", "report.baselines=[linear]"]
    out = told(labctl, "run", "lab/experiments/quickstart.yaml", *short, folder=tmp_path)
    assert "test accuracy" in out
    (run,) = (tmp_path / "runs").glob("[0-9]*/")
    assert (run / "report.html").stat().st_size > 10_000
    assert "bit for bit" in told(labctl, "runs", "verify", "latest", folder=tmp_path)


def test_the_types_are_shipped(installed: Path) -> None:
    (package,) = installed.parent.glob("**/site-packages/labctl")
    assert (package / "py.typed").is_file()
    assert not list(package.parent.glob("tests*"))
