"""A folder to write label files into."""

from __future__ import annotations

import pytest
from label_files import Files


@pytest.fixture
def files(tmp_path) -> Files:
    return Files(tmp_path)
