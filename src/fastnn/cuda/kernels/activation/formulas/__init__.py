"""The formulas of the activations: any file of this folder may hold that of any row of the CPU's table.

A row `name` of csrc/activation/activations.def has two device functions here: name(x, p0, p1), and
name_backward(dy, saved, p0, p1), where `saved` is x or what forward returned, as the table says. Numbers are
float32 or float64; p0 and p1 are the parameters in the table's order. Gradients at kinks are torch's;
comparisons are written so that NaN passes through, and in backward NaN in `saved` gives NaN, whatever dy
(but for identity). A formula must not know memory.
"""
