"""Where a task fits: ports, CPU and memory of a host. It chooses a host and starts nothing."""

from dataclasses import dataclass

from brain_lab.cloud import Cloud, Host

# What the ECS agent, Docker and SSH hold on every host.
RESERVED_PORTS = [22, 2375, 2376, 51678, 51679]
# Docker's ephemeral range begins here; a mapping without a host port gets one of these.
FIRST_DYNAMIC_PORT = 32768


@dataclass(frozen=True)
class Needs:
    cpu: int
    memory: int
    # (container name, container port, host port or 0)
    mappings: tuple


def needs_of(definition) -> Needs:
    containers = definition.container_definitions
    mappings = []
    for container in containers:
        for mapping in container.get("portMappings") or []:
            port = int(mapping["containerPort"])
            fixed = port if definition.network_mode == "host" else int(mapping.get("hostPort") or 0)
            mappings.append((container["name"], port, fixed))
    cpu = int(definition.cpu or sum(int(c.get("cpu") or 0) for c in containers))
    memory = int(definition.memory or sum(int(c.get("memoryReservation") or c.get("memory") or 0) for c in containers))
    return Needs(cpu, memory, tuple(mappings))


def taken_ports(cloud: Cloud, host: Host) -> list[int]:
    return sorted(port for task in cloud.tasks_on(host.instance.id) for _, _, port in task.ports)


def remaining(cloud: Cloud, host: Host) -> tuple[int, int]:
    tasks = cloud.tasks_on(host.instance.id)
    return (cloud.settings.host_cpu - sum(t.cpu for t in tasks), cloud.settings.host_memory - sum(t.memory for t in tasks))


def obstacle(cloud: Cloud, host: Host, needs: Needs) -> str | None:
    taken = taken_ports(cloud, host) + RESERVED_PORTS
    cpu, memory = remaining(cloud, host)
    if any(port in taken for _, _, port in needs.mappings):
        return "is already using a port required by your task."
    if needs.cpu > cpu:
        return "has insufficient CPU units available."
    if needs.memory > memory:
        return "has insufficient memory available."
    return None


def choose(cloud: Cloud, service, needs: Needs) -> tuple[Host | None, str]:
    """The host to use, spread over zones and then over hosts; or None and ECS's words for why not."""
    hosts = [h for h in cloud.hosts.values() if h.schedulable and h.member.cluster_name == service.cluster_name]
    if not hosts:
        return None, "Reason: No Container Instances were found in your cluster."
    obstacles = {h.instance.id: obstacle(cloud, h, needs) for h in hosts}
    free = [h for h in hosts if obstacles[h.instance.id] is None]
    if not free:
        nearest = hosts[0]
        return None, f"The closest matching (container-instance {nearest.member.id}) {obstacles[nearest.instance.id]}"
    mine = [t.host for t in cloud.tasks_of(service) if t.staying]
    zones = [h.instance.availability_zone for h in mine]
    best = min(free, key=lambda h: (zones.count(h.instance.availability_zone), mine.count(h), len(cloud.tasks_on(h.instance.id))))
    return best, ""


def bind(cloud: Cloud, host: Host, needs: Needs) -> list:
    taken, bound = set(taken_ports(cloud, host)), []
    for name, container_port, port in needs.mappings:
        while port == 0 or port in taken:
            port = max(port + 1, FIRST_DYNAMIC_PORT)
        taken.add(port)
        bound.append((name, container_port, port))
    return bound
