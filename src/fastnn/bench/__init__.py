"""`fastnn bench`: times fastnn beside its pure-NumPy reference and whichever peers are installed.

cases.py says what is timed (activations.py, layers.py), peers/ how each contestant is called, measure.py how
the time is taken, report.py and chart.py what is shown. Nothing here asserts a time, and `import fastnn` does
not load it.
"""
