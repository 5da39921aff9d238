"""Settings of the documentation: `make docs`. Method pages are made from the cards in hepar/methods."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "src"), str(HERE)]

from method_pages import write_method_pages  # noqa: E402

import hepar  # noqa: E402

project = "hepar"
author = "the hepar authors"
release = version = hepar.__version__
copyright = "the hepar authors; Apache-2.0. Research use only, not a medical device"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Pages link to files of the repository, which the site does not hold.
suppress_warnings = ["myst.xref_missing"]
exclude_patterns = ["_build"]
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "description"

html_theme = "furo"
html_title = f"hepar {release}"
html_static_path: list[str] = []
html_show_sourcelink = False
html_theme_options = {"announcement": f"<b>{hepar.DISCLAIMER}</b>"}

# Written before Sphinx looks for pages.
write_method_pages(HERE / "methods")
