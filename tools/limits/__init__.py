"""How near each kernel is to what the machine allows: `python -m tools.limits` writes docs/limits.md.

kernels.py is the table of kernels and how each is called, loops.py counts the cycles of their compiled loops
by llvm-mca, machine.py measures the machine itself (clock, copies, arithmetic), measure.py times the kernels
(timing.py), page.py writes what machines/ has, a file for each machine. Development only; it needs CMake,
Ninja, a C compiler, objdump and llvm-mca (Debian: apt install llvm).
"""
