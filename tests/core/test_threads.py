"""The thread pool: forks, Python threads, limits, affinity, Ctrl-C. Its stress test is in tests/c."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import _kernels
from fastnn._core.typing import Array

DEADLINE = 600.0  # seconds; only a hang takes so long, however busy the machine


@pytest.fixture(autouse=True)
def _same_threads_after() -> Iterator[None]:
    before = fastnn.get_num_threads()
    yield
    fastnn.set_num_threads(before)


@pytest.fixture(scope="module")
def x() -> Array:
    return np.random.default_rng(0).standard_normal(1 << 18).astype(np.float32)


@pytest.fixture(scope="module")
def expected(x: Array) -> Array:
    fastnn.set_num_threads(1)
    return F.mish(x)


def native_threads() -> int:
    """How many threads this process has, the pool's included."""
    return len(os.listdir("/proc/self/task"))


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that runs `code`."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


# ---- how many threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [16_384, 70_001, 300_007])
def test_results_do_not_depend_on_threads(threads: int, dtype: type, size: int) -> None:
    rng = np.random.default_rng(size)
    x: Array = rng.standard_normal((size // 7, 7)).astype(dtype)
    key = fastnn.Generator(5).key()

    def results() -> list[Array]:
        return [
            F.gelu(x),
            F.gelu_backward(x, x),
            F.silu(x.T[::-1]),
            F.rrelu(x, training=True, key=key),
            *F.prelu_backward(x, x, np.full(7, 0.25, dtype)),
            F.maxout(x, 7)[0],
        ]

    fastnn.set_num_threads(1)
    with_one = results()
    fastnn.set_num_threads(threads)
    for _ in range(3):
        for one, many in zip(with_one, results(), strict=True):
            assert one.tobytes() == many.tobytes()


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (1025, ValueError)])
def test_set_num_threads_takes_a_sensible_number(value: int, error: type[Exception]) -> None:
    with pytest.raises(error, match=rf"num_threads must be in \[1, 1024\], got {value}"):
        fastnn.set_num_threads(value)


@pytest.mark.parametrize("value", [2.0, "2", None])
def test_set_num_threads_takes_an_integer(value: Any) -> None:
    before = fastnn.get_num_threads()
    with pytest.raises(TypeError, match="num_threads must be an integer, got"):
        fastnn.set_num_threads(value)
    assert fastnn.get_num_threads() == before


def test_set_num_threads_from_any_thread(x: Array, expected: Array) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fastnn.set_num_threads, 3).result()
        assert fastnn.get_num_threads() == 3
        np.testing.assert_array_equal(F.mish(x), expected)
        assert pool.submit(fastnn.get_num_threads).result() == 3


def test_small_stacks() -> None:
    """A thread of 64 KB has room for all calls: drivers keep their tiles elsewhere (runtime/workspace.h)."""
    code = """if True:
        import threading
        import numpy as np, fastnn.functional as F
        from fastnn import nn, optim
        x = np.random.default_rng(0).standard_normal((96, 64, 12))
        labels = np.zeros((96, 12), np.int64)
        def call(dtype):
            for a in x.astype(dtype), np.moveaxis(x, 1, 2).astype(dtype):
                F.softmax(a, 1), F.cross_entropy(x, labels), F.layer_norm(a, a.shape[2:]), F.maxout(a, 4, 1)
                F.swiglu_backward(F.swiglu(a), a), F.dropout(a, 0.5), F.conv2d(a[None], a[None, :, :3, :3])
                F.batch_norm(a, None, None, training=True), F.max_pool2d(a, 2), F.gelu(a.T)
            layers = nn.Linear(64, 64, dtype=dtype), nn.BatchNorm1d(64, dtype=dtype)
            model = nn.Sequential(*layers, nn.GELU(), nn.Dropout(0.5))
            model.backward(model(x[:, :, 0].astype(dtype)))
            optim.Adam(model.parameters()).step()
            done.append(dtype)
        done = []
        threading.stack_size(64 << 10)
        for dtype in np.float32, np.float64:
            thread = threading.Thread(target=call, args=(dtype,))
            thread.start()
            thread.join()
        print(len(done))
    """
    done = run_python(code, FASTNN_NUM_THREADS="1")
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


