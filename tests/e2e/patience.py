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
