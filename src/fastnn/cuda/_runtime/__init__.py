"""What runs kernels on a GPU: compiler, cache on disk, launch, graphs, and the state of the machine."""
