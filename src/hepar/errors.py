"""What can go wrong at hepar's doors, and the exit code the command line gives it.

Every message says what was found, what was expected and what to do. Messages
carry file names as the user typed them, never patient names or ids.
"""

from __future__ import annotations


class HeparError(Exception):
    """Base of all errors that hepar raises on purpose; `exit_code` is the CLI's."""

    exit_code = 1


class BadInput(HeparError):
    """A file, folder or array is not what the call needs."""

    exit_code = 2


class GeometryMismatch(BadInput):
    """Two maps that should share one voxel grid do not."""


class BadModel(HeparError):
    """A model folder or weights file is missing, damaged or not trusted."""

    exit_code = 3


class OutputError(HeparError):
    """A result could not be written; nothing half-written was left behind."""

    exit_code = 4


class SomeCasesFailed(HeparError):
    """A batch went through, but at least one of its cases failed."""

    exit_code = 5


class MissingExtra(HeparError):
    """The call needs an optional part of hepar that is not installed."""

    exit_code = 6


class TrainingDiverged(HeparError):
    """The loss is no longer a number; the last finished epoch is kept."""

    exit_code = 7


class FaultyDataSet(HeparError):
    """The doctor went through a data set and found errors in it."""

    exit_code = 8
