# The steps of the optimisers. Part of _kernels.pyx.
