import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labctl_simulators.physics.convolution import ResponseMatrix

N_TAPS = 37


def matrix(seed: int = 0, n_inputs: int = 3, n_outputs: int = 2) -> ResponseMatrix:
    return ResponseMatrix(np.random.default_rng(seed).standard_normal((N_TAPS, n_inputs, n_outputs)))


def streamed(responses: ResponseMatrix, samples: np.ndarray, blocks: list[int]) -> np.ndarray:
    state, heard, start = responses.silence(), [], 0
    for length in blocks:
        state, block = responses.stream(state, samples[start : start + length])
        heard.append(block)
        start += length
    assert start == len(samples)
    return np.concatenate(heard)


def direct(seed: int, samples: np.ndarray) -> np.ndarray:
    taps = np.random.default_rng(seed).standard_normal((N_TAPS, 3, 2))
    outputs = [sum(np.convolve(samples[:, i], taps[:, i, o]) for i in range(3)) for o in range(2)]
    return np.stack(outputs, axis=1)[: len(samples)]


def test_it_is_a_convolution() -> None:
    samples = np.random.default_rng(1).standard_normal((500, 3))
    heard = streamed(matrix(), samples, [500])
    np.testing.assert_allclose(heard, direct(0, samples), atol=1e-12 * np.abs(heard).max())


@pytest.mark.parametrize("block", [1, 128, 4800])
def test_blocks_of_any_length_agree(block: int) -> None:
    samples = np.random.default_rng(1).standard_normal((4800, 3))
    whole = streamed(matrix(), samples, [4800])
    blocks = [block] * (4800 // block) + [4800 % block] * (4800 % block > 0)
    np.testing.assert_allclose(streamed(matrix(), samples, blocks), whole, atol=1e-12 * np.abs(whole).max())


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(0, 1000))
def test_blocks_of_mixed_length_agree(blocks: list[int], seed: int) -> None:
    samples = np.random.default_rng(seed).standard_normal((sum(blocks), 3))
    whole = streamed(matrix(), samples, [len(samples)])
    np.testing.assert_allclose(streamed(matrix(), samples, blocks), whole, atol=1e-12 * max(1.0, np.abs(whole).max()))


def test_superposition() -> None:
    first, second = np.random.default_rng(2).standard_normal((2, 300, 3))
    together = streamed(matrix(), 2 * first - second, [300])
    apart = 2 * streamed(matrix(), first, [300]) - streamed(matrix(), second, [300])
    np.testing.assert_allclose(together, apart, atol=1e-12 * np.abs(together).max())


def test_silence_stays_exactly_silent() -> None:
    assert not streamed(matrix(), np.zeros((300, 3)), [100, 200]).any()


def test_outside_the_reach_of_a_burst_the_output_is_exactly_zero() -> None:
    samples = np.zeros((400, 3))
    samples[100:150] = np.random.default_rng(0).standard_normal((50, 3))
    heard = streamed(matrix(), samples, [400])
    assert not heard[:100].any()
    assert (heard[100 : 150 + N_TAPS - 1] != 0).all()
    assert not heard[150 + N_TAPS - 1 :].any()


def test_a_burst_that_has_rung_out_changes_no_bit_of_the_next() -> None:
    bursts = np.zeros((2, 200, 3))
    bursts[:, 20:120] = np.random.default_rng(0).standard_normal((2, 100, 3))
    responses = matrix()
    after, _ = responses.stream(responses.silence(), bursts[0])
    np.testing.assert_array_equal(
        responses.stream(after, bursts[1])[1], responses.stream(responses.silence(), bursts[1])[1]
    )


def test_streaming_changes_neither_state_nor_samples() -> None:
    responses = matrix()
    samples = np.random.default_rng(0).standard_normal((64, 3))
    state, _ = responses.stream(responses.silence(), samples)
    kept, played = state.pending.copy(), samples.copy()
    responses.stream(state, samples)
    np.testing.assert_array_equal(state.pending, kept)
    np.testing.assert_array_equal(samples, played)
