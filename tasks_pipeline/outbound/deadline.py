"""Deadline: until when a call has to be over, all of it, whatever the far side does."""

from __future__ import annotations

import time


class Deadline(float):
    """An instant of the monotonic clock.

    It is a number, because httpcore hands the time limits of a request down to each operation as they are: an operation
    that is handed the instant knows what is left for it, where a number of seconds would begin anew for every byte.
    """

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """So many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self

    def left(self) -> float:
        """Seconds until then, more than 0. Raises TimeoutError when it has passed."""
        seconds = self - time.monotonic()
        if seconds <= 0:
            raise TimeoutError("out of time")
        return seconds

    def share(self, part: float) -> Deadline:
        """An earlier one: a part of what is left. Raises TimeoutError when nothing is."""
        return Deadline.after(self.left() * part)

    def at_most(self, seconds: float | None) -> Deadline:
        """An earlier one: no later than so many seconds from now; the same for None."""
        return self if seconds is None else Deadline(min(self, time.monotonic() + seconds))
