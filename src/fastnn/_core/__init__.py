"""What every part stands on: arrays made ready for the kernels, other libraries' tensors, files, the machine.

It knows the binding, fastnn._kernels, and no layer, function or optimiser.
"""
