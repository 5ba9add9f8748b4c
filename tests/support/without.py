"""`python -m tests.support.without PACKAGE MODULE`: run a program as where the package is not installed."""

import runpy
import sys

if __name__ == "__main__":
    package, module = sys.argv[1:]
    sys.modules[package] = None  # type: ignore[assignment]
    sys.argv = [module]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
