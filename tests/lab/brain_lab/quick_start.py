"""Makes moto start in half the CPU time. Import it before moto: dozens of labs start in one run of the tests."""

import boto3
import moto.utilities.utils

REGION = "us-east-1"

# moto asks botocore for all regions, by parsing everything that botocore knows of EC2, once for each of three partitions.
boto3.Session.get_available_regions = lambda self, service, partition_name="aws", **_: [REGION] if partition_name == "aws" else []

_load_resource = moto.utilities.utils.load_resource


def _of_one_region(resource: str):
    """The instance types that are offered in other regions than the lab's are not read."""
    if "instance_type_offerings" in resource and REGION not in resource:
        return []
    return _load_resource(resource)


moto.utilities.utils.load_resource = _of_one_region
