//! AWS's limits of calls: one token bucket for each class of calls of an account and region, shared by everything that this
//! process does there; other deployers have theirs (`sharing`). It delays calls and refuses those that would wait too long; it
//! never sends one.
//!
//! The buckets are our own and not governor's: a refused call has to tell how many wait before it, an answer of AWS slows a
//! bucket, and time is an argument. Governor has none of these.

pub use sharing::AllLimits;
use sharing::Sharing;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

mod sharing;

/// Longest wait of a call that looks. A look that waits longer is old news for the step that asked.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait of a call that changes something: the lease was asked just before, and has to hold when it is sent.
const ACT_PATIENCE: Duration = Duration::from_millis(200);
/// The part of AWS's limits that is used: calls bunch on their way, and people use the account too.
const USED: f64 = 0.9;
/// The part of AWS's limits that observation uses which nobody waits for, and how long such a look waits at most: the next
/// round comes anyway.
const IDLE: f64 = 0.1;
const IDLE_PATIENCE: Duration = Duration::from_secs(60);
/// What such a look leaves in the bucket for those that somebody waits for.
const LEFT_BY_IDLE: f64 = 0.5;
/// How long a bucket fills at half its pace after AWS has throttled a call of it.
const SLOWED: Duration = Duration::from_secs(10);

/// Calls that AWS counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    ServiceChange,
    EcsLook,
    DefinitionChange,
    DefinitionLook,
    ClusterChange,
    ClusterLook,
    BalancerLook,
    BalancerChange,
    BalancerCreate,
    Ec2Look,
    GroupLook,
    MetricLook,
    Other,
}

impl Class {
    const ALL: [Self; 13] = [
        Self::ServiceChange,
        Self::EcsLook,
        Self::DefinitionChange,
        Self::DefinitionLook,
        Self::ClusterChange,
        Self::ClusterLook,
        Self::BalancerLook,
        Self::BalancerChange,
        Self::BalancerCreate,
        Self::Ec2Look,
        Self::GroupLook,
        Self::MetricLook,
        Self::Other,
    ];

    /// The class of a call, by its name. One that is not known here is counted with the slowest common ones.
    fn of(action: &str) -> Self {
        match action {
            "CreateService" | "UpdateService" | "DeleteService" => Self::ServiceChange,
            "DescribeServices"
            | "ListServices"
            | "DescribeTasks"
            | "ListTasks"
            | "DescribeContainerInstances"
            | "ListContainerInstances" => Self::EcsLook,
            "RegisterTaskDefinition" | "DeregisterTaskDefinition" => Self::DefinitionChange,
            "DescribeTaskDefinition" | "ListTaskDefinitions" => Self::DefinitionLook,
            "CreateCluster" | "DeleteCluster" => Self::ClusterChange,
            "DescribeClusters" => Self::ClusterLook,
            "DescribeLoadBalancers"
            | "DescribeLoadBalancerAttributes"
            | "DescribeTags"
            | "DescribeInstanceHealth"
            | "DescribeTargetGroups"
            | "DescribeTargetGroupAttributes"
            | "DescribeTargetHealth"
            | "DescribeListeners"
            | "DescribeRules" => Self::BalancerLook,
            "CreateLoadBalancer" => Self::BalancerCreate,
            "CreateLoadBalancerListeners"
            | "DeleteLoadBalancerListeners"
            | "ApplySecurityGroupsToLoadBalancer"
            | "AttachLoadBalancerToSubnets"
            | "SetSecurityGroups"
            | "SetSubnets"
            | "ConfigureHealthCheck"
            | "ModifyLoadBalancerAttributes"
            | "AddTags"
            | "CreateTargetGroup"
            | "ModifyTargetGroup"
            | "ModifyTargetGroupAttributes"
            | "CreateListener"
            | "ModifyListener"
            | "DeleteListener"
            | "CreateRule"
            | "ModifyRule" => Self::BalancerChange,
            "DescribeVpcs"
            | "DescribeSubnets"
            | "DescribeSecurityGroups"
            | "DescribeLaunchTemplates"
            | "DescribeLaunchTemplateVersions"
            | "DescribeInstances"
            | "DescribeInstanceTypes"
            | "DescribeInstanceTypeOfferings" => Self::Ec2Look,
            "DescribeAutoScalingGroups" | "DescribeLaunchConfigurations" | "GetParameter" | "DescribeAlarms" => {
                Self::GroupLook
            }
            "GetMetricData" => Self::MetricLook,
            _ => Self::Other,
        }
    }

