"""Sphinx's settings for these pages and the gallery: `sphinx-build -W docs docs/_build` (extra `docs`)."""

import re

project = "fastnn"
html_theme = "pydata_sphinx_theme"
extensions = ["myst_parser", "sphinx_gallery.gen_gallery"]
# A page named search.md would be lost: Sphinx has its own search.html.
exclude_patterns = ["_build", "gallery"]

myst_heading_anchors = 3
# Pages link to files of the repository, which are no pages of this site; tests/docs checks that they exist.
suppress_warnings = ["myst.xref_missing"]

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "write_computation_times": False,
}


def link_to_gallery(app, docname, content):
    """Let links to scripts of the gallery lead to the pages that sphinx-gallery makes of them."""
    content[0] = re.sub(r"\]\(gallery/(plot_\w+)\.py\)", r"](auto_gallery/\1.rst)", content[0])


def setup(app):
    """Sphinx calls this before it reads pages."""
    app.connect("source-read", link_to_gallery)
