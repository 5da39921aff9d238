"""Steps as JSON: a list of {"step": class name, setting: value, ...}.

Only classes of a fixed table can be named, so a model folder can ask for
nothing but what hepar ships.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from hepar.errors import BadInput, BadModel

Row = dict[str, Any]


def rows_of(steps: Iterable[Any], known: Mapping[str, type]) -> list[Row]:
    """Each step's class name and settings. Raises BadInput for a step that is not in `known`."""
    rows = []
    for step in steps:
        name = type(step).__name__
        if known.get(name) is not type(step) or not is_dataclass(step) or isinstance(step, type):
            raise BadInput(f"step {name} cannot be stored; storable are {', '.join(sorted(known))}")
        rows.append({"step": name, **asdict(step)})
    return rows


def steps_of(rows: Any, known: Mapping[str, type]) -> tuple[Any, ...]:
    """The steps that `rows_of` wrote. Raises BadModel on an unknown name or setting."""
    if not isinstance(rows, list):
        raise BadModel(f"stored steps are a {type(rows).__name__}; expected a list such as [{{'step': 'Name'}}]")
    return tuple(_step(row, known) for row in rows)


def _step(row: Any, known: Mapping[str, type]) -> Any:
    name = row.get("step") if isinstance(row, dict) else None
    if not isinstance(name, str) or name not in known:
        raise BadModel(
            f"stored step {name!r} is unknown; this version of hepar knows {', '.join(sorted(known))}. "
            "Update hepar or repair the model's settings"
        )
    cls = known[name]
    settings = {key: value for key, value in row.items() if key != "step"}
    allowed = {field.name for field in fields(cls)}
    if settings.keys() - allowed:
        raise BadModel(f"step {name} has no setting {sorted(settings.keys() - allowed)}; it has {sorted(allowed)}")
    try:
        return cls(**settings)
    except (BadInput, TypeError, ValueError) as error:
        raise BadModel(f"stored step {name} has unusable settings: {error}") from error
