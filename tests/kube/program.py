# SPDX-License-Identifier: Apache-2.0
"""The processes of a cluster: started with a log each, and gone with whoever started them.

A program dies with the thread that started it, so start them from one that lasts. All are in one cgroup (groups.py),
so that the next run finds what is left of one that was killed.
"""

import os
import signal
import subprocess

import groups
from lab import die_with_parent, wait_for

END_SECONDS = 15
TAIL_BYTES = 3000


class Program:
    """A command line that runs in the background once started, and can be stopped and started again."""

    def __init__(self, name, argv, log):
        self.name, self.argv, self.log = name, [str(a) for a in argv], log
        self.process = None

    def start(self):
        def prepare():
            die_with_parent()
            groups.join()

        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True, preexec_fn=prepare)
        return self

    def stop(self, sig=signal.SIGTERM):
        """Ends it: in good order where it does so in time."""
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(sig)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self):
        self.stop(signal.SIGKILL)

    def pid(self):
        return self.process.pid

    def wait_ready(self, what, ready, seconds):
        """Waits until ready() is true. That the program ended, or that it takes too long, is told with its log."""
        def check():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}")
            return ready()

        try:
            return wait_for(what, check, seconds)
        except (AssertionError, RuntimeError) as e:
            raise RuntimeError(f"{e}\n{self.tail()}") from None

    def tail(self):
        """The end of its log."""
        if not os.path.exists(self.log):
            return f"---- {self.name}: no log\n"
        with open(self.log, "rb") as f:
            f.seek(max(0, os.path.getsize(self.log) - TAIL_BYTES))
            return f"---- {self.name}\n{f.read().decode(errors='replace')}"