    /// AWS's limit: calls at once, and calls a second. Those of `GroupLook` and `Other` are not documented: they are what
    /// others of their kind have.
    fn limit(self) -> (f64, f64) {
        match self {
            Self::ServiceChange => (50.0, 5.0),
            Self::EcsLook | Self::Ec2Look => (100.0, 20.0),
            Self::DefinitionChange | Self::ClusterChange => (20.0, 1.0),
            Self::DefinitionLook | Self::ClusterLook => (50.0, 20.0),
            Self::BalancerLook | Self::GroupLook => (40.0, 10.0),
            Self::MetricLook => (50.0, 50.0),
            Self::BalancerChange => (20.0, 3.0),
            Self::BalancerCreate => (10.0, 0.2),
            Self::Other => (20.0, 5.0),
        }
    }

    /// What is used of it: calls at once, and calls a second. Half a call cannot be sent, so each bucket holds a whole one, be
    /// its part ever so small: it fills at that part's pace.
    fn used(self, purpose: Use, part: f64) -> (f64, f64) {
        let part = match purpose {
            Use::Wanted => part * USED,
            Use::Idle => part * USED * IDLE,
        };
        let (burst, per_second) = self.limit();
        ((burst * part).max(1.0), per_second * part)
    }
}

/// A call that would wait too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Crowded {
    /// Calls that wait before it.
    pub(super) before: u64,
}

/// The buckets of an account and region.
#[derive(Debug)]
pub struct Limits {
    /// The part of AWS's default limits that all deployers have together.
    part: f64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    sharing: Sharing,
    /// How often that has changed. Places in the buckets from before are void.
    changes: u64,
    buckets: BTreeMap<(Class, Use), Bucket>,
}

impl Inner {
    /// A bucket, which is made when it is first asked for. `part`: of AWS's default limits, what all deployers have together.
    fn bucket(&mut self, part: f64, class: Class, purpose: Use, now: Instant) -> &mut Bucket {
        let sharing = self.sharing;
        self.buckets.entry((class, purpose)).or_insert_with(|| {
            let used = class.used(purpose, sharing.part_of(part));
            match sharing.since {
                None => Bucket::full(used, now),
                Some(since) => Bucket::empty(used, since),
            }
        })
    }
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    /// Somebody waits for it.
    Wanted,
    /// Observation that nobody waits for.
    Idle,
}

impl Limits {
    /// Those of an account of which nothing is called yet.
    fn new(part: f64, sharing: Sharing) -> Self {
        Self { part, inner: Mutex::new(Inner { sharing, changes: 0, buckets: BTreeMap::new() }) }
    }

    /// The limits are shared in another way from `now` on.
    fn share(&self, sharing: Sharing, now: Instant) {
        let mut inner = self.lock();
        // Also those that are not used yet: they would begin with nothing after each change.
        for class in Class::ALL {
            for purpose in [Use::Wanted, Use::Idle] {
                inner.bucket(self.part, class, purpose, now);
            }
        }
        inner.sharing = sharing;
        inner.changes += 1;
        let part = sharing.part_of(self.part);
        for ((class, purpose), bucket) in &mut inner.buckets {
            bucket.fill(now);
            bucket.change(class.used(*purpose, part), sharing.joins);
        }
    }

