# Norms over contiguous rows: layer norm, RMS norm, group norm. Part of _kernels.pyx.
