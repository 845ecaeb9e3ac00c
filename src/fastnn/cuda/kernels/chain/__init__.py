"""Kernels of batch normalisation and fused chains."""
