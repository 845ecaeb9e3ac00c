# Chains: batch norm or scale and shift, activations, dropout and addition in one pass. Part of _kernels.pyx.

cdef extern from "fastnn.h" nogil:
    ctypedef enum fastnn_action:
        FASTNN_ACTIVATE, FASTNN_DROP, FASTNN_ADD
    ctypedef struct fastnn_stage:
        fastnn_action action
        int activation
        double parameters[2]
        fastnn_dropout dropout
        const void *addend
        void *daddend
    enum: FASTNN_MAX_STAGES
    ctypedef struct fastnn_chain:
        bint float64, channels_last
        size_t outer, channels, inner
        bint scaled, training
        double eps
        double *mean
        double *rstd
        double *mean_low
        double *variance
        const void *weight
        const void *bias
        size_t elsewhere
        int stages
        fastnn_stage stage[8]
    fastnn_outcome fastnn_chain_forward(const fastnn_chain *, const void *, void *)
    fastnn_outcome fastnn_chain_backward(const fastnn_chain *, const void *, const void *, void *, double **)
    void fastnn_evaluation(bint, size_t, double, const void *, const void *, double *, double *)
    void fastnn_update_running(bint, size_t, void *, void *, const double *, const double *, double, double, bint)

MAX_STAGES = FASTNN_MAX_STAGES


ctypedef fastnn_outcome backward_pass(const fastnn_chain *, const void *, const void *, void *, double **) noexcept nogil


cdef class Chain:
    """What a chain computes, for contiguous arrays of one layout.

    That is (outer, channels, inner), or (outer, inner, channels) with `channels_last`. mean, mean_low, rstd and
    variance are float64; weight and bias are of the computing dtype. Each of these is None or a contiguous array of
    `channels` elements. The methods add what the chain begins with and its stages, in order. Only the thread that made
    a chain may call it.
    """

    cdef unsigned long owner
    cdef fastnn_chain chain
    cdef object arrays  # keeps the arrays alive that the chain points to

    def __cinit__(self, bint float64, size_t outer, size_t channels, size_t inner, bint channels_last):
        self.owner = PyThread_get_thread_ident()
        self.chain.float64 = float64
        self.chain.channels_last = channels_last
        self.chain.outer, self.chain.channels, self.chain.inner = outer, channels, inner
        self.arrays = []

    cpdef normalise(self, double eps, weight, bias):
        """Begins with batch norm in training; returns the arrays that forward fills: mean, mean_low, rstd, variance."""
        cdef cnp.npy_intp channels = <cnp.npy_intp>self.chain.channels
        mean, mean_low = doubles(channels), doubles(channels)
        rstd, variance = doubles(channels), doubles(channels)
        self.scale(True, mean, mean_low, rstd, weight, bias)
        self.chain.eps = eps
        self.chain.variance = <double *>data_or_null(variance)
        self.arrays.append(variance)
        return mean, mean_low, rstd, variance

    cpdef evaluate(self, double eps, cnp.ndarray running_mean, cnp.ndarray running_var, weight, bias):
        """Begins with batch norm in evaluation, by running statistics of one dtype; returns (mean, rstd)."""
        mean, rstd = doubles(<cnp.npy_intp>self.chain.channels), doubles(<cnp.npy_intp>self.chain.channels)
        fastnn_evaluation(cnp.PyArray_TYPE(running_mean) == cnp.NPY_DOUBLE, self.chain.channels, eps,
                          cnp.PyArray_DATA(running_mean), cnp.PyArray_DATA(running_var),
                          <double *>cnp.PyArray_DATA(<cnp.ndarray>mean), <double *>cnp.PyArray_DATA(<cnp.ndarray>rstd))
        self.scale(False, mean, None, rstd, weight, bias)
        return mean, rstd

    cpdef scale(self, bint training, mean, mean_low, rstd, weight, bias, size_t elsewhere=0):
        """Begins with y = (x - (mean + mean_low)) rstd weight + bias. In training mean and rstd depend on x.

        elsewhere: how many elements of a channel they depend on that are not in x, but in other processes.
        """
        check_owner(self.owner, "a Chain")
        self.chain.scaled = True
        self.chain.training = training
        self.chain.elsewhere = elsewhere
        self.chain.mean = <double *>data_or_null(mean)
        self.chain.mean_low = <double *>data_or_null(mean_low)
        self.chain.rstd = <double *>data_or_null(rstd)
        self.chain.weight = data_or_null(weight)
        self.chain.bias = data_or_null(bias)
        self.arrays += [mean, mean_low, rstd, weight, bias]

    cdef fastnn_stage *next_stage(self) except NULL:
        check_owner(self.owner, "a Chain")
        if self.chain.stages == FASTNN_MAX_STAGES:
            raise ValueError(f"a chain has at most {FASTNN_MAX_STAGES} stages")
        self.chain.stages += 1
        return &self.chain.stage[self.chain.stages - 1]

    cpdef activate(self, int activation, double p0, double p1):
        """Adds a stage: the activation with this row of the table."""
        cdef fastnn_stage *stage = self.next_stage()
        stage.action = FASTNN_ACTIVATE
        stage.activation = activation
        stage.parameters[0], stage.parameters[1] = p0, p1

    def drop(self, key, uint32_t threshold, double scale, cnp.ndarray samples):
        """Adds a stage: dropout, which keeps elements whose draw is below the threshold, times `scale`.

        samples: an array of the chain's shape, (N, ...).
        """
        cdef fastnn_stage *stage = self.next_stage()
        cdef fastnn_dropout *rule = &stage.dropout
        open_key(key, samples, 1, &rule.seed, &rule.offset, &rule.first)
        stage.action = FASTNN_DROP
        stage.dropout.threshold, stage.dropout.scale = threshold, scale

    def add(self, addend, daddend):
        """Adds a stage: an addition. Backward fills `daddend` with the gradient for the addend, unless it is None."""
        cdef fastnn_stage *stage = self.next_stage()
        stage.action = FASTNN_ADD
        stage.addend = data_or_null(addend)
        stage.daddend = data_or_null(daddend)
        self.arrays += [addend, daddend]

    cpdef forward(self, cnp.ndarray x, cnp.ndarray y):
        """Fills y, which may be x."""
        check_owner(self.owner, "a Chain")
        run_chain(&self.chain, cnp.PyArray_DATA(x), cnp.PyArray_DATA(y), cnp.PyArray_SIZE(x))

    cpdef backward(self, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray dx, dbias, dweight):
        """Fills dx, which may be dy but not x, and dbias and dweight (float64), or None for both."""
        self.run_backward(fastnn_chain_backward, dy, x, dx, dbias, dweight)

    cdef int run_backward(self, backward_pass *run, cnp.ndarray dy, cnp.ndarray x, cnp.ndarray dx, dbias,
                          dweight) except -1:
        check_owner(self.owner, "a Chain")
        cdef void *p_dy = cnp.PyArray_DATA(dy)
        cdef void *p_x = cnp.PyArray_DATA(x)
        cdef void *p_dx = cnp.PyArray_DATA(dx)
        cdef double *sums[2]
        sums[0], sums[1] = <double *>data_or_null(dbias), <double *>data_or_null(dweight)
        cdef fastnn_outcome outcome
        with nogil:
            outcome = run(&self.chain, p_dy, p_x, p_dx, sums if sums[0] is not NULL else NULL)
        return conclude(outcome)


