"""tools.gpu_session without a GPU: each step's command starts, the runner's limits, the tables, the pack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from tools.gpu import page as bench_page
from tools.gpu_session import __main__ as session
from tools.gpu_session import page, running, steps, unpack

ROOT = Path(__file__).resolve().parents[2]

#: In the place of compute-sanitizer and ncu: runs the program behind the options, and says what these are.
STAND_IN = """#!{python}
import os, sys
words = sys.argv[1:]
at = words.index({python!r})
print("options", *words[:at], flush=True)
os.execv(words[at], words[at:])
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with stand-ins for NVIDIA's programs, on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("compute-sanitizer", "ncu"):
        (folder / name).write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.chdir(ROOT)
    return folder


#: By step: what its log must say where there is no GPU, and the words in the place of its last ones.
STARTS = {
    "info": ("cuda: ", []),
    "smoke": ("relu_cupy", ["relu_cupy"]),
    "launch_cost": ("cupy", []),
    "tests": ("tests/cuda/test_gpu_gated.py: ", ["--collect-only", "-q", "-n", "0", "-k", "relu"]),
    "bench": ("fastnn bench: error: ", []),
    "memcheck": ("options --error-exitcode 9 --tool memcheck", ["relu_cupy"]),
    "racecheck": ("options --error-exitcode 9 --tool racecheck", ["relu_cupy"]),
    "ncu": ("options --clock-control none --csv", []),
}


@pytest.mark.parametrize("step", steps.STEPS, ids=lambda step: step.name)
def test_each_command_starts(step: steps.Step, tools: Path, tmp_path: Path) -> None:
    """Its options are understood, and it comes to where it needs a GPU."""
    said, more = STARTS[step.name]
    found = running.run([*step.words(tmp_path), *more], tmp_path / "log", 60)
    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert not found["status"].startswith(("not started", "out of time"))
    assert said in text
    for wrong in (
        "unrecognized arguments",
        "invalid choice",
        "usage:",
        "named 'tools",
        "SyntaxError",
    ):
        assert wrong not in text


def test_every_step_has_a_limit_that_fits() -> None:
    assert sum(step.seconds for step in steps.STEPS) <= 15 * 60
    assert set(STARTS) == set(steps.NAMES)


def test_all_is_skipped_without_a_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from fastnn.cuda._runtime import status

    if not isinstance(status.find_gpu(), str):
        pytest.skip("there is a GPU")
    archive = tmp_path / "all.tar.gz"
    assert session.main(["--output", str(tmp_path / "out"), "--archive", str(archive)]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(results) == list(steps.NAMES)
    assert results["info"]["status"] == "ok"
    assert all(results[name]["status"].startswith("skipped (no GPU") for name in steps.NAMES[1:])
    assert "skipped (no GPU" in capsys.readouterr().out
    with tarfile.open(archive) as file:
        assert {"out/results.json", "out/logs/info.log"} <= set(file.getnames())
    text = page.filled(bench_page.PAGE.read_text(encoding="utf-8"), tmp_path / "out")
    assert "| info " in text
    assert text.endswith(bench_page.PAGE.read_text(encoding="utf-8").partition(page.END)[2])


def test_dry_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert session.main(["--dry-run", "--steps", "smoke", "--output", str(tmp_path / "out")]) == 0
    assert f"--json {tmp_path / 'out'}/smoke.json" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_step_that_fails_does_not_stop_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def python(text: str) -> tuple[str, ...]:
        return sys.executable, "-c", text

    made = (
        steps.Step("fails", python("import sys; print('why'); sys.exit(3)"), 10, ()),
        steps.Step("is away", ("/nowhere/program",), 10, ()),
        steps.Step("hangs", python("import time; time.sleep(60)"), 1, ()),
        steps.Step("lacks", python(""), 10, ("a_module_of_nobody",)),
        steps.Step("works", python("print('done')"), 10, ()),
    )
    monkeypatch.setattr(session, "STEPS", made)
    monkeypatch.setattr(session, "NAMES", tuple(step.name for step in made))
    assert session.main(["--output", str(tmp_path)]) == 1
    results = json.loads((tmp_path / "results.json").read_text())
    found = {name: result["status"] for name, result in results.items()}
    assert found.pop("is away").startswith("not started (")
    assert found == {
        "fails": "failed (3)",
        "hangs": "out of time (1 s)",
        "lacks": "skipped (a_module_of_nobody is not installed)",
        "works": "ok",
    }
    assert results["fails"]["tail"][-1] == "why"
    assert "failed (3)\n    $ " in capsys.readouterr().out


def test_no_time_is_left(tmp_path: Path) -> None:
    assert session.main(["--output", str(tmp_path), "--steps", "info", "--minutes", "0.01"]) == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["info"]["status"] == "skipped (no time is left)"


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_what_does_not_end_is_killed_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "GRACE", 0.2)
    found = running.run([sys.executable, "-c", STUBBORN], tmp_path / "log", 1)
    assert found["status"] == "out of time (1 s)"
    child = Path("/proc") / found["tail"][-1]
    if not Path("/proc/self").exists():
        pytest.skip("no /proc")
    for _ in range(50):
        if not child.exists() or "\nState:\tZ" in (child / "status").read_text():
            return
        time.sleep(0.1)
    pytest.fail("the child lives")


