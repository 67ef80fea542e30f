//! The signals that stop a run: Ctrl-C and its like.

use std::future::poll_fn;
use std::task::Poll;

use tokio::sync::watch;

use crate::event::{Event, Events};
use crate::report;

/// Returns the signals that stop a run: Ctrl-C, and what `kill`, `timeout`, a CI system or a
/// closing terminal send. From here on they do not end the process on their own.
pub fn stop_signals() -> Vec<tokio::signal::unix::Signal> {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect()
}

/// Waits for one of these signals.
async fn heard(signals: &mut [tokio::signal::unix::Signal]) {
    poll_fn(|context| {
        let heard = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if heard { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Counts the signals that stop a run, for whoever passes them on.
pub async fn stops(count: watch::Sender<u32>) {
    let mut signals = stop_signals();
    loop {
        heard(&mut signals).await;
        count.send_modify(|count| *count += 1);
    }
}

/// The first signal asks a run to stop, the second ends the process.
pub async fn listen_for_stop(
    mut signals: Vec<tokio::signal::unix::Signal>,
    cancel: watch::Sender<bool>,
    events: Events,
) {
    heard(&mut signals).await;
    cancel.send_replace(true);
    events.emit(Event::Cancelling);
    heard(&mut signals).await;
    // Commands on nodes continue or are interrupted; running the same command again finishes the
    // work.
    report::end_at_once();
    std::process::exit(130);
}
