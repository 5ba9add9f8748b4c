"""The end of a process that measures."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from embedded.errors import StackError


def leave_after(work: Callable[[], int]) -> NoReturn:
    """Do the work and leave with the exit code that it returns; 1 where the stack failed, 130 after Ctrl-C. By
    `os._exit`: a short process that used the Temporal client may abort in its own exit."""
    code = 1
    try:
        code = work()
    except StackError as problem:
        sys.stderr.write(f"bench: {problem}\n")
    except KeyboardInterrupt:
        code = 130
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
