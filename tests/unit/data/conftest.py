import os
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def real_data() -> Path:
    return Path(os.environ.get("LABCTL_DATA", _ROOT / "../shared/data"))


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that hypothesis may write to over and over."""
    return tmp_path_factory.mktemp("scratch")
