"""The SCPI interpreter: short and long forms, suffixes, paths, quotes, errors."""

import pytest
from labctl_simulators.instruments.scpi_tree import Call, ScpiError, ScpiTree, definite_block


@pytest.fixture
def calls() -> list[Call]:
    return []


@pytest.fixture
def tree(calls: list[Call]) -> ScpiTree:
    tree = ScpiTree()

    def note(call: Call) -> None:
        calls.append(call)

    tree.add("SENSe#:FREQuency:STARt", note)
    tree.add("SENSe#:FREQuency:STOP", note)
    tree.add("OUTPut#[:STATe]?", lambda call: str(call.suffixes[0]))
    tree.add("*OPC?", lambda _: "1")
    tree.add("LEVel", lambda call: note(Call((), (str(call.number()), str(call.flag())))))
    return tree


@pytest.mark.parametrize(
    "message", [b"SENS:FREQ:STAR 1", b":SENSE1:FREQUENCY:START 1\n", b"sens1:freq:start 1", b" SENS1:FREQ:STAR 1 "]
)
def test_a_header_has_a_short_and_a_long_form(message: bytes, tree: ScpiTree, calls: list[Call]) -> None:
    assert tree.execute(message) is None
    assert calls == [Call((1,), ("1",))]
    assert tree.next_error() == '+0,"No error"'


@pytest.mark.parametrize("message", [b"SENSE1:FREQ:STA 1", b"SENSO:FREQ:STAR 1", b"FREQ:STAR 1", b"OUTP?X", b"OUTP 1"])
def test_no_other_form_is_known(message: bytes, tree: ScpiTree, calls: list[Call]) -> None:
    assert tree.execute(message) is None
    assert calls == []
    assert tree.next_error() == '-113,"Undefined header"'
    assert tree.take_event_status() == "32"
    assert tree.take_event_status() == "0"


def test_suffixes_and_optional_nodes(tree: ScpiTree) -> None:
    assert tree.execute(b"OUTP3:STAT?;:OUTPUT?;*OPC?") == b"3;1;1"


def test_a_header_goes_on_from_the_one_before(tree: ScpiTree, calls: list[Call]) -> None:
    tree.execute(b"SENS2:FREQ:STAR 1e9;STOP 2e9")
    assert calls == [Call((2,), ("1e9",)), Call((2,), ("2e9",))]


def test_parameters_are_checked(tree: ScpiTree) -> None:
    for message, number in ((b"LEV", "-109"), (b"LEV x", "-104"), (b"LEV 5", "-224")):
        tree.execute(message)
        assert tree.next_error().startswith(number)


def test_quotes_keep_separators() -> None:
    tree, seen = ScpiTree(), []
    tree.add("NAME", lambda call: seen.append((call.text(0), call.text(1))))
    tree.execute(b"NAME 'a,b;c',\"d'e\"")
    assert seen == [("a,b;c", "d'e")]


def test_errors_come_out_oldest_first_until_cleared() -> None:
    tree = ScpiTree()
    tree.fail(ScpiError(-222, "one"))
    tree.fail(ScpiError(12, "two"))
    assert tree.next_error() == '-222,"one"'
    tree.clear()
    assert tree.next_error() == '+0,"No error"'
    assert tree.take_event_status() == "0"


def test_a_block_states_its_length() -> None:
    assert definite_block(bytes(range(256))) == b"#3256" + bytes(range(256))
    assert definite_block(b"") == b"#10"
