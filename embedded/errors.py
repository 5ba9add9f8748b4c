"""Problems outside the program: a taken port, a full disk, a missing binary."""


class StackError(Exception):
    """A problem on this machine. Its text is for the person at the terminal: what is wrong and what to do about it.

    The CLI prints it to stderr and ends with exit code 1.
    """
