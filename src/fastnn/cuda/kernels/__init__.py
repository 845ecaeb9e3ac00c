"""The kernels, as templates of Python functions that Numba compiles, and their launches.

They stand on fastnn.cuda._runtime, and know no library of arrays. `common` knows none of the other folders.
"""
