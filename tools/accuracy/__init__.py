"""How far fastnn's activations are from the exact values, in units in the last place (ULP).

`python -m tools.accuracy --help` says how to run it; docs/accuracy.md is its result, and says how
errors are counted.
"""