def test_one_thread_starts_no_worker() -> None:
    code = """if True:
        import os, numpy as np, fastnn, fastnn.functional as F
        x = np.ones(1 << 20, np.float32)
        before = len(os.listdir("/proc/self/task"))
        fastnn.set_num_threads(1)
        F.gelu(x)
        assert len(os.listdir("/proc/self/task")) == before
        fastnn.set_num_threads(3)
        assert len(os.listdir("/proc/self/task")) == before
        F.gelu(x[:100])
        assert len(os.listdir("/proc/self/task")) == before
        F.gelu(x)
        assert len(os.listdir("/proc/self/task")) == before + 2
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_workers_without_a_job_sleep(x: Array) -> None:
    fastnn.set_num_threads(2)
    F.mish(x)
    before = time.process_time()
    time.sleep(0.05)
    assert time.process_time() - before < 0.01  # seconds of all threads of this process


def test_affinity_of_one_cpu_means_one_thread() -> None:
    code = """if True:
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import numpy as np, fastnn, fastnn.functional as F
        before = len(os.listdir("/proc/self/task"))
        F.gelu(np.ones(1 << 20, np.float32))
        print(fastnn.get_num_threads(), fastnn.info()["threads"], len(os.listdir("/proc/self/task")) - before)
    """
    done = run_python(code, FASTNN_NUM_THREADS="", OMP_NUM_THREADS="")
    assert done.stdout.split() == ["1", "1", "0"], done.stderr


def test_usable_cpus() -> None:
    assert 1 <= _kernels.usable_cpus() <= len(os.sched_getaffinity(0))


def test_threadpoolctl_limits(x: Array, expected: Array) -> None:
    threadpoolctl = pytest.importorskip("threadpoolctl")
    import fastnn.threadpool

    def ours() -> list[dict[str, Any]]:
        return [library for library in threadpoolctl.threadpool_info() if library["user_api"] == "fastnn"]

    fastnn.set_num_threads(4)
    (library,) = ours()
    assert library["num_threads"] == 4
    assert library["version"] == fastnn.__version__
    for selection in ({}, {"user_api": "fastnn"}):
        with threadpoolctl.threadpool_limits(limits=2, **selection):
            assert fastnn.get_num_threads() == 2
            np.testing.assert_array_equal(F.mish(x), expected)
        assert fastnn.get_num_threads() == 4
    with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
        assert fastnn.get_num_threads() == 4


# ---- many threads, many processes --------------------------------------------------------------------------


def test_many_python_threads_at_once(x: Array, expected: Array) -> None:
    fastnn.set_num_threads(3)
    inputs = [x + np.float32(i) for i in range(6)]
    outputs = [F.mish(each) for each in inputs]
    barrier = threading.Barrier(len(inputs))

    def call(i: int) -> bool:
        barrier.wait(DEADLINE)
        right = True
        for round_ in range(30):
            if i == 0:
                fastnn.set_num_threads(1 + round_ % 4)
            right &= bool(np.array_equal(F.mish(inputs[i]), outputs[i]))
        return right

    with ThreadPoolExecutor(len(inputs)) as pool:
        assert all(pool.map(call, range(len(inputs))))


def in_child(action: Callable[[], None]) -> None:
    """Forks, runs `action` in the child, and checks that it got through."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # a fork with threads about is what is tested
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(int(DEADLINE))
            action()
            status = 0
        except BaseException as error:
            os.write(2, f"in the child: {error!r}\n".encode())
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


def check_pool(x: Array, expected: Array) -> None:
    """In a child: the results are right, and the pool's threads take part again."""
    before = native_threads()
    fastnn.set_num_threads(3)
    for _ in range(5):
        assert np.array_equal(F.mish(x), expected)
    assert native_threads() == before + 2


def test_fork_after_use(x: Array, expected: Array) -> None:
    fastnn.set_num_threads(3)
    F.mish(x)
    for _ in range(5):
        in_child(lambda: check_pool(x, expected))
        np.testing.assert_array_equal(F.mish(x), expected)


def test_fork_in_a_fork(x: Array, expected: Array) -> None:
    def child() -> None:
        check_pool(x, expected)
        in_child(lambda: check_pool(x, expected))

    in_child(child)


