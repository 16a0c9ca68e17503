"""The compiled update against the one that NumPy computes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labctl.config.network import DirectEncoder as DirectEncoderSettings
from labctl.config.training import PhyllTraining
from labctl.contract.layer import Channel
from labctl.learning.fused import FusedUpdate
from labctl.learning.update import NumpyUpdate, make_update
from labctl.network.block import Block
from labctl.network.encoder import make_encoder
from labctl.network.standardise import Standardiser

ROOT = Path(__file__).parents[3]
ENCODER = make_encoder(DirectEncoderSettings(kind="direct"), 1, [Channel("x", "1", 0.0, 1.0)], np.random.default_rng(0))

SHAPES = st.tuples(st.integers(1, 40), st.integers(2, 5), st.integers(2, 30), st.integers(2, 30))
"""Samples, labels of each, features, units. Goodness knows directions alone: with one feature, or one unit, nothing can
be turned, and the gradient is nothing but rounding."""


def training_of(loss="pairs", **training):
    return PhyllTraining.model_validate(
        {"rule": "phyll", "epochs": 1, "inner_steps": 3, "theta": 5.0, "loss": loss, **training}
    )


def block_of(units, width, dtype):
    generator = np.random.default_rng(units)
    reference = generator.standard_normal(units)
    return Block(
        layer="it",
        encoder=ENCODER,
        standardise=False,
        standardiser=Standardiser.neutral(width, np.dtype(dtype)),
        skip=False,
        reads=1,
        weights=generator.uniform(-1, 1, (units, width)).astype(np.float32).astype(dtype),
        reference=(reference / np.linalg.norm(reference)).astype(np.float32).astype(dtype),
    )


def features_of(shape, dtype, batches=2):
    """Draw features that both precisions hold exactly."""
    samples, labels, width, _ = shape
    generator = np.random.default_rng(samples)
    return generator.standard_normal((batches, samples * labels, width)).astype(np.float32).astype(dtype)


def trained(update, shape, dtype, loss):
    """Return the block's weights, the optimiser's moments and the goodness last found, after two batches."""
    samples, labels, width, units = shape
    block = block_of(units, width, dtype)
    learner = update(training_of(loss), block, labels)
    for number, features in enumerate(features_of(shape, dtype)):
        goodness = learner.train(features, number / 2)
    assert goodness.shape == (samples, labels)
    return {"weights": block.weights, "goodness": goodness, **learner.arrays()}


@pytest.mark.parametrize("loss", ["pairs", "softmax"])
@settings(max_examples=60, deadline=None)
@given(shape=SHAPES)
def test_in_double_precision_both_agree_to_rounding(loss, shape):
    by_numpy, fused = (trained(update, shape, "float64", loss) for update in (NumpyUpdate, FusedUpdate))
    assert by_numpy.keys() == fused.keys()
    for name, expected in by_numpy.items():
        assert np.abs(fused[name] - expected).max() <= 1e-12 * np.abs(expected).max(), name


@pytest.mark.parametrize("loss", ["pairs", "softmax"])
@pytest.mark.parametrize("shape", [(103, 2, 40, 20), (1, 2, 3, 2), (50, 5, 90, 70), (64, 10, 200, 130)])
def test_in_single_precision_it_rounds_no_worse_than_numpy(loss, shape):
    exact = trained(NumpyUpdate, shape, "float64", loss)
    by_numpy, fused = (trained(update, shape, "float32", loss) for update in (NumpyUpdate, FusedUpdate))
    for name, expected in exact.items():
        assert fused[name].dtype == by_numpy[name].dtype
        off, off_by_numpy = (np.linalg.norm(found[name] - expected) for found in (fused, by_numpy))
        # The two round independently, each by some units in the last place of every sum.
        assert off <= 3 * off_by_numpy + 4 * np.finfo(np.float32).eps * np.linalg.norm(expected), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", ["pairs", "softmax"])
def test_a_second_time_gives_the_same_bits(loss, dtype):
    shape = (103, 2, 40, 20)
    once, again = (trained(FusedUpdate, shape, dtype, loss) for _ in range(2))
    assert all(once[name].tobytes() == again[name].tobytes() for name in once)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_last_batch_of_another_size_is_learnt_from_like_any(dtype):
    block, expected = (block_of(6, 4, dtype) for _ in range(2))
    fused, by_numpy = FusedUpdate(training_of(), block, 2), NumpyUpdate(training_of(), expected, 2)
    for samples in (5, 2, 5):
        features = features_of((samples, 2, 4, 6), dtype)[0]
        np.testing.assert_allclose(fused.train(features, 0.0), by_numpy.train(features, 0.0), rtol=1e-5)
    np.testing.assert_allclose(block.weights, expected.weights, rtol=1e-4)


def test_a_vector_of_zeros_and_a_huge_theta_leave_weights_finite():
    block = block_of(3, 2, "float32")
    block.weights[:] = 1
    features = np.array([[0, 0], [1, 2], [3, 4], [0, 0]], np.float32)
    goodness = FusedUpdate(training_of(theta=1e4), block, 2).train(features, 0.0)
    assert goodness[0, 0] == goodness[1, 1] == 0
    assert np.isfinite(block.weights).all()


def test_each_arithmetic_goes_on_from_what_the_other_saved():
    features = features_of((9, 2, 4, 6), "float64", batches=4)
    whole, block = (block_of(6, 4, "float64") for _ in range(2))
    by_numpy = NumpyUpdate(training_of(), whole, 2)
    update = NumpyUpdate(training_of(), block, 2)
    for number, batch in enumerate(features):
        by_numpy.train(batch, 0.0)
        update.train(batch, 0.0)
        other = (FusedUpdate, NumpyUpdate)[number % 2](training_of(), block, 2)
        other.restore(update.arrays())
        update = other
    np.testing.assert_allclose(block.weights, whole.weights, rtol=1e-12)


def test_the_experiment_chooses_the_arithmetic():
    block = block_of(3, 2, "float32")
    assert isinstance(make_update(training_of(), block, 2), NumpyUpdate)
    assert isinstance(make_update(training_of(arithmetic="fused"), block, 2), FusedUpdate)


def test_the_compiler_is_loaded_only_when_asked_for():
    code = "import sys, labctl.learning.rules, labctl.config.loading; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_its_products_run_on_one_thread():
    code = """
