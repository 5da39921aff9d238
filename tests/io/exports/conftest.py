"""A source series, and a liver with two lesions marked on it."""

from __future__ import annotations

import pytest
from exported_series import numbers_on, source_from

from hepar.io.exports.marked import Marked
from hepar.io.exports.source import Source


@pytest.fixture
def source(tmp_path) -> Source:
    return source_from(tmp_path / "ct")


@pytest.fixture
def marked(source) -> Marked:
    return Marked(numbers_on(source.shape), ("Tumour 1", "Tumour 2"))
