"""Chains of stages on the CPU: their layout in memory, running statistics, and the calls of the kernels."""
