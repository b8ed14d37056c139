use super::super::{Class, IDLE, USED, Use};
use super::*;
use std::time::Duration;
use tokio::{task::JoinSet, time::sleep};

/// One of each class.
const ACTIONS: [&str; 13] = [
    "UpdateService",
    "DescribeServices",
    "RegisterTaskDefinition",
    "DescribeTaskDefinition",
    "CreateCluster",
    "DescribeClusters",
    "DescribeInstanceHealth",
    "CreateListener",
    "CreateLoadBalancer",
    "DescribeVpcs",
    "DescribeAlarms",
    "GetMetricData",
    "SetDesiredCapacity",
];

/// Those of a deployer in one account, as one of so many that it has just come to.
fn one_of(deployers: u32, now: Instant) -> Arc<Limits> {
    let all = AllLimits::new(1.0);
    all.share(deployers, now);
    all.of("us-east-1", String::new())
}

/// How many calls are sent at once.
fn at_once(limits: &Limits, action: &str, now: Instant) -> usize {
    (0..1_000).take_while(|_| limits.ask(action, now) == Ok(Duration::ZERO)).count()
}

/// When calls were sent.
type Sent = Arc<Mutex<Vec<Instant>>>;

/// More than the limits let through, until they are dropped.
fn callers(all: &AllLimits, sent: &Sent) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for _ in 0..300 {
        callers.spawn(call_on(all.of("us-east-1", String::new()), Arc::clone(sent)));
    }
    callers
}

async fn call_on(limits: Arc<Limits>, sent: Sent) {
    loop {
        if limits.turn("DescribeServices", Use::Wanted).await.is_ok() {
            sent.lock().unwrap().push(Instant::now());
        } else {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_together_stay_within_awss_limit_at_any_moment_also_when_one_comes_and_goes() {
    let (first, sent) = (AllLimits::new(1.0), Sent::default());
    let tick = Duration::from_millis(100);
    first.share(1, Instant::now());
    for _ in 0..2 {
        // The first has a whole burst, and spends it just before the second comes and is told first.
        let firsts = callers(&first, &sent);
        sleep(tick).await;
        let second = AllLimits::new(1.0);
        second.share(2, Instant::now());
        let seconds = callers(&second, &sent);
        sleep(tick).await;
        first.share(2, Instant::now());
        sleep(Duration::from_secs(20)).await;
        drop((firsts, seconds));
        sleep(tick).await;
        first.share(1, Instant::now());
        sleep(Duration::from_secs(20)).await;
    }
    let sent = sent.lock().unwrap();
    assert!(sent.len() > 800, "what fits is sent: {}", sent.len());
    // AWS's own bucket.
    let (burst, per_second) = Class::EcsLook.limit();
    let (mut tokens, mut filled) = (burst, sent[0]);
    for (number, at) in sent.iter().enumerate() {
        tokens = burst.min(tokens + (*at - filled).as_secs_f64() * per_second) - 1.0;
        filled = *at;
        assert!(tokens >= 0.0, "call {number}, after {:?}", *at - sent[0]);
    }
}

#[test]
fn with_a_hundred_sharers_every_class_lets_a_call_pass_within_its_pace() {
    let began = Instant::now();
    for action in ACTIONS {
        let (_, per_second) = Class::of(action).limit();
        for (purpose, part) in [(Use::Wanted, USED), (Use::Idle, USED * IDLE)] {
            let limits = one_of(100, began);
            let each = 100.0 / (per_second * part);
            let passes = |second: &u64| {
                let now = began + Duration::from_secs(*second);
                limits.reserve(action, purpose, Duration::ZERO, now).is_ok()
            };
            let passed: Vec<u64> = (0..(each * 3.0) as u64 + 2).filter(passes).collect();
            assert!((2..=3).contains(&passed.len()), "{action}, {purpose:?}, one in {each} s: {passed:?}");
            assert!((each..each + 1.0).contains(&(passed[0] as f64)), "{action}, {purpose:?}: {passed:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_hundred_sharers_observation_that_nobody_waits_for_goes_on() {
    let (limits, began) = (one_of(100, Instant::now()), Instant::now());
    let mut sent = 0;
    while began.elapsed() < Duration::from_hours(1) {
        sent += u32::from(limits.turn("DescribeInstanceHealth", Use::Idle).await.is_ok());
        sleep(Duration::from_secs(1)).await;
    }
    assert!((25..=33).contains(&sent), "{sent} calls in an hour are about a tenth of a hundredth of 36,000");
}

#[test]
fn a_bucket_has_its_new_part_at_once_and_nothing_is_given_to_it() {
    let (all, now) = (AllLimits::new(1.0), Instant::now());
    all.share(1, now);
    let limits = all.of("us-east-1", String::new());
    assert_eq!(limits.ask("DescribeServices", now), Ok(Duration::ZERO));
    all.share(2, now);
    assert_eq!(at_once(&limits, "DescribeServices", now), 45, "what is above the new burst is cut");
    all.share(1, now);
    let wait = limits.ask("DescribeServices", now).unwrap().as_secs_f64();
    assert!((0.05..0.06).contains(&wait), "18 a second, of nothing: {wait} s");
}

#[test]
fn every_account_hears_of_it_also_one_that_is_called_later() {
    let (all, began) = (AllLimits::new(1.0), Instant::now());
    let earlier = all.of("us-east-1", String::new());
    assert_eq!(at_once(&earlier, "DescribeServices", began), 90);
    all.share(2, began);
    let later = all.of("us-east-1", "210987654321".to_owned());
    assert_eq!(at_once(&later, "DescribeServices", began), 0, "others may have called just now");
    let minute = began + Duration::from_mins(1);
    assert_eq!([&earlier, &later].map(|limits| at_once(limits, "DescribeServices", minute)), [45, 45]);
    // An older server says no number.
    all.share(0, minute);
    let end = minute + Duration::from_mins(1);
    assert_eq!([&earlier, &later].map(|limits| at_once(limits, "DescribeServices", end)), [90, 90]);
}

#[test]
fn whose_stream_is_cut_every_minute_has_its_part_of_the_limit_that_fills_slowest() {
    let began = Instant::now();
    let (cut, other) = (AllLimits::new(1.0), AllLimits::new(1.0));
    let limits = [&cut, &other].map(|all| {
        all.share(20, began);
        all.of("us-east-1", String::new())
    });
    let mut passed = [0, 0];
    for minute in 0..60 {
        let now = began + Duration::from_mins(minute);
        // The others see it go and come; it is told the number when it is back.
        other.share(19, now);
        other.share(20, now);
        cut.share(20, now);
        // Only in the second half of the hour somebody asks for it.
        for (passed, limits) in passed.iter_mut().zip(&limits).filter(|_| minute >= 30) {
            *passed += usize::from(limits.ask("CreateLoadBalancer", now).is_ok());
        }
    }
    assert!(
        passed.iter().all(|passed| (12..=17).contains(passed)),
        "one in 111 s, looked at once a minute: {passed:?}"
    );
}

#[test]
fn a_process_that_was_away_keeps_what_fits_into_its_new_part() {
    let (all, began) = (AllLimits::new(1.0), Instant::now());
    all.share(2, began);
    let limits = all.of("us-east-1", String::new());
    let now = began + Duration::from_mins(1);
    all.share(3, now);
    assert_eq!(at_once(&limits, "DescribeServices", now), 30);
}

#[test]
fn every_class_is_shared() {
    assert_eq!(ACTIONS.map(Class::of), Class::ALL);
}
