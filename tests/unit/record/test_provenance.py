"""Provenance: enough to know whether equal bits can be expected, and no secrets."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from labctl.record.provenance import collect, same_arithmetic


def test_what_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "LABCTL_DATA", "SECRET_TOKEN", "MY_LABCTL_X"):
        monkeypatch.setenv(name, "1")
    found = collect()
    assert json.loads(json.dumps(found)) == found
    assert found["arithmetic"]["numpy"] == found["packages"]["numpy"] == np.__version__
    assert found["arithmetic"]["cpu"]
    assert {"labctl", "pydantic", "filelock", "h5py"} <= set(found["packages"])
    assert {"OMP_NUM_THREADS", "OPENBLAS_CORETYPE", "LABCTL_DATA"} <= set(found["environment"])
    assert not {"SECRET_TOKEN", "MY_LABCTL_X"} & set(found["environment"])


def collect_elsewhere(first: str, **environment: str) -> dict[str, Any]:
    script = f"{first}; import json; from labctl.record.provenance import collect; print(json.dumps(collect()))"
    return json.loads(subprocess.check_output([sys.executable, "-c", script], env=environment, text=True))


def test_arithmetic_is_compared_and_nothing_else() -> None:
    here = collect_elsewhere("pass", OPENBLAS_NUM_THREADS="1")
    with_scipy = collect_elsewhere("import scipy.linalg", OPENBLAS_NUM_THREADS="1", LABCTL_X="1")
    assert same_arithmetic(here, with_scipy)
    for name in ("machine", "cpu", "libc", "numpy", "blas"):
        arithmetic = here["arithmetic"] | {name: "another"}
        assert not same_arithmetic(here, here | {"arithmetic": arithmetic})


def test_the_compiler_belongs_to_the_arithmetic_of_compiled_updates_alone() -> None:
    plain, compiled = collect(), collect(compiled=True)
    assert "compiler" not in plain["arithmetic"]
    assert list(compiled["arithmetic"]["compiler"]) == ["numba", "llvmlite", "scipy"]
    assert not same_arithmetic(plain, compiled)
    assert same_arithmetic(compiled, collect(compiled=True))
