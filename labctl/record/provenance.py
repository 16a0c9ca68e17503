"""What computed a run: the machine, the libraries and their versions."""

import hashlib
import os
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np
from threadpoolctl import threadpool_info

from labctl.config.loading import LoadedRig, resolve_path

_ENVIRONMENT = re.compile(r"OMP_NUM_THREADS|OPENBLAS_\w+|LABCTL_\w+")
_COMPILER = ("numba", "llvmlite", "scipy")
"""What compiled updates are made by, and whose BLAS they call."""

_DRIVER_GROUPS = ("labctl.instruments", "labctl.layers", "labctl.simulators")

_REQUIREMENT_NAME = re.compile(r"[A-Za-z0-9._-]+")


def collect(*, compiled: bool = False) -> dict[str, Any]:
    """Return where and with what this process computes, as JSON values; `compiled` says whether updates are.

    `arithmetic` holds what decides about the last bit of a result. Of the environment only OMP_NUM_THREADS,
    OPENBLAS_* and LABCTL_* are recorded, as anything else may hold secrets.
    """
    compiler = {"compiler": {name: metadata.version(name) for name in _COMPILER}} if compiled else {}
    return {
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "arithmetic": {
            "machine": platform.machine(),
            "cpu": _cpu_model(),
            "libc": " ".join(platform.libc_ver()),
            "numpy": np.__version__,
            "blas": _blas(),
            **compiler,
        },
        "packages": _package_versions(),
        "environment": {name: value for name, value in sorted(os.environ.items()) if _ENVIRONMENT.fullmatch(name)},
    }


def calibration_files(rigs: Mapping[str, LoadedRig]) -> dict[str, dict[str, str | None]]:
    """Return the calibration files that `rigs` name, by role and part: path, and SHA-256 of the content if it is there.

    A file's name tells the day, its content what was measured.
    """
    found: dict[str, dict[str, str | None]] = {}
    for role, rig in rigs.items():
        for name, body in {**rig.rig.instruments, **rig.rig.layers}.items():
            if isinstance(named := body.get("calibration"), str):
                path = resolve_path(rig.document.folder, named)
                digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
                found[f"{role}.{name}"] = {"file": named, "sha256": digest}
    return found


def same_arithmetic(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Return whether two results of `collect` promise results that are equal bit for bit."""
    return a["arithmetic"] == b["arithmetic"]


def software_changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return in words by what software two results of `collect` differ; what only one of them knows is left out."""
    changes = [] if then["python"] == now["python"] else [f"Python {then['python']}, now {now['python']}"]
    before, after = then["packages"], now["packages"]
    names = [name for name in before if name in after and before[name] != after[name]]
    return changes + [f"{name} {before[name]}, now {after[name]}" for name in names]


def _cpu_model() -> str:
    table = Path("/proc/cpuinfo")
    if table.exists():
        model = re.search(r"^model name\s*:\s*(.+)$", table.read_text(encoding="utf-8"), re.MULTILINE)
        if model:
            return model[1]
    return platform.processor()


def _blas() -> dict[str, Any]:
    """Describe the BLAS numpy was built with and, where it can be asked, the kernels and threads it runs with.

    scipy brings a BLAS of its own, loaded or not as chance will have it: it is left out where numpy's is known.
    """
    built: Any = np.show_config(mode="dicts")
    blas = built["Build Dependencies"]["blas"]
    libraries = cast("list[dict[str, Any]]", threadpool_info())
    loaded = [library for library in libraries if library["user_api"] == "blas"]
    numpys = [library for library in loaded if f"{os.sep}numpy" in library["filepath"]] or loaded
    return {
        "name": blas["name"],
        "version": blas["version"],
        "kernels": [library.get("architecture") for library in numpys],
        "threads": [library["num_threads"] for library in numpys],
    }


def _package_versions() -> dict[str, str]:
    """Return the versions of labctl, of what it requires, of its extras and of driver packages that are installed."""
    required = [match[0] for match in map(_REQUIREMENT_NAME.match, metadata.requires("labctl") or []) if match]
    offered = [point for group in _DRIVER_GROUPS for point in metadata.entry_points(group=group)]
    drivers = {point.dist.name for point in offered if point.dist is not None} - {"labctl"}
    versions = {name: _version(name) for name in ["labctl", *sorted({*required, *drivers})]}
    return {name: version for name, version in versions.items() if version is not None}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
