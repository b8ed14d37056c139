"""ECS calls answered as AWS does where moto differs. It writes what was asked for; the control loop makes it true."""

import base64
import uuid

from moto.core.responses import ActionResult
from moto.ecs.exceptions import ClusterNotFoundException, ECSException, InvalidParameterException, ServiceNotFoundException
from moto.ecs.models import EC2ContainerServiceBackend
from moto.ecs.responses import EC2ContainerServiceResponse as Responses

from brain_lab import control_loop, placement
from brain_lab.cloud import Cloud, Task, load_balancer_names, utcnow

# The call's list in the answer, its default page and its longest.
PAGES = {
    "list_services": ("serviceArns", 10, 100),
    "list_tasks": ("taskArns", 100, 100),
    "list_container_instances": ("containerInstanceArns", 100, 100),
    "list_task_definitions": ("taskDefinitionArns", 100, 100),
    "list_clusters": ("clusterArns", 100, 100),
}


def patch(cloud: Cloud) -> None:
    ecs = cloud.ecs

    def find_service(self, inactive_too: bool = False):
        cluster = ecs._get_cluster(self._get_param("cluster", "default"))
        service = ecs.services.get(f"{cluster.name}:{self._get_param('service').split('/')[-1]}")
        if service is None or (service.status == "INACTIVE" and not inactive_too):
            raise ServiceNotFoundException()
        return service

    def create_cluster(self, original=Responses.create_cluster):
        existing = ecs.clusters.get(self._get_param("clusterName") or "default")
        if existing is not None and existing.status == "ACTIVE":
            return ActionResult({"cluster": existing})
        return original(self)

    def delete_cluster(self, original=Responses.delete_cluster):
        cluster = ecs._get_cluster(self._get_param("cluster"))
        if any(s.cluster_name == cluster.name and s.status == "ACTIVE" for s in ecs.services.values()):
            raise ECSException("ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active.")
        if any(t.service.cluster_name == cluster.name for t in cloud.live_tasks()):
            raise ECSException("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
        if ecs.container_instances.get(cluster.name):
            raise ECSException("ClusterContainsContainerInstancesException",
                               "The Cluster cannot be deleted while Container Instances are active or draining.")
        return original(self)

    def describe_clusters(self, original=Responses.describe_clusters):
        for cluster in ecs.clusters.values():
            live = [t for t in cloud.live_tasks() if t.service.cluster_name == cluster.name]
            cluster.running_tasks_count = sum(t.last_status == "RUNNING" for t in live)
            cluster.pending_tasks_count = sum(t.last_status == "PENDING" for t in live)
            cluster.registered_container_instances_count = len(ecs.container_instances.get(cluster.name, {}))
            cluster.active_services_count = sum(
                s.cluster_name == cluster.name and s.status == "ACTIVE" for s in ecs.services.values())
        return original(self)

    def create_service(self, original=Responses.create_service):
        cluster = ecs._get_cluster(self._get_param("cluster", "default"))
        definition = ecs.describe_task_definition(self._get_param("taskDefinition"))
        asked = {name: self._get_param(name) for name in (
            "loadBalancers", "launchType", "role", "deploymentConfiguration", "placementStrategy", "clientToken")}
        asked.update(definition=definition.arn, desired=self._get_int_param("desiredCount") or 0)
        if len(asked["clientToken"] or "") > 36:
            raise InvalidParameterException("The clientToken cannot be longer than 36 characters.")
        existing = ecs.services.get(f"{cluster.name}:{self._get_param('serviceName')}")
        if existing is not None and existing.status == "DRAINING":
            raise InvalidParameterException("Unable to Start a service that is still Draining.")
        if existing is not None and existing.status == "ACTIVE":
            if not same_creation(existing, asked):
                raise InvalidParameterException("Creation of service was not idempotent.")
            return ActionResult({"service": existing})
        if definition.status != "ACTIVE":
            raise ECSException("ClientException", "TaskDefinition is inactive")
        for balancer in asked["loadBalancers"] or []:
            validate_balancer(cloud, definition, balancer)
        result = original(self)
        service = ecs.services[f"{cluster.name}:{self._get_param('serviceName')}"]
        service.created_at, service.lab_asked = utcnow(), asked
        service.deployment_configuration = {"maximumPercent": 200, "minimumHealthyPercent": 100,
                                            **(asked["deploymentConfiguration"] or {})}
        service.placement_strategy = asked["placementStrategy"] or []
        service.health_check_grace_period_seconds = self._get_int_param("healthCheckGracePeriodSeconds") or 0
        service.deployments, service.events = [], []
        begin_deployment(service)
        control_loop.count(cloud, service)
        return result

    def update_service(self):
        service = find_service(self, inactive_too=True)
        if service.status != "ACTIVE":
            raise ECSException("ServiceNotActiveException", "Service was not ACTIVE.")
        definition = self._get_param("taskDefinition")
        arn = ecs.describe_task_definition(definition).arn if definition else service.task_definition
        if self._get_param("desiredCount") is not None:
            service.desired_count = self._get_int_param("desiredCount")
        service.deployment_configuration.update(self._get_param("deploymentConfiguration") or {})
        if self._get_param("healthCheckGracePeriodSeconds") is not None:
            service.health_check_grace_period_seconds = self._get_int_param("healthCheckGracePeriodSeconds")
        balancers = self._get_param("loadBalancers")
        balancers = service.load_balancers if balancers is None else balancers
        for balancer in balancers:
            validate_balancer(cloud, ecs.describe_task_definition(arn), balancer)
        moved = arn != service.task_definition or balancers != service.load_balancers
        if moved or self._get_param("forceNewDeployment"):
            service.task_definition, service.load_balancers = arn, balancers
            begin_deployment(service)
        service.lab_failures, service.lab_not_before, service.lab_steady, service.lab_unplaced = 0, 0, False, None
        control_loop.count(cloud, service)
        return ActionResult({"service": service})

    def delete_service(self):
        service = find_service(self)
        if service.desired_count > 0 and not self._get_param("force", False) and service.status == "ACTIVE":
            raise InvalidParameterException("The service cannot be stopped while it is scaled above 0.")
        service.status, service.desired_count = "DRAINING", 0
        return ActionResult({"service": service})

    def describe_services(self, original=Responses.describe_services):
        wanted = self._get_param("services", [])
        if not wanted:
            raise InvalidParameterException("Services cannot be empty.")
        if len(wanted) > 10:
            raise InvalidParameterException("Services cannot have more than 10 elements.")
        for service in ecs.services.values():
            control_loop.count(cloud, service)
        return original(self)

    def list_services(self):
        cluster = ecs._get_cluster(self._get_param("cluster", "default"))
        arns = [s.arn for s in ecs.services.values() if s.cluster_name == cluster.name and s.status == "ACTIVE"]
        return ActionResult({"serviceArns": sorted(arns)})

    def list_tasks(self):
        cluster = ecs._get_cluster(self._get_param("cluster", "default"))
        name, family = self._get_param("serviceName"), self._get_param("family")
        member, started_by = self._get_param("containerInstance"), self._get_param("startedBy")
        if name and f"{cluster.name}:{name.split('/')[-1]}" not in ecs.services:
            raise ServiceNotFoundException()
        status = self._get_param("desiredStatus") or "RUNNING"
        found = [t.arn for t in cloud.tasks.values()
                 if t.service.cluster_name == cluster.name and t.desired_status == status
                 and (not name or t.service.name == name.split("/")[-1])
                 and (not family or t.definition.family == family)
                 and (not started_by or t.deployment_id == started_by)
                 and (not member or t.host.member.id == member.split("/")[-1])]
        return ActionResult({"taskArns": found})

    def describe_tasks(self):
        ecs._get_cluster(self._get_param("cluster", "default"))
        wanted = self._get_param("tasks", [])
        if not wanted or len(wanted) > 100:
            raise InvalidParameterException("Tasks cannot be empty." if not wanted else "Tasks cannot have more than 100 elements.")
        by_id = {t.id: t for t in cloud.tasks.values()}
        found = [on_the_wire(by_id[w.split("/")[-1]]) for w in wanted if w.split("/")[-1] in by_id]
        failures = [{"arn": w, "reason": "MISSING"} for w in wanted if w.split("/")[-1] not in by_id]
        return ActionResult({"tasks": found, "failures": failures})

    def stop_task(self):
        task = next((t for t in cloud.tasks.values() if t.id == self._get_param("task").split("/")[-1]), None)
        if task is None:
            raise InvalidParameterException("The referenced task was not found.")
        control_loop.stop(cloud, task, self._get_param("reason") or "Task stopped by user", "UserInitiated")
        return ActionResult({"task": on_the_wire(task)})

    def run_task(self):
        raise ECSException("ClientException", "the lab runs no task outside a service")

    def list_container_instances(self):
        cluster = ecs._get_cluster(self._get_param("cluster", "default"))
        status = self._get_param("status")
        return ActionResult({"containerInstanceArns": sorted(
            m.container_instance_arn for m in ecs.container_instances.get(cluster.name, {}).values()
            if status in (None, m.status))})

    def describe_container_instances(self, original=Responses.describe_container_instances):
        cluster = ecs._get_cluster(self._get_param("cluster", "default"))
        if len(self._get_param("containerInstances") or []) > 100:
            raise InvalidParameterException("Container instances cannot have more than 100 elements.")
        for member in ecs.container_instances.setdefault(cluster.name, {}).values():
            measure(cloud, member)
        return original(self)

    def update_container_instances_state(self, original=Responses.update_container_instances_state):
        cluster = ecs._get_cluster(self._get_param("cluster", "default"))
        if len(self._get_param("containerInstances") or []) > 10:
            raise InvalidParameterException("Container instances cannot have more than 10 elements.")
        members = ecs.container_instances.setdefault(cluster.name, {})
        for member in members.values():
            measure(cloud, member)
        before = {m.id: m.status for m in members.values()}
        result = original(self)
        for member in members.values():
            if member.status == "DRAINING" != before[member.id]:
                cloud.record.event("host_draining", instance_id=member.ec2_instance_id, cluster=cluster.name)
        return result

    def get_cluster(self, name, original=EC2ContainerServiceBackend._get_cluster):
        cluster = original(self, name)
        if cluster.status != "ACTIVE":
            raise ClusterNotFoundException()
        return cluster

    def validate_containers(memory, definitions, compatibilities, original=EC2ContainerServiceBackend._validate_container_defs):
        # With requiresCompatibilities moto wants `memory`; AWS is content with memoryReservation.
        original(memory, definitions, None)

    EC2ContainerServiceBackend._get_cluster = get_cluster
    EC2ContainerServiceBackend._validate_container_defs = staticmethod(validate_containers)
    for name, answer in list(locals().items()):
        if callable(answer) and hasattr(Responses, name):
            setattr(Responses, name, answer)
    for name, (key, default, most) in PAGES.items():
        setattr(Responses, name, paged(getattr(Responses, name), key, default, most))


def same_creation(service, asked: dict) -> bool:
    """A repeat of the call that made the service, by its token, or a call for just what the service is now."""
    if asked == service.lab_asked and asked["clientToken"]:
        return True
    present = {**service.lab_asked, "definition": service.task_definition, "desired": service.desired_count}
    return {**asked, "clientToken": None} == {**present, "clientToken": None}


def begin_deployment(service) -> None:
    """A new PRIMARY deployment. Behind a classic ELB, AWS shows no rollout state, so there is none here."""
    for deployment in service.deployments:
        deployment["status"] = "ACTIVE"
    service.deployments.insert(0, {
        "id": f"ecs-svc/{uuid.uuid4().int % 10**19:019}", "status": "PRIMARY", "taskDefinition": service.task_definition,
        "desiredCount": service.desired_count, "pendingCount": 0, "runningCount": 0, "failedTasks": 0,
        "createdAt": utcnow(), "updatedAt": utcnow(), "launchType": service.launch_type})
    service.lab_failures, service.lab_not_before, service.lab_steady = 0, 0, False
    service.lab_unplaced, service.lab_unplaced_ms = None, 0


def validate_balancer(cloud: Cloud, definition, balancer: dict) -> None:
    name, container, port = balancer.get("loadBalancerName"), balancer.get("containerName"), balancer.get("containerPort")
    if name and name not in cloud.elb.load_balancers:
        raise InvalidParameterException(f"Unable to assume role and validate the listeners configured on your load balancer. "
                                        f"The load balancer {name} does not exist.")
    arn = balancer.get("targetGroupArn")
    if arn and arn not in cloud.elbv2.target_groups:
        raise InvalidParameterException(f"The target group {arn} does not exist.")
    if arn and not cloud.elbv2.target_groups[arn].load_balancer_arns:
        raise InvalidParameterException(f"The target group with targetGroupArn {arn} does not have an associated load balancer.")
    found = next((c for c in definition.container_definitions if c["name"] == container), None)
    if found is None:
        raise InvalidParameterException(f"The container {container} does not exist in the task definition.")
    if not any(int(m["containerPort"]) == port for m in found.get("portMappings") or []):
        raise InvalidParameterException(f"The container {container} did not have a container port {port} defined.")


def paged(answer, key: str, default: int, most: int):
    """Cuts a list answer into pages; the token is opaque to the caller."""
    def page(self):
        whole = answer(self).result[key]
        size, token = self._get_int_param("maxResults") or default, self._get_param("nextToken")
        if not 1 <= size <= most:
            raise InvalidParameterException(f"maxResults must be between 1 and {most}.")
        if key == "taskDefinitionArns" and self._get_param("sort") == "DESC":
            whole = whole[::-1]
        try:
            start = int(base64.b64decode(token, validate=True)) if token else 0
        except ValueError:
            raise InvalidParameterException("Invalid token.") from None
        rest = {"nextToken": base64.b64encode(str(start + size).encode()).decode()} if start + size < len(whole) else {}
        return ActionResult({key: whole[start:start + size], **rest})
    return page


def measure(cloud: Cloud, member) -> None:
    """Writes a container instance's resources and counts from the tasks that are on it."""
    host = cloud.host_of(member)
    tasks, (cpu, memory) = cloud.tasks_on(member.ec2_instance_id), placement.remaining(cloud, host)
    free_of_tasks = (cloud.settings.host_cpu, cloud.settings.host_memory, placement.RESERVED_PORTS)
    now = (cpu, memory, placement.RESERVED_PORTS + placement.taken_ports(cloud, host))
    for resources, values in ((member.registered_resources, free_of_tasks), (member.remaining_resources, now)):
        by_name = {r["name"]: r for r in resources}
        by_name["CPU"]["integerValue"], by_name["MEMORY"]["integerValue"] = values[0], values[1]
        by_name["PORTS"]["stringSetValue"] = [str(port) for port in values[2]]
    # As AWS counts: tasks whose desired status is RUNNING; one that drains is no longer among them.
    member.running_tasks_count = sum(t.last_status == "RUNNING" for t in tasks)
    member.pending_tasks_count = sum(t.last_status == "PENDING" for t in tasks)
    member.agent_connected = host.alive


def on_the_wire(task: Task) -> dict:
    containers = []
    for container in task.definition.container_definitions:
        bindings = [{"bindIP": "0.0.0.0", "containerPort": c, "hostPort": h, "protocol": "tcp"}
                    for name, c, h in task.ports if name == container["name"]]
        status = "RUNNING" if task.last_status == "DEACTIVATING" else task.last_status
        answer = {"containerArn": f"{task.arn.replace(':task/', ':container/')}/{container['name']}", "taskArn": task.arn,
                  "name": container["name"], "image": container["image"], "lastStatus": status, "healthStatus": "UNKNOWN",
                  "networkBindings": bindings if task.last_status not in ("PENDING", "STOPPED") else []}
        if task.exit_code is not None:
            answer["exitCode"] = task.exit_code
        if task.stop_code == "TaskFailedToStart":
            answer["reason"] = task.stopped_reason
        containers.append(answer)
    whole = {
        "taskArn": task.arn, "clusterArn": task.service.cluster_arn, "taskDefinitionArn": task.definition.arn,
        "containerInstanceArn": task.host.member.container_instance_arn, "lastStatus": task.last_status,
        "desiredStatus": task.desired_status, "startedBy": task.deployment_id, "group": f"service:{task.service.name}",
        "launchType": "EC2", "connectivity": "CONNECTED" if task.host.alive else "DISCONNECTED", "healthStatus": "UNKNOWN",
        "availabilityZone": task.host.instance.availability_zone, "cpu": str(task.cpu), "memory": str(task.memory),
        "stopCode": task.stop_code, "stoppedReason": task.stopped_reason, "containers": containers,
        **{k: v for k, v in task.at.items() if k.endswith("At")},
    }
    return {k: v for k, v in whole.items() if v is not None}