NCU = """==PROF== Connected to process 1
"ID","Process ID","Kernel Name","Section Name","Metric Name","Metric Unit","Metric Value"
"0","1","forward(x)","Command line profiler metrics","gpu__time_duration.sum","us","118.4"
"0","1","forward(x)","Command line profiler metrics","dram__bytes.sum","Mbyte","536.9"
"1","1","other(x)","Command line profiler metrics","dram__bytes.sum","Mbyte","270.1"
"""
XML = """<testsuites><testsuite><testcase classname="tests.cuda.test_a" name="test_one" />
<testcase classname="tests.cuda.test_a" name="test_two"><failure message="no" /></testcase>
<testcase classname="tests.cuda.test_a" name="test_three"><skipped /></testcase></testsuite></testsuites>"""


def test_page(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    results = {"info": {"status": "ok", "seconds": 1.2, "tail": []}}
    files = {
        "results.json": json.dumps(results),
        "smoke.json": json.dumps({"relu": "ok", "rows": "AssertionError: error 1"}),
        "tests.xml": XML,
        "logs/info.log": "$ info\ncuda: NVIDIA H200, compute capability 9.0\n",
        "logs/launch_cost.log": "$ launch_cost\nF.relu(x, out=out)                 5.1 us\n",
        "logs/ncu.log": NCU,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    text = "\n".join(page.sections(tmp_path))
    assert "NVIDIA H200, compute capability 9.0" in text
    assert "1 of 2 checks are well.\n\n- rows: AssertionError: error 1" in text
    assert "| `F.relu(x, out=out)` | 5.1 " in text
    assert "1 passed, 1 failed, 1 skipped.\n\n- tests.cuda.test_a.test_two" in text
    assert "| `forward(x)` | 118.4 us " in text
    assert "| `other(x)`   |  " in text
    old = f"before\n{page.BEGIN}old\n{page.END}\nafter"
    new = page.filled(old, tmp_path)
    assert new.startswith("before\n")
    assert new.endswith("\nafter")
    assert page.filled(new, tmp_path) == new


def test_a_pack_is_used(tmp_path: Path) -> None:
    """Kernels are found by the versions that the pack has, which are not those of here."""
    pytest.importorskip("numba.cuda.extending")
    from tools.gpu_session import pack

    folder = tmp_path / "pack"
    folder.mkdir()
    pack.copy_metadata(folder / "site")
    pack.copy_module(folder / "module")
    assert pack.size(folder / "site") > 0
    for place in (folder / "site").iterdir():
        metadata = place / "METADATA"
        metadata.write_text(metadata.read_text().replace("Version: ", "Version: 99."), encoding="utf-8")
    (tmp_path / "a.kernel").write_text("a kernel", encoding="utf-8")
    with tarfile.open(folder / "kernels.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "a.kernel", "a.kernel")
    environment = unpack.unpacked(folder, tmp_path / "there", os.environ)
    program = "from fastnn.cuda._runtime import cache; import importlib.metadata as m; print(cache.folder())"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; print(*map(m.version, cache.MADE_BY))"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    where, versions = done.stdout.splitlines()
    assert [path.name for path in Path(where).iterdir()] == ["a.kernel"]
    assert all(version.startswith("99.") for version in versions.split())


def test_plan_of_a_step(tmp_path: Path) -> None:
    """A process of its own finds the kernels of the profiled calls."""
    pytest.importorskip("numba.cuda.extending")
    from tools.gpu_session import plan

    command = [sys.executable, "-O", "-m", "tools.gpu_session.plan", "ncu", "9.0", str(tmp_path / "kernels")]
    subprocess.run(command, check=True, cwd=ROOT, env=_environment())
    kernels = plan.kernels_in(tmp_path / "kernels")
    names = [kernel.template for kernel in kernels]
    assert "elementwise.chain_forward" in names
    assert "norms.forward" in names
    assert "resident.forward" in names
    assert kernels[0].key == ("float32", (("activation", "relu"),))


def test_smoke_by_the_emulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The checks that compile little; a check that finds something wrong fails."""
    pytest.importorskip("numba.cuda.extending")
    from support import emulated_device
    from tools.gpu_session import smoke

    emulated_device.install(monkeypatch)
    names = ["relu_cupy", "relu_in_a_thread", "product_float32", "product_bfloat16", "relu_torch"]
    path = tmp_path / "smoke.json"
    assert smoke.main(["--small", "--json", str(path), *names]) == 0
    found = json.loads(path.read_text())
    assert [found[name] for name in names[:-1]] == ["ok"] * 4

    def wrong(x: Any, *args: Any, **kwargs: Any) -> Any:
        return x + 1

    monkeypatch.setattr(smoke.F, "linear", wrong)
    assert smoke.main(["--small", "product_float32"]) == 1


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
