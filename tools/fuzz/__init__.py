"""The fuzzer: random calls of all that is public, and damaged files; `python -m tools.fuzz --help` says how.

A case is what a seed and a number give (targets.py). It is a call with arrays in random memory (case.py) that
functions.py, layers.py, optimizers.py, initializers.py or chains.py makes from signatures, and that judge.py
compares with the same call on plain arrays and with the reference; or it is a damaged file (files.py).
campaign.py runs cases in child processes, so that a crash is a result like any other.

It is a loop of our own. libFuzzer and atheris change bytes so that more branches are reached; what matters
here are shapes, strides, dtypes and overlaps, to which no change of bytes leads, and the readers of files are
Python code, where damages made by chance reach as much. Hypothesis draws from descriptions as this does, but
in one process, which a crash ends, and what repeats its case is a file and not two numbers.
"""
