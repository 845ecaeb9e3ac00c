# Dropout and its masks. Part of _kernels.pyx.

cdef int IDENTITY = fastnn_find_kernel(b"identity")


cdef size_t unit_of(cnp.ndarray array, int axes):
    """How many elements share a draw: all that have one index in the first `axes` axes; 1 if axes < 0."""
    cdef size_t unit = 1
    for d in range(axes, cnp.PyArray_NDIM(array)):
        if axes >= 0:
            unit *= <size_t>cnp.PyArray_DIM(array, d)
    return unit


def dropout(str name, input, out, key, uint32_t threshold, double scale, double shift=0.0, double dropped=0.0, int axes=-1):
    """y = scale x + shift where the draw is below `threshold`, else `dropped`. Messages call the input `name`."""
    cdef fastnn_dropout rule
    cdef fastnn_map map
    cdef bint done
    rule.seed, rule.offset = key
    rule.threshold, rule.scale, rule.shift, rule.dropped = threshold, scale, shift, dropped
    target = out
    if not is_plain(input, PLAIN) or not (out is None or fits(out, input)):
        if is_tensor(input) or is_tensor(out):
            args = name, input, out, key, threshold, scale, shift, dropped, axes
            return call_with_tensors(dropout, input, ("name", name, "out"), args)
        from fastnn._core import arrays  # which itself needs this module

        (input,), target = arrays.prepare(((name, input),), out)
    elif out is None:
        target = new_like(input)
    start_map(&map, IDENTITY, 1, 1, target)
    fill_operand(&map.operands[0], target)
    fill_operand(&map.operands[1], input)
    cdef size_t unit = unit_of(target, axes)
    if threshold == 65536 and scale == 1 and shift == 0:
        run(&map)  # a copy, which keeps the bits of a NaN
    elif cnp.PyArray_SIZE(<cnp.ndarray>target) < GIL_FREE_ELEMENTS:
        finish(fastnn_run_dropout(&map, &rule, unit))
    else:
        with nogil:
            done = fastnn_run_dropout(&map, &rule, unit)
        finish(done)
    if out is None or out is target:
        return target
    out[...] = target
    return out


def dropout_mask(cnp.ndarray mask, size_t count, key, uint32_t threshold, uint64_t first=0):
    """Fills `mask` for `count` elements from `first` on: booleans, or if it is uint8 a bit for each element."""
    cdef fastnn_dropout rule
    cdef uint8_t *data = <uint8_t *>cnp.PyArray_DATA(mask)
    cdef bint packed = cnp.PyArray_TYPE(mask) == cnp.NPY_UINT8
    cdef bint done
    rule.seed, rule.offset = key
    rule.threshold = threshold
    with nogil:
        done = fastnn_run_dropout_mask(&rule, first, count, packed, data)
    finish(done)


def draw_blocks(key, uint64_t first, size_t blocks):
    """The 16-bit draws of Philox blocks first ... first + blocks - 1, eight of each."""
    cdef uint64_t seed, offset
    cdef cnp.npy_intp sizes[1]
    seed, offset = key
    sizes[0] = 8 * blocks
    cdef cnp.ndarray draws = new_array(1, sizes, cnp.NPY_UINT16, 2)
    cdef uint16_t *data = <uint16_t *>cnp.PyArray_DATA(draws)
    with nogil:
        fastnn_draw_blocks(seed, offset, first, blocks, data)
    return draws
