"""A launcher that becomes the program it is told to start, tied to the life of the process that started it.

Run by path (`python -I -S launch.py PARENT_PID STOP_SIGNAL USER PROGRAM ARGUMENT…`), so it imports the standard library
alone and costs about 15 ms. It exists because a supervisor that is killed with SIGKILL cannot stop its children: on
Linux the kernel then sends each of them its stop signal. It is a program rather than a `preexec_fn`, which is not
safe to run in a process with threads. Elsewhere the next start of the stack stops what the last one left behind.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _become(user: str) -> None:
    """Give root's rights up for good: PostgreSQL refuses to run with them."""
    import pwd

    entry = pwd.getpwnam(user)
    os.chdir("/")  # the folder we are in may be closed to this user
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def main() -> None:
    """Drop to USER ("-": stay), ask for STOP_SIGNAL at the parent's death, then exec PROGRAM."""
    parent, stop_signal, user, *argv = sys.argv[1:]
    os.umask(0o077)  # data and sockets are for this user alone
    if user != "-":
        _become(user)
    # Python ignores these two, and what is ignored stays ignored across exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if sys.platform == "linux":
        # After setuid, which clears it.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != int(parent):  # the parent died before we asked
            sys.exit(1)
    os.execv(argv[0], argv)  # noqa: S606 - the point of this file; no shell is involved


if __name__ == "__main__":
    main()
