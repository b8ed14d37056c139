//! The AWS SDK behind the ports: the only place that knows its types.

use crate::{
    cloud::{CloudError, ErrorKind, Tags, is_idle},
    metrics,
};
use aws_config::{
    BehaviorVersion, Region, SdkConfig, retry::RetryConfig, sts::AssumeRoleProvider, timeout::TimeoutConfig,
};
use aws_sdk_ecs::config::SharedCredentialsProvider;
use aws_sdk_ecs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use brain_process::trace;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

mod application;
mod balancer;
mod containers;
mod group;
mod instances;
mod limits;
mod network;
mod tagging;
mod watch;

pub use limits::{AllLimits, Limits};
use limits::{Crowded, Use};

/// Time to connect, for one try, and for a whole call.
const CONNECT: Duration = Duration::from_secs(5);
const ATTEMPT: Duration = Duration::from_secs(20);

/// How sessions of a role are named, in CloudTrail for one.
const SESSION: &str = "brain-deployer";

/// The VPC and subnets that a target names.
type Asked = (Option<String>, Vec<String>);

/// Clients of one region and role.
#[derive(Debug)]
pub struct Aws {
    ecs: aws_sdk_ecs::Client,
    ec2: aws_sdk_ec2::Client,
    scaling: aws_sdk_autoscaling::Client,
    balancing: aws_sdk_elasticloadbalancing::Client,
    applications: aws_sdk_elasticloadbalancingv2::Client,
    ssm: aws_sdk_ssm::Client,
    watch: aws_sdk_cloudwatch::Client,
    /// Of the account and region, shared with other roles there.
    limits: Arc<Limits>,
    /// Task definitions by revision, which never change.
    definitions: Mutex<HashMap<String, Arc<crate::cloud::TaskDefinition>>>,
    /// Task definitions by family that were found or registered, and when.
    found: Mutex<HashMap<String, (Instant, crate::cloud::TaskDefinition, String)>>,
    /// Clusters, and when they answered last.
    answered: Mutex<HashMap<String, Instant>>,
    /// Those that were looked at.
    clusters: Mutex<HashMap<String, crate::cloud::Cluster>>,
    /// Load balancers by name that were seen to carry tags, with the time of their making.
    tagged: Mutex<HashMap<String, (String, Tags)>>,
    /// ARNs of application load balancers, target groups and brain's rules.
    arns: application::Arns,
    /// Versions of launch templates by id and number, which never change.
    versions: Mutex<HashMap<(String, i64), crate::cloud::LaunchSettings>>,
    /// Ids of security groups by VPC and name, and when they were seen.
    groups: Mutex<HashMap<(String, String), (Instant, String)>>,
    /// Services by cluster, and when they were listed.
    listed: Mutex<HashMap<String, (Instant, Vec<String>)>>,
    /// VPC and subnets by what was asked for, and when.
    networks: Mutex<HashMap<Asked, (Instant, crate::cloud::Network)>>,
    /// Instance types and zones.
    known: instances::Known,
    /// EC2 instances by host, which never change either.
    instances: Mutex<BTreeMap<String, String>>,
}

impl Aws {
    /// Clients for `region`, with the credentials of the environment, as AWS's own tools find them, or those of a role that
    /// they may take.
    pub async fn connect(region: &str, role: &str, limits: Arc<Limits>) -> Self {
        let config = configured(region).await;
        let config = if role.is_empty() { config } else { taking(role, config).await };
        Self {
            ecs: aws_sdk_ecs::Client::new(&config),
            ec2: aws_sdk_ec2::Client::new(&config),
            scaling: aws_sdk_autoscaling::Client::new(&config),
            balancing: aws_sdk_elasticloadbalancing::Client::new(&config),
            applications: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
            watch: aws_sdk_cloudwatch::Client::new(&config),
            limits,
            definitions: Mutex::default(),
            found: Mutex::default(),
            answered: Mutex::default(),
            clusters: Mutex::default(),
            tagged: Mutex::default(),
            arns: application::Arns::default(),
            versions: Mutex::default(),
            groups: Mutex::default(),
            listed: Mutex::default(),
            networks: Mutex::default(),
            known: instances::Known::default(),
            instances: Mutex::default(),
        }
    }

    /// Sends a call when its turn comes. Every call passes here: nothing else makes our error of the SDK's.
    async fn call<T, E, R>(
        &self,
        action: &'static str,
        call: impl Future<Output = Result<T, SdkError<E, R>>>,
    ) -> Result<T, CloudError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: HasStatus + std::fmt::Debug,
    {
        let asked = Instant::now();
        let purpose = if is_idle() { Use::Idle } else { Use::Wanted };
        if let Err(Crowded { before }) = self.limits.turn(action, purpose).await {
            metrics::called(action, "limited");
            let message = format!("AWS's limit of {action}: {before} calls wait before this one");
            return Err(CloudError { action, code: "OwnLimit".to_owned(), message, kind: ErrorKind::Limited });
        }
        let sent = Instant::now();
        let answer = call.await.map_err(failed(action));
        metrics::answered(action, sent - asked, sent.elapsed());
        metrics::called(action, answer.as_ref().map_or_else(|error| error.kind.name(), |_| "ok"));
        trace::called(action, sent.elapsed(), answer.as_ref().err().map(ToString::to_string));
        if answer.as_ref().is_err_and(|error| error.kind == ErrorKind::Throttled) {
            self.limits.throttled(action, Instant::now());
        }
        answer
    }
}

