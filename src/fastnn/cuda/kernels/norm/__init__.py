"""Kernels of norms of rows: layer, RMS, group and instance norm."""
