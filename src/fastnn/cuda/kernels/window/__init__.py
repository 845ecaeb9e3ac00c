"""Kernels of pooling, and of the patches that convolution multiplies."""
