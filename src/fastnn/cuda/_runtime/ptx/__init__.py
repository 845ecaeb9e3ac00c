"""What kernels need below Python: device functions, PTX instructions, 16-byte accesses, half types.

All that is particular to numba-cuda's code generation is in this folder, so that a port to another front end
rewrites it. It must not know any operation.
"""
