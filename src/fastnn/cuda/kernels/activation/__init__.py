"""Kernels of activations, element by element and of halves, slopes and pieces."""
