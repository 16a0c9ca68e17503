"""The log of a link's bytes, its bounds, and the link that answers from it."""

from pathlib import Path

import pytest
from labctl_drivers.transport.byte_log import ByteLog, ReplayLink, read_byte_log
from labctl_drivers.transport.link import LinkError, LinkGarbledError, LinkTimeoutError

from tests.wire.small_bench import IDENTITY, Bench, StartBench


def conversation(bench: Bench) -> None:
    bench.link.write("SENS:SWE:POIN 3")
    bench.link.query("ECHO? one")
    bench.link.query_block("BLOCK?", n_bytes=len(bench.instrument.payload))
    bench.server.faults.arm("silence")
    with pytest.raises(LinkTimeoutError):
        bench.link.query("ECHO? lost", timeout_s=0.2)
    bench.link.query("ECHO? two")


def test_log_replays_answers_and_faults_in_order(start_bench: StartBench, transport: str, tmp_path: Path) -> None:
    file = tmp_path / "vna.jsonl"
    bench = start_bench(transport, byte_log={"file": str(file)})
    conversation(bench)

    entries = list(read_byte_log(file))
    assert [entry.kind for entry in entries] == [
        "opened", "sent", "sent", "received", "sent", "received", "sent", "failed", "opened", "sent", "received",
    ]  # fmt: skip
    assert entries[0].data == IDENTITY.encode()
    replay = ReplayLink("vna", entries)
    replay.open()
    replay.write("SENS:SWE:POIN 3")
    assert replay.query("ECHO? one") == "one"
    assert bytes(replay.query_block("BLOCK?", n_bytes=len(bench.instrument.payload))) == bench.instrument.payload
    with pytest.raises(LinkTimeoutError):
        replay.query("ECHO? lost")
    assert replay.query("ECHO? two") == "two"
    assert replay.unread == 0
    with pytest.raises(LinkGarbledError, match="the log ends here"):
        replay.query("ECHO? three")
    replay.close()


def test_replay_refuses_another_order(start_bench: StartBench, tmp_path: Path) -> None:
    bench = start_bench("socket", byte_log={"file": str(tmp_path / "log")})
    conversation(bench)
    entries = list(read_byte_log(tmp_path / "log"))
    for ask in (lambda link: link.query("ECHO? one"), lambda link: link.write("SENS:SWE:POIN 4")):
        with pytest.raises(LinkGarbledError, match="the log has b'SENS:SWE:POIN 3"):
            ask(ReplayLink("vna", entries))
    with pytest.raises(LinkGarbledError, match="the log has 'sent' here"):
        ReplayLink("vna", entries).query("SENS:SWE:POIN 3")


def test_what_was_thrown_away_is_in_the_log(start_bench: StartBench, tmp_path: Path) -> None:
    bench = start_bench("socket", byte_log={"file": str(tmp_path / "log")})
    bench.server.faults.arm("close")
    with pytest.raises(LinkError):
        bench.link.query_block("BLOCK?", n_bytes=len(bench.instrument.payload))
    *_, discarded, failed = read_byte_log(tmp_path / "log")
    assert discarded.kind == "discarded"
    assert bench.instrument.payload.startswith(discarded.data[6:])
    assert len(discarded.data) > 1000
    assert failed.data.startswith(b"LinkLostError: ")


def test_log_is_bounded_in_memory_and_on_disk(tmp_path: Path) -> None:
    file = tmp_path / "log"
    log = ByteLog(1000, file)
    for number in range(100):
        log.add("received", b"%03d" % number + b"x" * 97)
    assert [entry.data[:3] for entry in log.entries] == [b"%03d" % number for number in range(90, 100)]
    assert file.stat().st_size + (tmp_path / "log.1").stat().st_size < 4000
    assert len(list(tmp_path.iterdir())) == 2
    assert list(read_byte_log(file))[-1].data[:3] == b"099"


def test_every_byte_value_survives_the_file(tmp_path: Path) -> None:
    ByteLog(10_000, tmp_path / "log").add("received", bytes(range(256)) * 2)
    (entry,) = read_byte_log(tmp_path / "log")
    assert entry.data == bytes(range(256)) * 2


def test_disk_that_is_full_does_not_end_a_conversation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = ByteLog(1000, tmp_path / "no such folder" / "log")
    log.add("sent", b"a")
    log.add("sent", b"b")
    assert [entry.data for entry in log.entries] == [b"a", b"b"]
    assert caplog.text.count("ends here") == 1
