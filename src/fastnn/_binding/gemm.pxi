# Matrix products. Part of _kernels.pyx.

cdef extern from "fastnn.h" nogil:
    ctypedef struct fastnn_matrix:
        const void *data
        ptrdiff_t row, column
    ctypedef struct fastnn_product:
        bint float64, add
        size_t m, n, k
        fastnn_matrix a, b
        void *c
        ptrdiff_t row, column
    fastnn_outcome fastnn_run_product(const fastnn_product *)

cdef enum:
    GIL_FREE_PRODUCTS = 100000  # a call of so many products of elements lets other Python threads run


@cython.cdivision(True)
cdef inline bint is_matrix(object array, int type) noexcept:
    """Two dimensions, elements of `type` in native byte order, and strides that are whole elements."""
    if not cnp.PyArray_CheckExact(array):
        return False
    cdef cnp.ndarray a = array
    cdef Py_ssize_t bytes = 8 if type == cnp.NPY_DOUBLE else 4
    return (
        cnp.PyArray_NDIM(a) == 2
        and cnp.PyArray_TYPE(a) == type
        and cnp.PyArray_ISALIGNED(a)
        and cnp.PyArray_ISNOTSWAPPED(a)
        and cnp.PyArray_STRIDE(a, 0) % bytes == 0
        and cnp.PyArray_STRIDE(a, 1) % bytes == 0
    )


@cython.cdivision(True)
cdef inline fastnn_matrix as_matrix(cnp.ndarray array, Py_ssize_t bytes) noexcept:
    cdef fastnn_matrix matrix
    matrix.data = cnp.PyArray_DATA(array)
    matrix.row = cnp.PyArray_STRIDE(array, 0) // bytes
    matrix.column = cnp.PyArray_STRIDE(array, 1) // bytes
    return matrix


cdef inline void span(cnp.ndarray matrix, uintptr_t *begin, uintptr_t *end) noexcept:
    """The range of memory that the elements of a matrix are in."""
    cdef Py_ssize_t reach
    cdef int d
    begin[0] = <uintptr_t>cnp.PyArray_DATA(matrix)
    end[0] = begin[0] + <uintptr_t>cnp.PyArray_ITEMSIZE(matrix)
    for d in range(2):
        reach = (cnp.PyArray_DIM(matrix, d) - 1) * cnp.PyArray_STRIDE(matrix, d)
        if reach > 0:
            end[0] += <uintptr_t>reach
        else:
            begin[0] -= <uintptr_t>-reach


cdef inline bint spans_apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    cdef uintptr_t a_begin, a_end, b_begin, b_end
    span(a, &a_begin, &a_end)
    span(b, &b_begin, &b_end)
    return a_end <= b_begin or b_end <= a_begin


cdef int run_product(const fastnn_product *product) except -1:
    cdef fastnn_outcome outcome
    if product.m * product.n * product.k < GIL_FREE_PRODUCTS:
        outcome = fastnn_run_product(product)
    else:
        with nogil:
            outcome = fastnn_run_product(product)
    return conclude(outcome)


cdef bint begin_with(cnp.ndarray out, bias):
    """Copies `bias` to each row of a new matrix; False if it is not a plain vector that fits."""
    cdef cnp.npy_intp columns = cnp.PyArray_DIM(out, 1)
    if not is_vector(bias, columns, out):
        return False
    cdef cnp.npy_intp rows = cnp.PyArray_DIM(out, 0)
    cdef size_t bytes = <size_t>(columns * cnp.PyArray_ITEMSIZE(out))
    cdef char *to = <char *>cnp.PyArray_DATA(out)
    cdef void *row = cnp.PyArray_DATA(<cnp.ndarray>bias)
    if cnp.PyArray_SIZE(out) < GIL_FREE_ELEMENTS:
        fill_rows(to, row, rows if bytes > 0 else 0, bytes)
    else:
        with nogil:
            fill_rows(to, row, rows, bytes)
    return True


cdef void fill_rows(char *to, const void *row, cnp.npy_intp rows, size_t bytes) noexcept nogil:
    cdef cnp.npy_intp i
    for i in range(rows):
        memcpy(to + <size_t>i * bytes, row, bytes)


cdef object plain_matmul(a, b, out, bint add, bias):
    cdef fastnn_product product
    cdef cnp.npy_intp shape[2]
    cdef int type = cnp.NPY_FLOAT if is_matrix(a, cnp.NPY_FLOAT) else cnp.NPY_DOUBLE
    if not (is_matrix(a, type) and is_matrix(b, type)):
        return None
    cdef cnp.ndarray left = a, right = b, result
    cdef Py_ssize_t bytes = 8 if type == cnp.NPY_DOUBLE else 4
    shape[0], shape[1] = cnp.PyArray_DIM(left, 0), cnp.PyArray_DIM(right, 1)
    product.k = cnp.PyArray_DIM(left, 1)
    if cnp.PyArray_DIM(right, 0) != <cnp.npy_intp>product.k:
        return None
    if out is None:
        result = new_array(2, shape, type, bytes)
        add = bias is not None
        if add and not begin_with(result, bias):
            return None
    elif not is_matrix(out, type):
        return None
    else:
        result = out
        if not (cnp.PyArray_ISWRITEABLE(result) and has_shape(result, 2, shape) and spans_apart(result, left)
                and spans_apart(result, right)):
            return None
    product.float64, product.add = type == cnp.NPY_DOUBLE, add
    product.m, product.n = shape[0], shape[1]
    product.a, product.b = as_matrix(left, bytes), as_matrix(right, bytes)
    cdef fastnn_matrix c = as_matrix(result, bytes)
    product.c, product.row, product.column = cnp.PyArray_DATA(result), c.row, c.column
    run_product(&product)
    return result


def matmul(a, b, out=None, bint add=False, bias=None):
    """The matrix product a b in `out`, or added to it. Without `out` the result is a new array: a b, plus `bias` in each
    row if it is not None; `add` is not looked at then."""
    result = plain_matmul(a, b, out, add, bias)
    return general("matmul", a, (a, b, out, add, bias)) if result is None else result


def linear(x, weight, bias):
    """x W^T + b for matrices and the vector or None, all plain and of one dtype; else None."""
    cdef fastnn_product product
    cdef cnp.npy_intp shape[2]
    if not (is_plain(x, PLAIN) and is_plain(weight, PLAIN)):
        return None
    cdef cnp.ndarray left = x, right = weight
    cdef int type = cnp.PyArray_TYPE(left)
    if not (cnp.PyArray_NDIM(left) == 2 and cnp.PyArray_NDIM(right) == 2 and cnp.PyArray_TYPE(right) == type
            and cnp.PyArray_DIM(left, 1) == cnp.PyArray_DIM(right, 1)):
        return None
    shape[0], shape[1] = cnp.PyArray_DIM(left, 0), cnp.PyArray_DIM(right, 0)
    cdef cnp.ndarray y = new_array(2, shape, type, cnp.PyArray_ITEMSIZE(left))
    product.add = bias is not None
    if product.add and not begin_with(y, bias):
        return None
    product.float64 = type == cnp.NPY_DOUBLE
    product.m, product.n, product.k = shape[0], shape[1], cnp.PyArray_DIM(left, 1)
    product.a.data, product.a.row, product.a.column = cnp.PyArray_DATA(left), product.k, 1
    product.b.data, product.b.row, product.b.column = cnp.PyArray_DATA(right), 1, product.k
    product.c, product.row, product.column = cnp.PyArray_DATA(y), product.n, 1
    run_product(&product)
    return y
