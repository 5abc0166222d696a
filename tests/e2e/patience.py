# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits. A test waits for an event and says how long that takes at worst on a quiet machine;
a slow or busy one gets PATIENCE times as long. No limit here is a bound on speed."""
import os
import time

PATIENCE = float(os.environ.get("ABYME_PATIENCE", "5"))


def patience(seconds):
    return seconds * PATIENCE


def deadline(seconds):
    """By when, on the monotonic clock."""
    return time.monotonic() + patience(seconds)


def wait_for(what, seconds=300):
    """Until what() is true: its value."""
    end = deadline(seconds)
    while not (value := what()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return value
