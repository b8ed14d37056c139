//! CloudWatch.

use super::Aws;
use crate::cloud::{Alarm, AlarmState, Result, WatchPort};
use async_trait::async_trait;
use aws_sdk_cloudwatch::{
    primitives::DateTime,
    types::{AlarmType, StateValue},
};
use brain_core::{
    gate::metrics::{Ask, Points},
    time::Timestamp,
};
use std::time::Duration;

mod metrics;

#[async_trait]
impl WatchPort for Aws {
    async fn alarms(&self, names: &[String]) -> Result<Vec<Alarm>> {
        // Without the types CloudWatch leaves composite alarms out.
        let request = self.watch.describe_alarms().set_alarm_names(Some(names.to_vec()));
        let request = request.alarm_types(AlarmType::MetricAlarm).alarm_types(AlarmType::CompositeAlarm);
        let answer = self.call("DescribeAlarms", request.send()).await?;
        let metric = answer.metric_alarms().iter().map(|alarm| {
            // The update time also moves when only the reason changes.
            let since = alarm.state_transitioned_timestamp().or(alarm.state_updated_timestamp());
            let seconds = |value: Option<i32>| u64::try_from(value.unwrap_or_default()).unwrap_or_default();
            let window = seconds(alarm.period()) * seconds(alarm.evaluation_periods());
            // One over several metrics has a period with each of them.
            let window = Some(Duration::from_secs(window)).filter(|window| !window.is_zero());
            read(alarm.alarm_name(), alarm.state_value(), since, window)
        });
        let composite = answer.composite_alarms().iter().map(|alarm| {
            let since = alarm.state_transitioned_timestamp().or(alarm.state_updated_timestamp());
            read(alarm.alarm_name(), alarm.state_value(), since, None)
        });
        Ok(metric.chain(composite).collect())
    }

    async fn metrics(&self, ask: &Ask) -> Result<Vec<Points>> {
        metrics::read(self, ask).await
    }
}

fn read(name: Option<&str>, state: Option<&StateValue>, since: Option<&DateTime>, window: Option<Duration>) -> Alarm {
    let state = match state {
        Some(StateValue::Ok) => AlarmState::Ok,
        Some(StateValue::Alarm) => AlarmState::Alarm,
        // A state that is not known says as little as no data.
        _ => AlarmState::InsufficientData,
    };
    let since = since.and_then(|since| since.to_millis().ok()).map(Timestamp);
    Alarm { name: name.unwrap_or_default().to_owned(), state, since, window }
}
