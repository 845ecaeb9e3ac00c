"""Kernels of softmax and the losses."""
