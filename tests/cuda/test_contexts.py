"""Each thread's current GPU: launches from new threads, on GPUs that are not current, and what they leave.

A process of its own loads a driver that does nothing, tools/gpu/fake_driver.c, whose threads have contexts of
their own as a real driver's have; cuda.core is real, and the arrays are the stand-in for CuPy's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PREAMBLE = """
import ctypes, sys, threading
from tools.gpu.launch_cost import load_fake_driver
load_fake_driver()
fake = ctypes.CDLL("libcuda.so.1")
from cuda.bindings import driver
from support import host_cupy
sys.modules["cupy"] = host_cupy
import numpy as np
import fastnn.functional as F
from fastnn.cuda._runtime import launch

def current():
    error, context = driver.cuCtxGetCurrent()
    return int(context)

def in_new_thread(function):
    failed = []
    def run():
        try:
            function()
        except BaseException as error:
            failed.append(error)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]

x = host_cupy.asarray(np.ones((4, 8), np.float32))
launched = lambda: [fake.fake_launched(gpu) for gpu in range(4)]
retained = lambda: [fake.fake_retained(gpu) for gpu in range(4)]

def kernel(gpu):
    from fastnn.cuda.kernels.chain.elementwise import chain_forward
    key = "float32", (("activation", "relu"),)
    launch.start(chain_forward, key, gpu, 0, 1, 256, (x.data.ptr, x.data.ptr, 32, 0.0, 0.0))
"""

THREADS = """
def call():
    F.relu(x)
    F.relu(x, out=x)
for _ in range(3):
    in_new_thread(call)
assert launched()[:2] == [6, 0], launched()
assert current() == 0  # of this thread, in which nothing was called
call()
assert launched()[:2] == [8, 0], launched()
"""

COOPERATIVE = """
in_new_thread(lambda: F.batch_norm(x, training=True))
assert launched()[0] > 0
"""

ANOTHER = """
def call():
    for gpu in (2, 1, 2):
        kernel(gpu)
        assert current() == 0, "there was none before"
in_new_thread(call)
assert launched() == [0, 1, 2, 0], launched()
assert retained()[0] == retained()[3] == 0, "nothing may be made on a GPU that is not asked for"

from cuda.core import Device
Device(3).set_current()
before = current()
kernel(1)
assert current() == before
assert launched() == [0, 2, 2, 0], launched()
"""


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("program", "gpus"),
    [(THREADS, 1), (COOPERATIVE, 1), (ANOTHER, 4)],
    ids=["threads", "batch_norm", "another GPU"],
)
def test_contexts(program: str, gpus: int) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "FAKE_GPUS": str(gpus), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
