# What nn.Sequential's plan rests on: the attributes of its layers, and chains of batch norm in evaluation whose arrays
# are found in one call. Part of _kernels.pyx.

from cpython.object cimport PyObject

cdef extern from "Python.h":
    bint PyDict_Next(dict, Py_ssize_t *, PyObject **, PyObject **)


cdef class Attributes:
    """The attributes that some objects have now. `unchanged` says whether they still are the same objects, in order.

    The attribute called `besides` does not count.
    """

    cdef list owners   # the dictionaries of the objects
    cdef list entries  # of each dictionary a list of names and values, one after the other
    cdef str besides

    def __cinit__(self, objects, str besides):
        self.owners = [vars(each) for each in objects]
        self.besides = besides
        self.entries = []
        for owner in self.owners:  # in copies, as other threads may set attributes
            self.entries.append([part for item in owner.copy().items() if item[0] != besides for part in item])

    def unchanged(self):
        cdef Py_ssize_t i
        cdef bint same
        for i in range(len(self.owners)):
            with cython.critical_section(self.owners[i]):  # another thread may set an attribute
                same = self.has_entries(<dict>self.owners[i], <list>self.entries[i])
            if not same:
                return False
        return True

    cdef bint has_entries(self, dict owner, list entries):
        cdef Py_ssize_t position = 0, k = 0, count = len(entries)
        cdef PyObject *name
        cdef PyObject *value
        while PyDict_Next(owner, &position, &name, &value):
            if name == <PyObject *>self.besides:  # names of attributes are interned
                continue
            if k == count or name != <PyObject *>entries[k] or value != <PyObject *>entries[k + 1]:
                return False
            k += 2
        return k == count


cdef class EvaluatedChain:
    """Batch norm in evaluation, by these running statistics, and activations (fastnn.stages) after it.

    dims: the numbers of dimensions that an input may have; None for any.
    """

    cdef fastnn_chain chain  # all but the arrays
    cdef object running_mean, running_var, dims

    def __cinit__(self, double eps, running_mean, running_var, stages, dims=None):
        self.chain.scaled, self.chain.eps = True, eps
        cdef fastnn_stage *place
        for stage in stages:
            if self.chain.stages == FASTNN_MAX_STAGES:
                raise ValueError(f"a chain has at most {FASTNN_MAX_STAGES} stages")
            place = &self.chain.stage[self.chain.stages]
            place.action, place.activation = FASTNN_ACTIVATE, stage.row
            place.parameters[0], place.parameters[1] = stage.values
            self.chain.stages += 1
        self.running_mean, self.running_var, self.dims = running_mean, running_var, dims

    def forward(self, input, weight, bias):
        """(y, mean, rstd) for plain arrays that fit; else None. Several threads may be here: nothing is changed."""
        if not (is_plain(input, PLAIN) and cnp.PyArray_NDIM(<cnp.ndarray>input) > 1):
            return None
        cdef cnp.ndarray x = input
        cdef cnp.npy_intp size = cnp.PyArray_SIZE(x), outer = cnp.PyArray_DIM(x, 0), channels = cnp.PyArray_DIM(x, 1)
        if size == 0 or channels == 1 or not (self.dims is None or cnp.PyArray_NDIM(x) in self.dims):
            return None
        if not (is_vector(self.running_mean, channels, x) and is_vector(self.running_var, channels, x)
                and (weight is None or is_vector(weight, channels, x)) and (bias is None or is_vector(bias, channels, x))):
            return None
        mean, rstd = doubles(channels), doubles(channels)
        y = new_like(x)
        cdef fastnn_chain chain = self.chain
        chain.float64 = cnp.PyArray_TYPE(x) == cnp.NPY_DOUBLE
        chain.outer, chain.channels, chain.inner = outer, channels, size // (outer * channels)
        chain.channels_last = chain.inner == 1
        chain.mean, chain.rstd = <double *>data_or_null(mean), <double *>data_or_null(rstd)
        chain.weight, chain.bias = data_or_null(weight), data_or_null(bias)
        fastnn_evaluation(chain.float64, channels, chain.eps, data_or_null(self.running_mean),
                          data_or_null(self.running_var), chain.mean, chain.rstd)
        run_chain(&chain, cnp.PyArray_DATA(x), cnp.PyArray_DATA(<cnp.ndarray>y), size)
        return y, mean, rstd
