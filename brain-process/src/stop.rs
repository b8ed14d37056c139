//! How a program is told to end.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Exit code of a program that did not wait for its own end, as a shell tells of SIGINT.
const INTERRUPTED: i32 = 130;

/// Cancelled at the first SIGINT or SIGTERM; the second one ends the process at once.
pub fn signalled() -> anyhow::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        for signals in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if signals > 0 {
                std::process::exit(INTERRUPTED);
            }
            stop.cancel();
        }
    });
    Ok(token)
}
