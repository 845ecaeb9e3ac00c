# Rows of a table by their numbers. Part of _kernels.pyx. fastnn.functional.embedding has made the arrays plain and
# checked their shapes; numbers are int64.

cdef extern from "fastnn.h" nogil:
    fastnn_outcome fastnn_take_rows(size_t, size_t, const void *, size_t, const int64_t *, void *)
    fastnn_outcome fastnn_add_rows(bint, size_t, size_t, const void *, size_t, const int64_t *, int64_t, void *)


def wrong_row(cnp.ndarray indices, size_t rows):
    """The first of the numbers that is not in [0, rows), by its place; None if there is none."""
    cdef size_t count = <size_t>cnp.PyArray_SIZE(indices), place
    cdef double total = 0
    if rows == 0:
        return 0 if count else None
    with nogil:
        place = fastnn_check_labels(False, count, <const int64_t *>cnp.PyArray_DATA(indices), rows, 0, NULL, &total)
    return None if place == count else place


def take_rows(cnp.ndarray table, cnp.ndarray indices, cnp.ndarray out):
    """Copies the rows of the table, of any dtype, to `out`."""
    cdef size_t bytes = <size_t>cnp.PyArray_DIM(table, 1) * <size_t>cnp.PyArray_ITEMSIZE(table)
    cdef fastnn_outcome outcome
    with nogil:
        outcome = fastnn_take_rows(<size_t>cnp.PyArray_DIM(table, 0), bytes, cnp.PyArray_DATA(table), <size_t>cnp.PyArray_SIZE(indices),
                                   <const int64_t *>cnp.PyArray_DATA(indices), cnp.PyArray_DATA(out))
    conclude(outcome)


def add_rows(cnp.ndarray rows, cnp.ndarray indices, int64_t skipped, cnp.ndarray sums):
    """Fills `sums` with the sums of the rows of each number, but with 0 for the number `skipped`."""
    cdef bint float64 = cnp.PyArray_TYPE(sums) == cnp.NPY_DOUBLE
    cdef size_t count = <size_t>cnp.PyArray_SIZE(indices), columns = <size_t>cnp.PyArray_DIM(sums, 1)
    cdef size_t length = <size_t>cnp.PyArray_DIM(sums, 0)
    cdef fastnn_outcome outcome
    with nogil:
        outcome = fastnn_add_rows(float64, length, columns, cnp.PyArray_DATA(rows), count,
                                  <const int64_t *>cnp.PyArray_DATA(indices), skipped, cnp.PyArray_DATA(sums))
    conclude(outcome)
