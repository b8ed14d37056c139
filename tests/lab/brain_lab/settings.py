"""The lab's settings: delays, host sizes, behaviours, throttling. It validates them and never acts on them."""

from dataclasses import asdict, dataclass, field, fields

BEHAVIOURS = ("crash", "unhealthy", "warms_up", "slow", "cannot_pull")


@dataclass
class Settings:
    boot_delay_ms: int = 400
    pull_delay_ms: int = 150
    health_delay_ms: int = 200
    drain_delay_ms: int = 200
    tick_ms: int = 50
    elb_grace_ms: int = 600
    grace_second_ms: int = 10
    crash_delay_ms: int = 100
    restart_delay_ms: int = 100
    replace_delay_ms: int = 200
    event_repeat_ms: int = 5000
    stopped_task_ttl_ms: int = 3_600_000
    host_cpu: int = 4096
    host_memory: int = 7482
    behaviours: list = field(default_factory=list)
    throttle: bool = False
    throttle_scale: float = 1.0

    def change(self, wanted: dict) -> None:
        """Changes the named settings, all or none. ValueError says what is wrong."""
        kinds = {f.name: type(getattr(self, f.name)) for f in fields(self)}
        for name, value in wanted.items():
            if name not in kinds:
                raise ValueError(f"unknown setting {name}; known: {', '.join(kinds)}")
            kind = kinds[name]
            right = isinstance(value, (int, float) if kind is float else kind)
            if not right or (kind is not bool and isinstance(value, bool)):
                raise ValueError(f"{name} must be of type {kind.__name__}")
            if kind in (int, float) and value < 0:
                raise ValueError(f"{name} must not be negative")
        for rule in wanted.get("behaviours", []):
            if not isinstance(rule, dict) or not rule.get("match") or rule.get("behaviour") not in BEHAVIOURS:
                raise ValueError(f"a behaviour needs match and one of {', '.join(BEHAVIOURS)}: {rule}")
            if set(rule) - {"match", "behaviour", "delay_ms"}:
                raise ValueError(f"a behaviour has match, behaviour and delay_ms only: {rule}")
        for name, value in wanted.items():
            setattr(self, name, value)

    def behaviour_of(self, *texts: str) -> dict:
        """The first rule that matches any of the texts; an empty rule when none does."""
        for rule in self.behaviours:
            if any(rule["match"] in text for text in texts):
                return rule
        return {}

    def as_dict(self) -> dict:
        return asdict(self)
