"""What happened, for assertions: calls by name, health samples, events. It observes and never decides anything."""

import time
from collections import Counter, deque

# Ten thousands of ticks are more than any test runs; a bound all the same.
LIMIT = 20_000


class Record:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.started = time.monotonic()
        self.calls, self.throttled, self.faulted, self.errors = Counter(), Counter(), Counter(), Counter()
        self.samples: deque = deque(maxlen=LIMIT)
        self.events: deque = deque(maxlen=LIMIT)
        self.dropped = 0
        self._last: dict | None = None
        self.moving_s, self._moving_since = 0.0, None

    def now_ms(self) -> int:
        return int((time.monotonic() - self.started) * 1000)

    def event(self, kind: str, **fields) -> None:
        self.dropped += len(self.events) == LIMIT
        self.events.append({"t_ms": self.now_ms(), "kind": kind, **fields})

    def moves(self, moving: bool) -> None:
        """Counts the time in which something was on its way."""
        now = time.monotonic()
        if self._moving_since is not None:
            self.moving_s += now - self._moving_since
        self._moving_since = now if moving else None

    def sample(self, elbs: dict) -> None:
        """Keeps a sample when it differs from the one before."""
        if elbs == self._last:
            return
        self._last = elbs
        self.dropped += len(self.samples) == LIMIT
        self.samples.append({"t_ms": self.now_ms(), "elbs": elbs})

    def as_dict(self, since_ms: int = 0) -> dict:
        events = [e for e in self.events if e["t_ms"] >= since_ms]
        return {
            "t_ms": self.now_ms(),
            "moving_ms": int(self.moving_s * 1000),
            "calls": dict(self.calls),
            "throttled": dict(self.throttled),
            "faulted": dict(self.faulted),
            "errors": dict(self.errors),
            "samples": [s for s in self.samples if s["t_ms"] >= since_ms],
            "events": events,
            "live_tasks_killed": [e for e in events if e["kind"] == "live_task_killed"],
            "dropped": self.dropped,
        }
