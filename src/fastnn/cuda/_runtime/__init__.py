"""What runs kernels on a GPU: compiler, cache on disk, arrays in memory, launch, graphs, the machine's state."""
