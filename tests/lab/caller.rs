//! Clients that never stop calling while something is done to a lab, and count what fails.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;

/// Calls the API twenty times a second, each time with a new connection and with `admin.conf` as it
/// is then.
pub struct Caller {
    stop: Arc<AtomicBool>,
    running: JoinHandle<Calls>,
}

/// What a caller has seen.
pub struct Calls {
    pub made: usize,
    /// When, after the first call, and why.
    pub failed: Vec<(Duration, String)>,
    pub slowest: Duration,
}

impl Caller {
    pub fn start(admin: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let next = move || {
            let admin = fs::read_to_string(&admin).expect("a kubeconfig");
            async move { call(&admin).await }
        };
        Self { stop, running: std::thread::spawn(move || run(call_until(&stopped, next))) }
    }

    /// The same with plain requests, to each of `urls` in turn.
    pub fn of_pages(urls: Vec<String>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let mut turns = urls.into_iter().cycle();
        let next = move || get(turns.next().expect("there are some"));
        Self { stop, running: std::thread::spawn(move || run(call_until(&stopped, next))) }
    }

    pub fn end(self) -> Calls {
        self.stop.store(true, Ordering::Relaxed);
        self.running.join().expect("the caller ends by itself")
    }
}

fn run(calls: impl Future<Output = Calls>) -> Calls {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(calls)
}

/// A page, with no second try and over a new connection.
async fn get(url: String) -> Result<(), String> {
    let client = reqwest::Client::builder()
        .retry(reqwest::retry::never())
        .timeout(Duration::from_secs(20))
        .no_proxy()
        .build()
        .map_err(told)?;
    let status = client.get(&url).send().await.map_err(told)?.status();
    if status == 200 { Ok(()) } else { Err(format!("{url}: {status}")) }
}

/// An error with all its causes.
fn told(error: reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(deeper) = cause {
        text.push_str(&format!(": {deeper}"));
        cause = deeper.source();
    }
    text
}

impl Calls {
    /// How many there were, how many failed, and how long the slowest took.
    pub fn figures(&self) -> String {
        let slowest = self.slowest.as_secs_f64();
        format!("{} calls, {} failed, slowest {slowest:.1} s", self.made, self.failed.len())
    }

    /// There were many, and none failed; `what` was done meanwhile.
    #[allow(clippy::print_stdout, reason = "how many calls there were is worth a line in any case")]
    pub fn none_failed(&self, what: &str) {
        let report = format!("{what}: {}: {:#?}", self.figures(), self.failed);
        println!("{report}");
        assert!(self.made > 1000, "{report}");
        assert!(self.failed.is_empty(), "{report}");
    }
}

async fn call_until<F>(stopped: &AtomicBool, mut next: impl FnMut() -> F) -> Calls
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let started = Instant::now();
    let mut beat = tokio::time::interval(Duration::from_millis(50));
    // A machine that is busy must not make it call less often.
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut calls = tokio::task::JoinSet::new();
    while !stopped.load(Ordering::Relaxed) {
        beat.tick().await;
        let call = next();
        calls.spawn(async move {
            let at = started.elapsed();
            let outcome = call.await;
            (at, started.elapsed() - at, outcome)
        });
    }
    let mut seen = Calls { made: 0, failed: Vec::new(), slowest: Duration::ZERO };
    while let Some(ended) = calls.join_next().await {
        let (at, took, outcome) = ended.expect("a call ends");
        seen.made += 1;
        seen.slowest = seen.slowest.max(took);
        seen.failed.extend(outcome.err().map(|why| (at, why)));
    }
    seen.failed.sort();
    seen
}

/// One call, with no second try: an object that the API server has to fetch from etcd.
async fn call(admin: &str) -> Result<(), String> {
    let field = |key: &str| {
        let line = admin.lines().find_map(|line| line.trim().strip_prefix(key)).expect(key);
        line.trim_start_matches(':').trim().trim_matches('"').to_owned()
    };
    let pem =
        |key: &str| base64::engine::general_purpose::STANDARD.decode(field(key)).expect("base64");
    let identity = [pem("client-certificate-data"), pem("client-key-data")].concat();
    let client = reqwest::Client::builder()
        .tls_certs_only(
            reqwest::Certificate::from_pem_bundle(&pem("certificate-authority-data")).expect("CAs"),
        )
        .identity(reqwest::Identity::from_pem(&identity).expect("a certificate with its key"))
        .retry(reqwest::retry::never())
        .timeout(Duration::from_secs(20))
        .no_proxy()
        .build()
        .map_err(told)?;
    let url =
        format!("{}/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt", field("server"));
    let answer = client.get(url).send().await.map_err(told)?;
    let status = answer.status();
    let body = answer.text().await.map_err(told)?;
    if status == 200 { Ok(()) } else { Err(format!("{status}: {body}")) }
}
