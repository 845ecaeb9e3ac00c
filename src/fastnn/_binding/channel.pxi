# Batch norm: moments, scale and shift, and gradients of channels. Part of _kernels.pyx.
