# Windows that slide over images: what convolution and pooling read and write. Part of _kernels.pyx.
