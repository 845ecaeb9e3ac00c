# Softmax and the losses. Part of _kernels.pyx.
