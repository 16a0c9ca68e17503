"""Signals: the first asks to stop, the second stops, and afterwards everything is as before."""

import signal

import pytest

from labctl.orchestrator.stopping import stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_insists(number: signal.Signals) -> None:
    before, told = signal.getsignal(number), list[str]()
    with stop_on_signals(lambda: told.append("stopping")) as stop:
        assert not stop.is_set()
        assert told == []
        signal.raise_signal(number)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        assert told == ["stopping"]
    assert signal.getsignal(number) is before


def test_handlers_are_put_back_on_an_error() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(ValueError, match="broke"), stop_on_signals():
        raise ValueError("broke")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
