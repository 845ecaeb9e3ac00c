"""What runs kernels on a GPU: compiler, cache, arrays in memory, launches, graphs, the machine's state."""
