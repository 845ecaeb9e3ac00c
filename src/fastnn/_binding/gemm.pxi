# Matrix products. Part of _kernels.pyx.
