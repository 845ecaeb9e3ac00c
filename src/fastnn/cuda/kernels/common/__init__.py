"""What kernels share: mathematics, tiles, rows, and sums over blocks."""
