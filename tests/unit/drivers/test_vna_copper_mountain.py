"""The Copper Mountain driver: blocks where they come through, text where they do not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from labctl_drivers.vna.copper_mountain import CopperMountain
from labctl_drivers.vna.settings import AnalyserRules
from labctl_simulators.instruments.vna.copper_mountain import VirtualCopperMountain
from labctl_simulators.instruments.vna.dut import Resonator
from labctl_simulators.instruments.vna.engine import Engine

from labctl.contract.microwave import Segment, Sweep

SWEEP = Sweep(("S21",), (Segment(1e9, 2e9, 3),), power_dbm=-20.0, if_bandwidth_hz=1e4)
AXIS = "1000000000,1500000000,2000000000"
NO_ERROR = (":SYST:ERR?", '0,"No error"')
OPENING: tuple[Any, ...] = (
    ("*IDN?", "CMT,S5048,12345678,23.1.2/1"),
    (":SYST:ERR?", '0,"No error"'),
    "*CLS",
    (":SERV:PORT:COUN?", "2"),
    (":SERV:SWE:FREQ:MIN?", "20000"),
    (":SERV:SWE:FREQ:MAX?", "4800000000"),
    (":OUTP?", "0"),
)


def checked(*commands: str) -> tuple[Any, ...]:
    return tuple(line for command in commands for line in (command, NO_ERROR))


CONFIGURING: tuple[Any, ...] = (
    "*CLS",
    *checked(
        ":FORM:DATA ASC",
        ":INIT1:CONT OFF",
        ":ABOR",
        ":CALC1:PAR:COUN 1",
        ":CALC1:PAR1:DEF S21",
        ":SENS1:SWE:TYPE LIN",
        ":SENS1:FREQ:STAR 1000000000",
        ":SENS1:FREQ:STOP 2000000000",
        ":SENS1:SWE:POIN 3",
        ":SENS1:BWID 10000",
        ":SOUR1:POW -20",
        ":SENS1:AVER:COUN 1",
        ":SENS1:AVER:STAT OFF",
        ":TRIG:SEQ:AVER OFF",
        ":TRIG:SOUR BUS",
        ":INIT1:CONT ON",
    ),
    (":SENS1:SWE:POIN?", "3"),
    (":SENS1:BWID?", "10000"),
    (":SOUR1:POW?", "-20"),
    (":SENS1:FREQ:DATA?", AXIS),
)
FINISHING: tuple[Any, ...] = ((":SENS1:CORR:STAT?", "1"), (":SENS1:SWE:TIME?", "0.0003"))


def test_text_takes_over_where_no_block_comes_through_and_is_not_tried_again(scripted_link: Any) -> None:
    vna = CopperMountain(AnalyserRules(), "vna", scripted_link, timeout_s=1.0)
    scripted_link.expect(*OPENING)
    vna.open()
    scripted_link.expect(
        *CONFIGURING,
        *checked(":FORM:DATA REAL", ":FORM:BORD SWAP"),
        (":FORM:DATA?", "REAL"),
        (":FORM:BORD?", "SWAP"),
        (":SENS1:FREQ:DATA?", b"cut off"),
        "*CLS",
        *checked(":FORM:DATA ASC"),
        (":FORM:DATA?", "ASC"),
        *FINISHING,
    )
    assert vna.configure(SWEEP).tolist() == [1e9, 1.5e9, 2e9]
    scripted_link.expect(*CONFIGURING, *FINISHING)
    vna.configure(SWEEP)
    scripted_link.expect(
        *checked(":OUTP ON"),
        (":OUTP?", "1"),
        ":TRIG:SING",
        ("*OPC?", "1"),
        ":CALC1:PAR1:SEL",
        (":CALC1:SEL:DATA:SDAT?", "0.5,-0.25,0,1,1e-3,0"),
        NO_ERROR,
    )
    assert vna.sweep().values.tolist() == [[0.5 - 0.25j, 1j, 1e-3]]


@pytest.mark.parametrize(("sends_blocks", "tolerance"), [(True, 0.0), (False, 1e-11)])
def test_both_ways_give_the_same_numbers(sends_blocks: bool, tolerance: float, memory_link: Callable[..., Any]) -> None:
    virtual = VirtualCopperMountain(Engine(Resonator()), sends_blocks=sends_blocks)
    vna = CopperMountain(AnalyserRules(simulated=True), "vna", memory_link(virtual.execute), timeout_s=1.0)
    vna.open()
    frequencies_hz = vna.configure(SWEEP)
    expected = Resonator().s_parameters(frequencies_hz)[:, 1, 0]
    np.testing.assert_allclose(vna.sweep().values[0], expected, atol=tolerance, rtol=0)
