"""Token buckets per group of calls, after AWS's documented limits. It refuses calls and never delays them."""

import time

# (service, name test, burst, calls per second). The first row that matches counts; other calls are never refused.
TABLE = [
    ("ecs", lambda a: a in ("CreateService", "UpdateService", "DeleteService"), 50, 5),
    ("ecs", lambda a: a in ("RegisterTaskDefinition", "DeregisterTaskDefinition"), 20, 1),
    ("ecs", lambda a: a == "DescribeTaskDefinition", 50, 20),
    ("ecs", lambda a: a in ("RunTask", "StopTask", "PutAttributes"), 100, 40),
    ("ecs", lambda a: a in ("CreateCluster", "DeleteCluster", "UpdateCluster"), 20, 1),
    ("ecs", lambda a: a in ("DescribeClusters", "ListClusters"), 50, 20),
    ("ecs", lambda a: a in ("DescribeServices", "ListServices", "DescribeTasks", "ListTasks",
                            "DescribeContainerInstances", "ListContainerInstances"), 100, 20),
    ("elasticloadbalancing", lambda a: a.startswith("Describe"), 40, 10),
    ("elasticloadbalancing", lambda a: a == "CreateLoadBalancer", 10, 0.2),
    ("elasticloadbalancing", lambda a: True, 20, 3),
    ("ec2", lambda a: a.startswith("Describe"), 100, 20),
]


class Throttle:
    def __init__(self) -> None:
        self._buckets: dict[int, tuple[float, float]] = {}

    def reset(self) -> None:
        self._buckets.clear()

    def allows(self, service: str, action: str, scale: float = 1.0) -> bool:
        now = time.monotonic()
        for row, (owner, matches, burst, rate) in enumerate(TABLE):
            if owner != service or not matches(action):
                continue
            burst = max(1.0, burst * scale)
            tokens, then = self._buckets.get(row, (burst, now))
            tokens = min(burst, tokens + (now - then) * rate * scale)
            allowed = tokens >= 1
            self._buckets[row] = (tokens - allowed, now)
            return allowed
        return True
