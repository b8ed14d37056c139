"""Fault rules: which call fails, how, how often. It chooses; the server carries the choice out."""

import random

FAULTS = ("throttle", "error500", "denied", "slow", "reset", "error_after_effect", "reset_after_effect")
DEFAULTS = {"count": None, "after": 0, "probability": 1.0, "seed": 0, "delay_ms": 0}


class Faults:
    def __init__(self) -> None:
        self.rules: list[dict] = []
        self._random: dict[int, random.Random] = {}
        self._next = 1

    def add(self, rules: dict | list) -> None:
        """Adds one rule or a list, all or none. ValueError says what is wrong."""
        rules = rules if isinstance(rules, list) else [rules]
        for rule in rules:
            if not rule.get("action") or rule.get("fault") not in FAULTS:
                raise ValueError(f"a fault needs action and one of {', '.join(FAULTS)}: {rule}")
            unknown = set(rule) - {"action", "fault"} - set(DEFAULTS)
            if unknown:
                raise ValueError(f"unknown fields {sorted(unknown)} in {rule}")
        for rule in rules:
            kept = {"id": self._next, "action": rule["action"], "fault": rule["fault"], **DEFAULTS, **rule, "hits": 0}
            self._random[self._next] = random.Random(kept["seed"])
            self._next += 1
            self.rules.append(kept)

    def clear(self) -> None:
        self.rules.clear()
        self._random.clear()

    def choose(self, action: str) -> dict | None:
        for rule in self.rules:
            if rule["action"] not in ("*", action):
                continue
            if rule["count"] is not None and rule["hits"] >= rule["count"]:
                continue
            if rule["after"] > 0:
                rule["after"] -= 1
                continue
            if self._random[rule["id"]].random() >= rule["probability"]:
                continue
            rule["hits"] += 1
            return rule
        return None
