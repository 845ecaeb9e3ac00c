"""The version, which pyproject.toml reads from here, and the name that pip knows the package by."""

__version__ = "0.1.0"

#: `import fastnn` and the command `fastnn` come with this distribution: on PyPI, `fastnn` is another project.
#: pyproject.toml must have it literally, and pages do; tests/docs/test_release.py compares.
DISTRIBUTION = "fastnn-numpy"
