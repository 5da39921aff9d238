"""What a layout is given, and what it answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from hepar.predictions.entries import Entry, entries_of
from hepar.predictions.mapping import LabelMapping
from hepar.predictions.names import LabelNames, is_class_name, is_label_file, stem_of
from hepar.predictions.source import Layer


@dataclass(frozen=True)
class Tree:
    """All files of a path; `folders` of an entry count from where label files begin."""

    path: Path
    entries: tuple[Entry, ...]
    mapping: LabelMapping | None = None
    above: tuple[str, ...] = ()

    @property
    def is_file(self) -> bool:
        return len(self.entries) == 1 and not self.entries[0].inside

    @property
    def labels(self) -> list[Entry]:
        """Volume files; every other kind (.npz, .json, pictures) is no label map."""
        return [entry for entry in self.entries if is_label_file(entry.name)]

    def folders_of(self, entry: Entry) -> tuple[str, ...]:
        return entry.folders[len(self.above) :]

    def below(self, names: Iterable[str]) -> list[Entry]:
        """Label files of the top folders `names`."""
        wanted = set(names)
        return [
            entry for entry in self.labels if len(self.folders_of(entry)) == 1 and self.folders_of(entry)[0] in wanted
        ]

    def top(self) -> list[Entry]:
        """Label files that lie in no folder."""
        return [entry for entry in self.labels if not self.folders_of(entry)]

    def by_folder(self) -> dict[tuple[str, ...], list[Entry]]:
        groups: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
        for entry in self.labels:
            groups[self.folders_of(entry)].append(entry)
        return groups

    def file(self, name: str) -> Entry | None:
        return next((e for e in self.entries if e.name == name and not self.folders_of(e)), None)


@dataclass(frozen=True)
class Found:
    """Label files by case: each is a list of candidates, and more than one of them is ambiguous.

    A candidate is a tuple of layers, several where a case has one file a class.
    """

    layout: str
    cases: dict[str, list[tuple[Layer, ...]]]
    names: LabelNames | None = None
    notes: tuple[str, ...] = ()


def tree_of(path: Path, mapping: LabelMapping | None = None) -> Tree:
    """Raises BadInput for a path that is not there or a .zip that cannot be read."""
    entries = entries_of(path)
    tree = Tree(path, tuple(entries), mapping)
    return _unwrapped(tree) if entries and entries[0].packed else tree


def _unwrapped(tree: Tree) -> Tree:
    """A .zip often holds one folder around everything; it is no case unless it holds one file a class."""
    tops = {entry.folders[:1] for entry in tree.entries}
    if (
        len(tops) != 1
        or tops == {()}
        or any(is_class_name(stem_of(e.name)) for e in tree.entries if len(e.folders) == 1)
    ):
        return tree
    return replace(tree, above=tops.pop())


def one_each(entries: Iterable[tuple[str, Entry]]) -> dict[str, list[tuple[Layer, ...]]]:
    """Cases with whole-label files: (case, entry) pairs, grouped."""
    cases: dict[str, list[tuple[Layer, ...]]] = defaultdict(list)
    for case, entry in entries:
        cases[case].append((Layer(entry),))
    return dict(cases)


def root_name(tree: Tree) -> str:
    """The path's own name, as a case id where the path itself is one case."""
    return PurePosixPath(stem_of(tree.path.resolve().name)).name.removesuffix(".zip")