    /// Waits for the turn of a call, or refuses it when that is too far.
    pub(super) async fn turn(&self, action: &str, purpose: Use) -> Result<(), Crowded> {
        if purpose == Use::Idle {
            let began = Instant::now();
            while !self.has_room(action, Instant::now()) {
                if began.elapsed() >= IDLE_PATIENCE {
                    return Err(Crowded { before: 0 });
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            // What is kept of it is its own share; the common bucket counts it too.
            self.pass(action, Use::Idle, IDLE_PATIENCE).await?;
        }
        self.pass(action, Use::Wanted, patience(action)).await
    }

    /// Waits for a token of one bucket.
    async fn pass(&self, action: &str, purpose: Use, patience: Duration) -> Result<(), Crowded> {
        let asked = Instant::now();
        loop {
            let changes = self.lock().changes;
            let wait = self.reserve(action, purpose, patience.saturating_sub(asked.elapsed()), Instant::now())?;
            if wait.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(wait).await;
            // Otherwise its place was one of another pace.
            if self.lock().changes == changes {
                return Ok(());
            }
        }
    }

    /// Whether those whom somebody waits for leave something, and a whole call at least.
    fn has_room(&self, action: &str, now: Instant) -> bool {
        let left = |bucket: &mut Bucket| bucket.tokens >= (bucket.burst * LEFT_BY_IDLE).max(1.0);
        self.with(action, Use::Wanted, now, left)
    }

    /// AWS has throttled a call: others use the limit too, or it is lower here.
    pub(super) fn throttled(&self, action: &str, now: Instant) {
        self.with(action, Use::Wanted, now, Bucket::slow);
    }

    /// How long a call waits that asks now.
    fn reserve(&self, action: &str, purpose: Use, patience: Duration, now: Instant) -> Result<Duration, Crowded> {
        self.with(action, purpose, now, |bucket| bucket.take(patience))
    }

    fn with<T>(&self, action: &str, purpose: Use, now: Instant, run: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut inner = self.lock();
        let bucket = inner.bucket(self.part, Class::of(action), purpose, now);
        bucket.fill(now);
        run(bucket)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a call waits at most that somebody waits for.
fn patience(action: &str) -> Duration {
    let looks = ["Describe", "List", "Get"].iter().any(|prefix| action.starts_with(prefix));
    if looks { LOOK_PATIENCE } else { ACT_PATIENCE }
}

/// Tokens; fewer than none when calls wait for theirs.
#[derive(Debug)]
struct Bucket {
    burst: f64,
    per_second: f64,
    tokens: f64,
    filled: Instant,
    slow_until: Instant,
}

impl Bucket {
    fn full((burst, per_second): (f64, f64), now: Instant) -> Self {
        Self { burst, per_second, tokens: burst, filled: now, slow_until: now }
    }

    fn empty(used: (f64, f64), since: Instant) -> Self {
        Self { tokens: 0.0, ..Self::full(used, since) }
    }

    /// Has another burst and pace from now on. Those who wait ask again when they wake, so nothing is kept for them.
    fn change(&mut self, (burst, per_second): (f64, f64), emptied: bool) {
        (self.burst, self.per_second) = (burst, per_second);
        self.tokens = if emptied { 0.0 } else { self.tokens.clamp(0.0, burst) };
    }

    fn fill(&mut self, now: Instant) {
        let slow = self.slow_until.min(now).saturating_duration_since(self.filled).as_secs_f64();
        let whole = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = self.burst.min(self.tokens + (whole - slow / 2.0) * self.per_second);
        self.filled = now;
    }

    /// Takes a token; answers how long until it is there.
    fn take(&mut self, patience: Duration) -> Result<Duration, Crowded> {
        let missing = (1.0 - self.tokens).max(0.0);
        let slow = self.slow_until.saturating_duration_since(self.filled).as_secs_f64();
        let in_slow = slow * self.per_second / 2.0;
        let seconds = if missing <= in_slow {
            missing * 2.0 / self.per_second
        } else {
            slow + (missing - in_slow) / self.per_second
        };
        let wait = Duration::from_secs_f64(seconds);
        if wait > patience {
            let waiting = (-self.tokens).max(0.0).ceil();
            // A bucket holds fewer calls than patience times pace: the number is small.
            return Err(Crowded { before: waiting as u64 });
        }
        self.tokens -= 1.0;
        Ok(wait)
    }

    fn slow(&mut self) {
        self.tokens = self.tokens.min(self.tokens / 2.0);
        self.slow_until = self.filled + SLOWED;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Limits {
        /// Those of a deployer that shares them with nobody.
        fn alone(part: f64) -> Self {
            Self::new(part, Sharing::default())
        }

        /// How long a call that somebody waits for waits that asks now.
        pub(super) fn ask(&self, action: &str, now: Instant) -> Result<Duration, Crowded> {
            self.reserve(action, Use::Wanted, patience(action), now)
        }
    }

    /// When each of so many calls that ask now is sent, in seconds from now; `None` for a refused one.
    fn sent(limits: &Limits, action: &str, calls: usize, now: Instant) -> Vec<Option<f64>> {
        (0..calls).map(|_| limits.ask(action, now).ok().map(|wait| wait.as_secs_f64())).collect()
    }

    #[test]
    fn calls_stay_within_burst_and_pace_at_any_moment() {
        let (limits, began) = (Limits::alone(1.0), Instant::now());
        let mut all = Vec::new();
        for second in 0..60 {
            let now = began + Duration::from_secs(second);
            all.extend(sent(&limits, "DescribeServices", 90, now).into_iter().flatten().map(|at| at + second as f64));
        }
        assert!(all.len() > 1_000, "what fits is sent: {}", all.len());
        for (index, from) in all.iter().enumerate() {
            for (later, to) in all.iter().enumerate().skip(index) {
                let calls = (later - index + 1) as f64;
                assert!(calls <= 100.0 + 20.0 * (to - from), "{calls} calls from {from} s to {to} s");
            }
        }
    }

    #[test]
    fn a_part_of_the_limits_is_as_many_calls_and_never_none() {
        let began = Instant::now();
        for (part, changes) in [(0.01, 1), (0.5, 23), (1.0, 46), (2.0, 92)] {
            let limits = Limits::alone(part);
            let taken = sent(&limits, "UpdateService", 200, began).into_iter().flatten().count();
            assert!((changes - 1..=changes + 1).contains(&taken), "{part}: {taken} at once");
            let later =
                sent(&limits, "UpdateService", 1_000, began + Duration::from_secs(100)).into_iter().flatten().count();
            assert!(later > 0, "{part}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn idle_observation_uses_a_tenth_and_stands_back() {
        let (limits, began) = (Limits::alone(1.0), Instant::now());
        let mut sent = 0;
        while began.elapsed() < Duration::from_mins(1) {
            sent += u32::from(limits.turn("DescribeServices", Use::Idle).await.is_ok());
        }
        assert!((100..=10 + 2 * 61).contains(&sent), "{sent} calls in a minute are about a tenth of 1,200");
        assert_eq!(limits.ask("DescribeServices", Instant::now()), Ok(Duration::ZERO), "nobody else waits for it");
        while limits.ask("ListTasks", Instant::now()) == Ok(Duration::ZERO) {}
        let asked = Instant::now();
        limits.turn("DescribeServices", Use::Idle).await.unwrap();
        let waited = asked.elapsed().as_secs_f64();
        assert!((2.0..5.0).contains(&waited), "until half the burst is there again, at 18 a second: {waited} s");
    }

    #[test]
    fn a_refused_look_tells_how_many_wait_before_it() {
        let (limits, now) = (Limits::alone(1.0), Instant::now());
        let sent = sent(&limits, "DescribeInstanceHealth", 200, now);
        assert_eq!(sent.iter().flatten().count(), 36 + 90, "nine tenths of the burst, and of ten seconds");
        assert_eq!(limits.ask("DescribeInstanceHealth", now), Err(Crowded { before: 90 }));
        assert_eq!(limits.ask("DescribeServices", now), Ok(Duration::ZERO));
    }

    #[test]
    fn a_change_is_never_sent_long_after_the_lease_was_asked() {
        let (limits, now) = (Limits::alone(1.0), Instant::now());
        let sent = sent(&limits, "CreateLoadBalancer", 20, now);
        assert_eq!(sent.iter().flatten().count(), 9, "nine tenths of the burst");
        assert!(sent.iter().flatten().all(|at| *at <= ACT_PATIENCE.as_secs_f64()), "{sent:?}");
    }

    #[test]
    fn a_throttling_answer_slows_its_class_for_a_while_and_no_other() {
        let (limits, now) = (Limits::alone(1.0), Instant::now());
        let spent = sent(&limits, "ListTasks", 90, now);
        assert!(spent.iter().all(|at| *at == Some(0.0)));
        limits.throttled("DescribeTasks", now);
        let wait = limits.ask("DescribeServices", now).unwrap();
        assert!((0.11..0.12).contains(&wait.as_secs_f64()), "half of 18 a second: {wait:?}");
        assert_eq!(limits.ask("DescribeVpcs", now), Ok(Duration::ZERO));
        let later = sent(&limits, "ListTasks", 90, now + SLOWED * 2);
        assert!(later.iter().all(|at| *at == Some(0.0)), "it recovers: {later:?}");
    }
}
