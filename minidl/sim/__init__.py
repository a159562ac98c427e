"""A GPU that is not there: CUDA kernels written in Python run thread by thread, and every access is seen."""
