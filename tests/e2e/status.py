# SPDX-License-Identifier: GPL-2.0-or-later
"""What a program ended with: a number which, when a test fails by it, shows what the program said."""


class Status(int):
    def __new__(cls, value, said=""):
        self = super().__new__(cls, value)
        self.said = said
        return self

    def __repr__(self):
        return f"{int(self)} (it said: {self.said[-1500:]!r})"
