"""Sphinx's settings for the documentation site: `sphinx-build -W docs docs/_build` (extra `docs`)."""

import gc
import importlib.util
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_extensions")]

import api_pages  # noqa: E402
import docstrings  # noqa: E402
import links  # noqa: E402

import fastnn  # noqa: E402

# A site is millions of small objects: a fifth of the time would go into looking for cycles among them.
gc.set_threshold(200_000)

project = "fastnn"
release = version = fastnn.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
# A page named search.md would be lost: Sphinx has its own search.html.
exclude_patterns = ["_build", "gallery"]
smartquotes = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

# The reference. Packages of the extra `cuda` are not needed here: what is missing is replaced by stand-ins.
autodoc_mock_imports = [
    name for name in ("cuda", "cupy", "llvmlite", "numba", "nvmath") if not importlib.util.find_spec(name)
]
autodoc_type_aliases = {
    "Array": "numpy.ndarray",
    "ArrayLike": "numpy.typing.ArrayLike",
    "DTypeLike": "numpy.typing.DTypeLike",
}
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
maximum_signature_line_length = 100
# The names of other projects that signatures have. A build needs no network: these
# inventories, of the first version of their form, have what is used of them.
intersphinx_mapping = {
    "python": ("https://docs.python.org/3/", str(DOCS / "_inventories" / "python.inv")),
    "numpy": ("https://numpy.org/doc/stable/", str(DOCS / "_inventories" / "numpy.inv")),
}

html_theme = "pydata_sphinx_theme"
html_title = "fastnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {
    "header_links_before_dropdown": 7,
    "show_prev_next": False,
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": [],
    "footer_end": [],
}

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "write_computation_times": False,
}


def drop_maps(app, exception):
    """Leave out the theme's source maps, which serve its developers and are an eighth of the site."""
    for path in Path(app.outdir, "_static").rglob("*.map"):
        path.unlink()


def setup(app):
    """Sphinx calls this before it reads pages."""
    app.connect("builder-inited", api_pages.write_pages)
    app.connect("builder-inited", links.remember_names)
    app.connect("source-read", links.links_of_the_site)
    app.connect("autodoc-process-docstring", docstrings.process, priority=400)  # before numpydoc
    app.connect("build-finished", drop_maps)
    app.add_transform(links.NamesAreLinks)
    app.add_transform(links.TypesAreLinks)
