"""Chains of stages on the CPU: layout in memory, running statistics, forward and backward, and `fuse`."""
