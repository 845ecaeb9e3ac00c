# Dropout masks and uniform numbers from Philox. Part of _kernels.pyx.
