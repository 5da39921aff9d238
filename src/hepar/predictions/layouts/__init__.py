"""How tools and data sets arrange label files. A layout is one file with `recognises(tree)` and `find(tree)`.

Layouts are asked in order and the first that recognises the files takes them;
a flat folder is what no other layout wants.
"""

from __future__ import annotations

from hepar.predictions.layouts import case_folders, class_files, dataset_json, dicom_files, flat
from hepar.predictions.layouts.tree import Found, Tree

__all__ = ["Found", "Tree", "find"]

LAYOUTS = (dataset_json, class_files, dicom_files, case_folders, flat)


def find(tree: Tree) -> Found:
    """The label files by case. Raises BadInput where there are none."""
    found: Found = next(layout for layout in LAYOUTS if layout.recognises(tree)).find(tree)
    return found
