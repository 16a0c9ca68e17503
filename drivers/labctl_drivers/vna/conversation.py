"""Questions to an instrument over a message link, and answers that are what was asked for."""

import numpy as np
from numpy.typing import NDArray

from labctl.contract.errors import InstrumentError
from labctl_drivers.transport.link import Link

_WITHOUT_BRACKETS = str.maketrans("", "", "[]")


class Conversation:
    """Commands and queries on a `Link`. Raises `InstrumentError` with the query for an answer that makes no sense."""

    def __init__(self, link: Link) -> None:
        self.link = link

    def tell(self, command: str) -> None:
        """Send a command that has no answer."""
        self.link.write(command)

    def ask(self, query: str, *, timeout_s: float | None = None) -> str:
        """Return the answer to a query."""
        return self.link.query(query, timeout_s=timeout_s).strip()

    def ask_number(self, query: str) -> float:
        """Return an answer that is one number."""
        answer = self.ask(query)
        try:
            return float(answer)
        except ValueError:
            raise InstrumentError(self.link.name, f"answers '{answer}', which is no number,", command=query) from None

    def ask_flag(self, query: str) -> bool:
        """Return an answer that is 0 or 1, TRUE or FALSE."""
        answer = self.ask(query).upper()
        if answer in ("TRUE", "FALSE"):
            return answer == "TRUE"
        if answer.lstrip("+") in ("0", "1"):
            return answer.endswith("1")
        raise InstrumentError(self.link.name, f"answers '{answer}', neither yes nor no,", command=query)

    def ask_numbers(self, query: str, count: int, *, timeout_s: float | None = None) -> NDArray[np.float64]:
        """Return an answer that is `count` numbers with commas between, whatever brackets group them."""
        answer = self.ask(query, timeout_s=timeout_s).translate(_WITHOUT_BRACKETS)
        try:
            numbers = np.array([float(field) for field in answer.split(",")])
        except ValueError:
            raise InstrumentError(self.link.name, f"answers '{answer[:40]}', not numbers,", command=query) from None
        if len(numbers) != count:
            raise InstrumentError(self.link.name, f"answers {len(numbers)} numbers, not {count},", command=query)
        return numbers