/// The credentials of the environment, for `region`.
async fn configured(region: &str) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(ATTEMPT).build();
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .timeout_config(timeouts)
        // The steps observe, and try again themselves: a retry hidden in a client would double an act.
        .retry_config(RetryConfig::disabled())
        .load()
        .await
}

/// The account of the environment's credentials. Needs no permission.
pub(crate) async fn own_account(region: &str) -> Result<String, CloudError> {
    let client = aws_sdk_sts::Client::new(&configured(region).await);
    let answer = client.get_caller_identity().send().await.map_err(failed("GetCallerIdentity"))?;
    Ok(answer.account.unwrap_or_default())
}

/// The same with the credentials of `role`, which are taken anew before they end.
async fn taking(role: &str, config: SdkConfig) -> SdkConfig {
    let provider = AssumeRoleProvider::builder(role).session_name(SESSION).configure(&config).build().await;
    config.into_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
}

/// Makes our error of the SDK's.
fn failed<E, R>(action: &'static str) -> impl FnOnce(SdkError<E, R>) -> CloudError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
    R: HasStatus + std::fmt::Debug,
{
    move |error| {
        let (code, message, status) = match &error {
            SdkError::ServiceError(context) => {
                let service = context.err();
                let code = service.code().unwrap_or("Unknown").to_owned();
                (code, service.message().unwrap_or_default().to_owned(), context.raw().status())
            }
            SdkError::TimeoutError(_) => ("Timeout".to_owned(), "no answer in time".to_owned(), 500),
            SdkError::DispatchFailure(failure) => {
                let refused = failure.as_connector_error().and_then(|error| role_refused(error));
                let (code, message) = refused.unwrap_or_else(|| match failure.is_other() {
                    true => ("NotSent".to_owned(), "no credentials are found, or none that last".to_owned()),
                    false => ("NoConnection".to_owned(), "the connection failed".to_owned()),
                });
                (code, message, 500)
            }
            SdkError::ResponseError(context) => {
                ("BadResponse".to_owned(), String::new(), context.raw().status().max(500))
            }
            _ => ("BadRequest".to_owned(), "the request could not be made".to_owned(), 400),
        };
        CloudError { action, kind: classify(&code, status), code, message }
    }
}

/// What STS said when it refused the role with which a call was to be made.
fn role_refused(error: &(dyn std::error::Error + 'static)) -> Option<(String, String)> {
    type Refused = SdkError<AssumeRoleError, aws_sdk_sts::config::http::HttpResponse>;
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(SdkError::ServiceError(context)) = error.downcast_ref::<Refused>() {
            let refusal = context.err();
            let message = format!("the role cannot be taken: {}", refusal.message().unwrap_or_default());
            return Some((refusal.code().unwrap_or("Unknown").to_owned(), message));
        }
        source = error.source();
    }
    None
}

/// The HTTP status of an answer.
trait HasStatus {
    fn status(&self) -> u16;
}

impl HasStatus for aws_sdk_ecs::config::http::HttpResponse {
    fn status(&self) -> u16 {
        self.status().as_u16()
    }
}

fn classify(code: &str, status: u16) -> ErrorKind {
    match code {
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "RequestThrottled"
        | "SlowDown" => ErrorKind::Throttled,
        "ServerException"
        | "InternalFailure"
        | "InternalError"
        | "ServiceUnavailable"
        | "Unavailable"
        | "RequestTimeout"
        | "UpdateInProgressException"
        | "ScalingActivityInProgress"
        | "ResourceContention"
        | "ResourceInUse"
        | "ClusterNotFoundException"
        | "ServiceNotFoundException" => ErrorKind::Transient,
        // A credential is renewed by whoever provides it, and the next call is signed with the new one.
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" | "TokenRefreshRequired" => ErrorKind::Transient,
        _ if status >= 500 => ErrorKind::Transient,
        _ => ErrorKind::Terminal,
    }
}

/// Tags as pairs.
fn collect_tags<'a>(tags: impl Iterator<Item = (Option<&'a str>, Option<&'a str>)>) -> Tags {
    tags.filter_map(|(key, value)| Some((key?.to_owned(), value.unwrap_or_default().to_owned()))).collect()
}

/// A count that AWS gives as a signed number.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// A count that AWS takes as a signed number.
fn signed(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A port that AWS gives as a signed number; 0 for one that is none.
fn port(number: i32) -> u16 {
    u16::try_from(number).unwrap_or(0)
}
