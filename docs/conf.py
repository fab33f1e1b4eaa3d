"""The site's settings: `make docs`.

The source folder is the repository, not `docs/`, so that links between pages, READMEs and other files are the same on
the site and on GitHub, and no page is there twice.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

project = "idem"
author = "The authors of idem"
version = release = installed_version("idemcore")
root_doc = "docs/index"
source_suffix = {".md": "markdown"}
include_patterns = [
    "docs/**", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "changelog.d/README.md", "benchmarks/README.md",
    "examples/README.md", "plugins/*/README.md",
]  # fmt: skip
exclude_patterns = ["**/.*", ".*", "build", "runs", "out", "**/node_modules", "**/__pycache__", "**/site-packages"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "docstrings"]

# Markdown: headings can be linked to, as on GitHub.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
highlight_language = "text"
suppress_warnings = ["misc.highlighting_failure"]

# Reference: what a module says of itself, in the order of its source.
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
default_role = "py:obj"
add_module_names = False

html_theme = "furo"
html_title = "idem"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_root"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
