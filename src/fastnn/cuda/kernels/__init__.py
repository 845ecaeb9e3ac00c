"""The kernels, as templates of Python functions that Numba compiles. They know addresses, and no arrays."""
