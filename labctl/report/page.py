from pathlib import Path

from labctl.record.reader import LogReader


def write_page(reader: LogReader, path: Path) -> None:
    path.write_text("<html></html>")
