"""Compiling the kernels of a model before it runs: finding them without a GPU, and compiling them at once."""
