"""Fifteen minutes on a GPU: checks and measurements that run in one go, each with a limit of its own.

python -m tools.gpu_session.pack                 before, without a GPU: compiles kernels, fetches wheels
python -m tools.gpu_session                      on the GPU: runs the steps, writes a folder of results
python -m tools.gpu_session.page runs/gpu        afterwards: the tables of docs/gpu.md
"""