import numpy
from threadpoolctl import threadpool_info, threadpool_limits
with threadpool_limits(1):
    import labctl.learning.fused
    assert len(threadpool_info()) >= 1
    assert {library["num_threads"] for library in threadpool_info()} == {1}, threadpool_info()
"""
    unpinned = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    subprocess.run([sys.executable, "-c", code], check=True, env=unpinned)


def test_machine_code_is_kept_where_an_installation_cannot_be_written(tmp_path):
    """A file stands where the installation's cache would be: not even an administrator can write below it."""
    package = tmp_path / "installed" / "labctl"
    shutil.copytree(ROOT / "labctl", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "learning" / "__pycache__").touch()
    code = "from labctl.learning.fused import pull_by_pairs as f; import numpy as n; a = n.zeros((1, 2))\n"
    code += "f(a, n.float64(1), a); print(sum(f.stats.cache_hits.values()), f.stats.cache_path)"
    environment = {
        **os.environ,
        "PYTHONPATH": str(package.parent),
        "HOME": str(tmp_path),
        "LOCALAPPDATA": str(tmp_path),
    }
    environment = {n: v for n, v in environment.items() if n not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    for hits in (0, 1):
        command = [sys.executable, "-B", "-c", code]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=tmp_path)
        found, folder = printed.stdout.split(maxsplit=1)
        assert int(found) == hits
        assert Path(folder.strip()).is_relative_to(tmp_path)
