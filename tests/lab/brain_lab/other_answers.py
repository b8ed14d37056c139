"""ELB, auto-scaling, EC2 and CloudWatch calls answered as AWS does where moto differs. Everything else is left to moto."""

from moto.autoscaling.exceptions import AutoscalingClientError, ValidationError
from moto.autoscaling.responses import AutoScalingResponse
from moto.cloudwatch.models import Dimension
from moto.core.responses import ActionResult, EmptyResult
from moto.elb.exceptions import DuplicateLoadBalancerName
from moto.elb.models import FakeListener
from moto.elb.responses import ELBResponse

from brain_lab import health
from brain_lab.cloud import Cloud


def patch(cloud: Cloud) -> None:
    patch_elb(cloud)
    patch_groups(cloud)
    # moto compares dimensions in an order of theirs, and that order is none: a value with another's name.
    Dimension.__lt__ = lambda self, other: (self.name, self.value) < (other.name, other.value)


def patch_elb(cloud: Cloud) -> None:
    def describe_instance_health(self):
        wanted = [i["InstanceId"] for i in self._get_param("Instances", [])]
        return ActionResult({"InstanceStates": health.describe(cloud, self._get_param("LoadBalancerName"), wanted)})

    def create_load_balancer(self, original=ELBResponse.create_load_balancer):
        name = self._get_param("LoadBalancerName")
        asked = {k: self._get_param(k) for k in ("Listeners", "Subnets", "AvailabilityZones", "SecurityGroups", "Scheme")}
        existing = cloud.elb.load_balancers.get(name)
        if existing is None:
            result = original(self)
            cloud.elb.load_balancers[name].lab_asked = asked
            keep_instance_protocols(self)
            return result
        if existing.lab_asked != asked:
            raise DuplicateLoadBalancerName(name)
        return ActionResult({"DNSName": existing.dns_name})

    def create_load_balancer_listeners(self, original=ELBResponse.create_load_balancer_listeners):
        result = original(self)
        keep_instance_protocols(self)
        return result

    def delete_load_balancer_listeners(self):
        # moto keeps a listener once for every other port that is asked for.
        gone = {int(port) for port in self._get_param("LoadBalancerPorts", [])}
        balancer = cloud.elb.describe_load_balancers([self._get_param("LoadBalancerName")])[0]
        balancer.listeners = [x for x in balancer.listeners if int(x.load_balancer_port) not in gone]
        return EmptyResult()

    def keep_instance_protocols(self):
        # moto says that the instance's protocol is the listener's; a 443 that ends TLS speaks HTTP behind it.
        asked = {int(a["LoadBalancerPort"]): a for a in self._get_param("Listeners", [])}
        for listener in cloud.elb.load_balancers[self._get_param("LoadBalancerName")].listeners:
            if int(listener.load_balancer_port) in asked:
                wanted = asked[int(listener.load_balancer_port)]
                listener.lab_instance_protocol = (wanted.get("InstanceProtocol") or wanted["Protocol"]).upper()

    def register_instances_with_load_balancer(self):
        for instance in self._get_param("Instances", []):
            health.register(cloud, self._get_param("LoadBalancerName"), instance["InstanceId"])
        return registered(self)

    def deregister_instances_from_load_balancer(self):
        for instance in self._get_param("Instances", []):
            health.deregister(cloud, self._get_param("LoadBalancerName"), instance["InstanceId"])
        return registered(self)

    def registered(self):
        return ActionResult({"Instances": cloud.elb.describe_load_balancers([self._get_param("LoadBalancerName")])[0].instances})

    ELBResponse.describe_instance_health = describe_instance_health
    ELBResponse.create_load_balancer = create_load_balancer
    ELBResponse.create_load_balancer_listeners = create_load_balancer_listeners
    ELBResponse.delete_load_balancer_listeners = delete_load_balancer_listeners
    FakeListener.instance_protocol = property(lambda self: getattr(self, "lab_instance_protocol", self.protocol))
    ELBResponse.register_instances_with_load_balancer = register_instances_with_load_balancer
    ELBResponse.deregister_instances_from_load_balancer = deregister_instances_from_load_balancer


def patch_groups(cloud: Cloud) -> None:
    groups = cloud.groups

    def group_named(self):
        name = self._get_param("AutoScalingGroupName")
        if name not in groups.autoscaling_groups:
            raise ValidationError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
        return groups.autoscaling_groups[name]

    def create_auto_scaling_group(self, original=AutoScalingResponse.create_auto_scaling_group):
        name = self._get_param("AutoScalingGroupName")
        if name in groups.autoscaling_groups:
            raise AutoscalingClientError("AlreadyExists", f"AutoScalingGroup by this name already exists - A group with the name {name} already exists")
        for balancer in self._get_param("LoadBalancerNames", []):
            if balancer not in cloud.elb.load_balancers:
                raise ValidationError("Provided Load Balancers may not be valid. Please ensure they exist and try again.")
        return original(self)

    def create_launch_configuration(self, original=AutoScalingResponse.create_launch_configuration):
        name = self._get_param("LaunchConfigurationName")
        if name in groups.launch_configurations:
            raise AutoscalingClientError("AlreadyExists", f"Launch Configuration by this name already exists - A launch configuration already exists with the name {name}")
        return original(self)

    def update_auto_scaling_group(self, original=AutoScalingResponse.update_auto_scaling_group):
        group = group_named(self)
        least = self._get_int_param("MinSize", group.min_size)
        most = self._get_int_param("MaxSize", group.max_size)
        desired = self._get_int_param("DesiredCapacity")
        if least > most or (desired is not None and not least <= desired <= most):
            raise ValidationError(f"Desired capacity:{desired} must be between the specified min size:{least} and max size:{most}")
        return original(self)

    def set_desired_capacity(self, original=AutoScalingResponse.set_desired_capacity):
        group, desired = group_named(self), self._get_int_param("DesiredCapacity")
        if desired > group.max_size:
            raise ValidationError(f"New SetDesiredCapacity value {desired} is above max value {group.max_size} for the AutoScalingGroup.")
        if desired < group.min_size:
            raise ValidationError(f"New SetDesiredCapacity value {desired} is below min value {group.min_size} for the AutoScalingGroup.")
        return original(self)

    def terminate_instance_in_auto_scaling_group(self, original=AutoScalingResponse.terminate_instance_in_auto_scaling_group):
        instance_id = self._get_param("InstanceId")
        group = next((g for g in groups.autoscaling_groups.values()
                      if any(s.instance.id == instance_id for s in g.instance_states)), None)
        if group is None:
            raise ValidationError(f"Instance Id not found - No managed instance found for instance ID: {instance_id}")
        if self._get_bool_param("ShouldDecrementDesiredCapacity", False) and group.desired_capacity <= group.min_size:
            raise ValidationError(
                f"Currently, desiredSize equals minSize ({group.min_size}). Terminating instance without replacement will violate "
                "group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower group's min size.")
        return original(self)

    for name, answer in list(locals().items()):
        if callable(answer) and hasattr(AutoScalingResponse, name):
            setattr(AutoScalingResponse, name, answer)