cdef int run_chain(const fastnn_chain *chain, const void *x, void *y, cnp.npy_intp size) except -1:
    cdef fastnn_outcome outcome
    if size < GIL_FREE_ELEMENTS:
        outcome = fastnn_chain_forward(chain, x, y)
    else:
        with nogil:
            outcome = fastnn_chain_forward(chain, x, y)
    return conclude(outcome)


cpdef as_float32(cnp.ndarray numbers):
    """Plain float64 numbers as float32, in one dimension. Those too large become infinite, without a warning."""
    cdef cnp.npy_intp k, count = cnp.PyArray_SIZE(numbers)
    cdef cnp.ndarray floats = new_array(1, &count, cnp.NPY_FLOAT, 4)
    cdef float *to = <float *>cnp.PyArray_DATA(floats)
    cdef double *source = <double *>cnp.PyArray_DATA(numbers)
    for k in range(count):
        to[k] = <float>source[k]
    return floats


cdef object add = numpy.add


def update_running(cnp.ndarray running_mean, cnp.ndarray running_var, cnp.ndarray mean, cnp.ndarray variance,
                   double factor, double momentum, bint skip, batches):
    """Updates in place: running = (1 - momentum) running + momentum batch, the batch's variance times `factor`.

    With `skip` channels whose mean or variance is not finite are left out. `batches`, an array of an integer or None, is
    counted up in the same call, so that no signal handler can raise in between.
    """
    if batches is not None:
        add(batches, 1, batches)
    move_running(running_mean, running_var, mean, variance, factor, momentum, skip)


cdef void move_running(cnp.ndarray running_mean, cnp.ndarray running_var, cnp.ndarray mean, cnp.ndarray variance,
                       double factor, double momentum, bint skip):
    fastnn_update_running(cnp.PyArray_TYPE(running_mean) == cnp.NPY_DOUBLE, <size_t>cnp.PyArray_SIZE(mean),
                          cnp.PyArray_DATA(running_mean), cnp.PyArray_DATA(running_var),
                          <double *>cnp.PyArray_DATA(mean), <double *>cnp.PyArray_DATA(variance), factor, momentum, skip)


cdef inline object doubles(cnp.npy_intp channels):
    """A new array with a double for each channel."""
    return new_array(1, &channels, cnp.NPY_DOUBLE, sizeof(double))


cpdef bint is_vector(value, cnp.npy_intp count, cnp.ndarray like):
    """Whether value is a plain array of `count` elements and of the dtype of `like`."""
    return (
        is_plain(value, PLAIN)
        and has_shape(value, 1, &count)
        and cnp.PyArray_TYPE(<cnp.ndarray>value) == cnp.PyArray_TYPE(like)
    )
