"""What goes wrong outside the program: a taken port, a full disk, a missing binary."""


class StackError(Exception):
    """One clear sentence for the person at the terminal.

    The CLI prints it to stderr and ends with exit code 1, so it says what is wrong and what to do about it.
    """
