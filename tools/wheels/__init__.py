"""What users download: builds the sdist and the wheels on one Linux machine, checks them and tests them.

Wheels for Linux are compiled by zig (ziglang on PyPI), which brings the C libraries of all targets, so no
container is needed. A release takes its wheels from cibuildwheel on the machines of a code host; this is how
one machine checks beforehand what they will be, by the same settings (`[tool.cibuildwheel]` in
pyproject.toml) and the same limits.

targets.py says what is built for, build.py builds, archive.py compresses, contents.py says what may be in a
wheel or an sdist and how large it may be, audit.py asks the tools of others, install.py tests in fresh
environments, emulated.py finds a Python for AArch64 and runs it by qemu, process.py runs programs.
"""