def test_fork_while_another_thread_is_in_a_call(x: Array, expected: Array) -> None:
    fastnn.set_num_threads(3)
    large = np.ones(1 << 22)
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            F.mish(large, out=large)
            F.mish(x)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(20):
            in_child(lambda: check_pool(x, expected))
    finally:
        stop.set()
        thread.join(DEADLINE)
    assert not thread.is_alive()


def test_fork_in_a_signal_handler_during_a_call() -> None:
    """The child gets the whole result, with the pieces that the pool's threads had begun."""
    fastnn.set_num_threads(3)
    large = np.random.default_rng(0).standard_normal(1 << 24)
    expected = F.mish(large)
    children: list[int] = []

    def fork(*_: object) -> None:
        if not children:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                children.append(os.fork())

    before = signal.signal(signal.SIGALRM, fork)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.055)  # a call's first check for signals is after 50 ms
        while not children:
            result = F.mish(large)
        same = np.array_equal(result, expected)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if children == [0]:
            os._exit(0 if same else 1)
    assert same
    assert os.waitpid(children[0], 0)[1] == 0


def _mish_in_a_process(x: Array) -> Array:
    return F.mish(x)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_multiprocessing_with_fork(x: Array, expected: Array) -> None:
    fastnn.set_num_threads(2)
    F.mish(x)
    with multiprocessing.get_context("fork").Pool(3) as pool:
        results = pool.map_async(_mish_in_a_process, [x] * 9).get(DEADLINE)
        assert pool.apply(fastnn.get_num_threads) == 2
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_joblib_s_backends(x: Array, expected: Array, monkeypatch: pytest.MonkeyPatch) -> None:
    """loky gives each worker its share of the CPUs, by OMP_NUM_THREADS; the others go on with our number.

    multiprocessing does if it forks, which is its default on Linux before Python 3.14.
    """
    joblib = pytest.importorskip("joblib")
    for name in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    fastnn.set_num_threads(7)
    share = max(joblib.cpu_count() // 2, 1)
    forked = 7 if multiprocessing.get_start_method() == "fork" else _kernels.usable_cpus()
    for backend, count in (("loky", share), ("multiprocessing", forked), ("threading", 7), ("sequential", 7)):
        with joblib.parallel_config(backend=backend), joblib.Parallel(n_jobs=2) as parallel:
            assert parallel([joblib.delayed(fastnn.get_num_threads)()] * 2) == [count, count], backend
            for result in parallel([joblib.delayed(F.mish)(x)] * 3):
                np.testing.assert_array_equal(result, expected)
    pytest.importorskip("joblib.externals.loky").get_reusable_executor().shutdown(wait=True)


def test_exit_while_a_daemon_thread_is_in_a_call() -> None:
    code = """if True:
        import threading, time, numpy as np, fastnn, fastnn.functional as F
        fastnn.set_num_threads(3)
        x = np.ones(1 << 23)
        def work():
            while True: F.mish(x, out=x)
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.1)
    """
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


# ---- Ctrl-C ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_interrupt_ends_a_long_call(threads: int) -> None:
    # The call that is interrupted works on an array that is broadcast from one element and would take hours.
    code = f"""if True:
        import os, signal, threading, numpy as np, fastnn, fastnn.functional as F
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
        fastnn.set_num_threads({threads})
        x = np.broadcast_to(np.float32(0.5), (1 << 42,))
        y = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), x.shape, (0,))
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            F.mish(x, out=y)
        except KeyboardInterrupt:
            print("interrupted")
        small = np.linspace(-5, 5, 1 << 18)
        np.testing.assert_array_equal(F.mish(small)[:100], F.mish(small[:100]))
        F.mish(x[: 1 << 20])
        print("works")
    """
    done = run_python(code)
    assert done.stdout.split() == ["interrupted", "works"], done.stderr


def test_a_signal_handler_may_call_fastnn_and_go_on(x: Array, expected: Array) -> None:
    fastnn.set_num_threads(2)
    seen: list[bool] = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(bool(np.array_equal(F.mish(x), expected))))
    large = np.full(1 << 21, 0.5)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        end = time.monotonic() + DEADLINE
        while len(seen) < 5 and time.monotonic() < end:
            F.mish(large)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(seen) >= 5
    assert all(seen)
