"""Kernels that draw random numbers: dropout, its masks, RReLU."""
