//! What the board costs: many projects, many open pages, and how soon all of them show a change.

use super::{millis, row};
use anyhow::{Context, Result, ensure};
use brain_tests::{brain::Server, http::client, load, wait::within};
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

const PROJECTS: usize = 10_000;
const STREAMS: usize = 1_000;
/// Projects that change: they are on the first page, which every stream shows.
const CHANGING: usize = 50;
const CHANGES_PER_SECOND: u32 = 50;
const CHANGES: usize = 1_000;
const PATIENCE: Duration = Duration::from_mins(2);
/// Bytes of a stream that are kept, so that what came in two pieces is found.
const TAIL: usize = 64;

/// Which changes were seen by how many streams, and when by the last one.
#[derive(Debug, Default)]
struct Seen {
    open: AtomicUsize,
    counts: Vec<AtomicUsize>,
    by_all: Mutex<Vec<Option<Instant>>>,
}

impl Seen {
    fn new() -> Self {
        let counts = (0..CHANGES).map(|_| AtomicUsize::new(0)).collect();
        Self { open: AtomicUsize::new(0), counts, by_all: Mutex::new(vec![None; CHANGES]) }
    }

    fn note(&self, change: usize) {
        if self.counts[change].fetch_add(1, Ordering::Relaxed) + 1 == STREAMS {
            self.by_all.lock().unwrap_or_else(PoisonError::into_inner)[change] = Some(Instant::now());
        }
    }
}

/// Time and size of the first page, then the time until every open page shows a change.
pub(super) async fn streams() -> Result<()> {
    let mut server = Server::start().await?;
    let ids: Vec<String> = (0..PROJECTS).map(|number| format!("p{number:05}")).collect();
    let channel = load::connect(&server.address()).await?;
    load::create_projects(&channel, ids.iter().cloned()).await?;
    first_page(&server.http_address()).await?;

    let seen = Arc::new(Seen::new());
    let mut readers = JoinSet::new();
    for _ in 0..STREAMS {
        readers.spawn(read(server.http_address(), Arc::clone(&seen)));
    }
    within(PATIENCE, "every stream to begin", || async {
        let open = seen.open.load(Ordering::Relaxed);
        ensure!(open == STREAMS, "{open} of {STREAMS}");
        Ok(())
    })
    .await?;
    let process = server.process().context("it runs")?;
    let (cpu, begun) = (process.cpu_seconds()?, Instant::now());
    let sent = change(&channel, &ids[..CHANGING]).await?;
    within(PATIENCE, "every stream to show every change", || async {
        let missing =
            seen.by_all.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|by| by.is_none()).count();
        ensure!(missing == 0, "{missing} changes are not seen by all");
        ensure!(!readers.is_empty(), "no stream is open");
        Ok(())
    })
    .await?;
    let (cpu, seconds) = (process.cpu_seconds()? - cpu, begun.elapsed().as_secs_f64());
    let by_all = seen.by_all.lock().unwrap_or_else(PoisonError::into_inner);
    let mut times: Vec<Duration> = sent.iter().zip(by_all.iter().flatten()).map(|(sent, seen)| *seen - *sent).collect();
    times.sort();
    let at = |percent: usize| millis(times[(times.len() - 1) * percent / 100]);
    row(
        &format!(
            "a change, until the last of {STREAMS} open boards shows it; {CHANGES_PER_SECOND} changes a second, {PROJECTS} projects"
        ),
        format!("p50 {:.0} ms, p99 {:.0} ms, its commit and a gathering of 50 ms among it", at(50), at(99)),
    );
    let memory = server.process().context("it runs")?.memory_mb()?;
    row("… the server meanwhile", format!("{:.0} % of a core, {memory:.0} MB", cpu / seconds * 100.0));
    Ok(())
}

async fn first_page(address: &str) -> Result<()> {
    let client = client();
    let mut times = Vec::new();
    let (mut plain, mut packed) = (0, 0);
    for _ in 0..20 {
        let begun = Instant::now();
        let request = client.get(format!("http://{address}/")).header("Accept-Encoding", "gzip");
        let body = request.send().await?.error_for_status()?.bytes().await?;
        times.push(begun.elapsed());
        packed = body.len();
        let response = client.get(format!("http://{address}/")).send().await?;
        plain = response.bytes().await?.len();
    }
    times.sort();
    row(
        &format!("first page of the board with {PROJECTS} projects, 20 times"),
        format!(
            "{:.0} KB, {:.0} KB compressed; median {:.1} ms",
            plain as f64 / 1e3,
            packed as f64 / 1e3,
            millis(times[times.len() / 2])
        ),
    );
    Ok(())
}

/// Makes the changes at their pace; answers when each was sent.
async fn change(channel: &tonic::transport::Channel, ids: &[String]) -> Result<Vec<Instant>> {
    let mut watcher = load::LoadWatcher::open(channel, "loader").await?;
    let mut pace = interval(Duration::from_secs(1) / CHANGES_PER_SECOND);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = Vec::new();
    for number in 0..CHANGES {
        pace.tick().await;
        sent.push(Instant::now());
        let tag = (ids[number % ids.len()].clone(), format!("1.{number}.0"));
        let through = watcher.send(std::iter::once(tag)).await?;
        while watcher.acknowledged().await? < through {}
    }
    Ok(sent)
}

/// Reads a board's stream for ever, and notes each change when it first shows.
async fn read(address: String, seen: Arc<Seen>) -> Result<()> {
    let mut stream = TcpStream::connect(&address).await?;
    stream.write_all(format!("GET /-/stream HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut buffer = vec![0; 64 << 10];
    let (mut kept, mut first) = (0, true);
    let mut own = HashSet::new();
    loop {
        let count = stream.read(&mut buffer[kept..]).await?;
        ensure!(count > 0, "the board ended the stream");
        if std::mem::take(&mut first) {
            seen.open.fetch_add(1, Ordering::Relaxed);
        }
        let end = kept + count;
        for change in changes(&buffer[..end]) {
            if own.insert(change) {
                seen.note(change);
            }
        }
        let rest = end.saturating_sub(TAIL)..end;
        kept = rest.len();
        buffer.copy_within(rest, 0);
    }
}

/// Numbers of the changes that a piece of a page shows: ":1.N.0 waiting".
fn changes(piece: &[u8]) -> impl Iterator<Item = usize> {
    let starts = piece.windows(3).enumerate().filter(|(_, window)| *window == b":1.");
    starts.filter_map(|(start, _)| {
        let digits: Vec<u8> = piece[start + 3..].iter().copied().take_while(u8::is_ascii_digit).collect();
        let whole = piece[start + 3 + digits.len()..].starts_with(b".0 ");
        let change = std::str::from_utf8(&digits).ok()?.parse().ok()?;
        (whole && change < CHANGES).then_some(change)
    })
}
