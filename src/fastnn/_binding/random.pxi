# Random draws: Philox, dropout and its masks. Part of _kernels.pyx.

cdef extern from "fastnn.h" nogil:
    ctypedef struct fastnn_dropout:
        uint64_t seed, offset, first
        uint32_t threshold
        double scale, shift, dropped
    fastnn_outcome fastnn_run_dropout(const fastnn_map *, const fastnn_dropout *, size_t)
    fastnn_outcome fastnn_run_dropout_mask(const fastnn_dropout *, size_t, bint, uint8_t *)
    void fastnn_draw_blocks(uint64_t, uint64_t, uint64_t, size_t, uint16_t *)
    void fastnn_philox4x32(const uint32_t *, const uint32_t *, uint32_t *)

cdef int IDENTITY = fastnn_find_kernel(b"identity")


cdef size_t unit_of(cnp.ndarray array, int axes):
    """How many elements share a draw: all that have one index in the first `axes` axes; 1 if axes < 0."""
    cdef size_t unit = 1
    for d in range(axes, cnp.PyArray_NDIM(array)):
        if axes >= 0:
            unit *= <size_t>cnp.PyArray_DIM(array, d)
    return unit


cpdef first_draw(row, samples, each):
    """The number of the first draw of samples row ... row + samples - 1, which have `each` draws."""
    if (row + samples) * each >= 2**63:
        raise ValueError(f"key must have a row whose samples end before draw 2**63 of the stream, got row {row}")
    return row * each


cdef int open_key(key, cnp.ndarray samples, size_t unit, uint64_t *seed, uint64_t *offset, uint64_t *first) except -1:
    """The words of a fastnn.Key, and the first draw of a call for these samples, of which `unit` elements share one."""
    cdef cnp.npy_intp size = cnp.PyArray_SIZE(samples), count = 1
    cdef object row = key[2]
    seed[0], offset[0], first[0] = key[0], key[1], 0
    if row:
        if cnp.PyArray_NDIM(samples) > 0:
            count = cnp.PyArray_DIM(samples, 0)
        if size > 0:
            first[0] = first_draw(row, count, size // count // unit)
    return 0


def dropout(str name, input, out, key, uint32_t threshold, double scale, double shift=0.0, double dropped=0.0, int axes=-1):
    """y = scale x + shift where the draw is below `threshold`, else `dropped`. Messages call the input `name`.

    Elements of one index into the first `axes` axes share a draw; axes < 0: every one has its own.
    """
    if not is_plain(input, PLAIN) or not (out is None or fits(out, input)):
        return general("dropout", input, (name, input, out, key, threshold, scale, shift, dropped, axes))
    if out is None:
        out = new_like(input)
    dropout_arrays(out, input, key, threshold, scale, shift, dropped, axes)
    return out


cpdef dropout_arrays(cnp.ndarray target, cnp.ndarray input, key, uint32_t threshold, double scale, double shift,
                     double dropped, int axes):
    """The same for two arrays as map_arrays takes them."""
    cdef fastnn_dropout rule
    cdef fastnn_map map
    cdef fastnn_outcome outcome
    cdef size_t unit = unit_of(target, axes)
    open_key(key, target, unit, &rule.seed, &rule.offset, &rule.first)
    rule.threshold, rule.scale, rule.shift, rule.dropped = threshold, scale, shift, dropped
    start_map(&map, IDENTITY, 1, 1, target)
    fill_operand(&map.operands[0], target)
    fill_operand(&map.operands[1], input)
    if threshold == 65536 and scale == 1 and shift == 0:
        run(&map)  # a copy, which keeps the bits of a NaN
    elif cnp.PyArray_SIZE(target) < GIL_FREE_ELEMENTS:
        conclude(fastnn_run_dropout(&map, &rule, unit))
    else:
        with nogil:
            outcome = fastnn_run_dropout(&map, &rule, unit)
        conclude(outcome)


def dropout_mask(cnp.ndarray mask, size_t count, key, uint32_t threshold, uint64_t first=0):
    """Fills `mask` for `count` elements from `first` on, whatever the key's row: booleans, or if it is uint8 bits."""
    cdef fastnn_dropout rule
    cdef uint8_t *data = <uint8_t *>cnp.PyArray_DATA(mask)
    cdef bint packed = cnp.PyArray_TYPE(mask) == cnp.NPY_UINT8
    cdef fastnn_outcome outcome
    rule.seed, rule.offset, rule.first = key[0], key[1], first
    rule.threshold = threshold
    with nogil:
        outcome = fastnn_run_dropout_mask(&rule, count, packed, data)
    conclude(outcome)


def draw_blocks(key, uint64_t first, size_t blocks):
    """The 16-bit draws of Philox blocks first ... first + blocks - 1, eight of each, whatever the key's row."""
    cdef uint64_t seed = key[0]
    cdef uint64_t offset = key[1]
    cdef cnp.npy_intp sizes[1]
    sizes[0] = 8 * blocks
    cdef cnp.ndarray draws = new_array(1, sizes, cnp.NPY_UINT16, 2)
    cdef uint16_t *data = <uint16_t *>cnp.PyArray_DATA(draws)
    with nogil:
        fastnn_draw_blocks(seed, offset, first, blocks, data)
    return draws


def philox4x32(counter, key):
    """One block of Philox4x32-10: four words from a counter of four and a key of two."""
    cdef uint32_t[4] c = counter
    cdef uint32_t[2] k = key
    cdef uint32_t[4] words
    fastnn_philox4x32(c, k, words)
    return words[0], words[1], words[2], words[3]
