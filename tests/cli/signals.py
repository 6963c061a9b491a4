"""Programs that tests interrupt."""

import signal


def hears_signals() -> None:
    """In a process about to become a program: it hears what a shell's children in the foreground hear.

    Behind `nohup`, and as a script's background job, tests have inherited that such signals are ignored.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
