//! Instance types and zones, which change so rarely that they are asked for once an hour, and when instances were launched.

use super::{Aws, count, network::filter};
use crate::cloud::{InstancePort, Result, TAG_PROJECT};
use async_trait::async_trait;
use aws_sdk_ec2::types::{Filter, InstanceType, LocationType};
use brain_core::capacity::Size;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How long an answer is used again.
const KNOWN_FOR: Duration = Duration::from_hours(1);
/// CPU units of a virtual CPU (ECS's own unit).
const UNITS: u32 = 1_024;
/// Subnets or instances that one call is asked for (an AWS limit of a filter's values).
const NAMED_AT_ONCE: usize = 200;

/// What is known of instance types and subnets, and since when.
#[derive(Debug, Default)]
pub(super) struct Known {
    sizes: Mutex<HashMap<String, (Instant, Size)>>,
    offering: Mutex<HashMap<String, (Instant, BTreeSet<String>)>>,
    /// Zones by subnet, which never change.
    zones: Mutex<BTreeMap<String, String>>,
}

#[async_trait]
impl InstancePort for Aws {
    async fn instance_size(&self, kind: &str) -> Result<Option<Size>> {
        if let Some(size) = recent(&self.known.sizes, kind) {
            return Ok(Some(size));
        }
        let request = self.ec2.describe_instance_types().instance_types(InstanceType::from(kind));
        let answer = match self.call("DescribeInstanceTypes", request.send()).await {
            Ok(answer) => answer,
            Err(error) if error.code == "InvalidInstanceType" => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(found) = answer.instance_types().first() else { return Ok(None) };
        let memory = found.memory_info().and_then(|memory| memory.size_in_mib()).unwrap_or_default();
        let cpus = found.v_cpu_info().and_then(|cpus| cpus.default_v_cpus()).unwrap_or_default();
        let memory_mib = u32::try_from(memory).unwrap_or(u32::MAX);
        let size = Size { memory_mib, cpu_units: count(cpus).saturating_mul(UNITS) };
        Ok(Some(keep(&self.known.sizes, kind, size)))
    }

    async fn zones_offering(&self, kind: &str) -> Result<BTreeSet<String>> {
        if let Some(zones) = recent(&self.known.offering, kind) {
            return Ok(zones);
        }
        let request = self.ec2.describe_instance_type_offerings().location_type(LocationType::AvailabilityZone);
        let request = request.filters(filter("instance-type", kind));
        let answer = self.call("DescribeInstanceTypeOfferings", request.send()).await?;
        let zones = answer.instance_type_offerings().iter();
        let zones = zones.filter_map(|offering| offering.location().map(ToOwned::to_owned)).collect();
        Ok(keep(&self.known.offering, kind, zones))
    }

    async fn zones_of(&self, subnets: &[String]) -> Result<BTreeMap<String, String>> {
        let known = self.known.zones.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unknown: Vec<String> = subnets.iter().filter(|subnet| !known.contains_key(*subnet)).cloned().collect();
        for subnets in unknown.chunks(NAMED_AT_ONCE) {
            // A filter, because a list of ids is refused whole where one does not exist.
            let filter = Filter::builder().name("subnet-id").set_values(Some(subnets.to_vec())).build();
            let request = self.ec2.describe_subnets().filters(filter);
            let answer = self.call("DescribeSubnets", request.send()).await?;
            let mut zones = self.known.zones.lock().unwrap_or_else(PoisonError::into_inner);
            for subnet in answer.subnets() {
                if let (Some(id), Some(zone)) = (subnet.subnet_id(), subnet.availability_zone()) {
                    zones.insert(id.to_owned(), zone.to_owned());
                }
            }
        }
        let known = self.known.zones.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(subnets.iter().filter_map(|subnet| Some((subnet.clone(), known.get(subnet)?.clone()))).collect())
    }

    async fn launched(&self, project: &str, instances: &[String]) -> Result<BTreeMap<String, i64>> {
        let mut launched = BTreeMap::new();
        for instances in instances.chunks(NAMED_AT_ONCE) {
            // A filter here too, for one that is gone meanwhile.
            let named = Filter::builder().name("instance-id").set_values(Some(instances.to_vec())).build();
            let (running, ours) =
                (filter("instance-state-name", "running"), filter(&format!("tag:{TAG_PROJECT}"), project));
            let request = self.ec2.describe_instances().filters(named).filters(running).filters(ours);
            let answer = self.call("DescribeInstances", request.send()).await?;
            for instance in answer.reservations().iter().flat_map(|reservation| reservation.instances()) {
                let at = instance.launch_time().and_then(|at| at.to_millis().ok());
                if let (Some(id), Some(at)) = (instance.instance_id(), at) {
                    launched.insert(id.to_owned(), at);
                }
            }
        }
        Ok(launched)
    }
}

fn recent<T: Clone>(known: &Mutex<HashMap<String, (Instant, T)>>, key: &str) -> Option<T> {
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.get(key).filter(|(at, _)| at.elapsed() < KNOWN_FOR).map(|(_, value)| value.clone())
}

fn keep<T: Clone>(known: &Mutex<HashMap<String, (Instant, T)>>, key: &str, value: T) -> T {
    known.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), (Instant::now(), value.clone()));
    value
}
