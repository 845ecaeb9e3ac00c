"""Kernels of the optimisers' rules, on lists of tensors."""
