//! Many connections at once, without a crowd at any door.
//!
//! sshd turns away who comes when ten others have not logged in yet (`MaxStartups 10:30:100`). So
//! only a few log in to one machine at a time, all nodes behind a jump host share one connection to
//! it, and who is turned away before the login began comes again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, sleep};

use super::super::TransportError;
use super::{Connected, Hop, Session, Target, address};

/// Logins to one machine at the same time.
const LOGINS: usize = 8;

/// For how many times the limit of one attempt it is tried again.
const PATIENCE: u32 = 4;

/// How long to wait before the second attempt, and before a later one at most.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A connection to a jump host, or why there is none; made once, however many nodes are behind it.
type Shared = Arc<OnceCell<Result<Arc<Connected>, TransportError>>>;

/// Makes connections, and knows of all that it makes.
#[derive(Default)]
pub struct Dialler {
    doors: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    jumps: Mutex<BTreeMap<String, Shared>>,
}

/// How a machine is reached.
pub(super) enum Way<'a> {
    /// Over TCP.
    Direct,
    /// Over a connection to a jump host, by its name.
    Through(&'a Connected, &'a str),
}

/// Why an attempt to connect failed.
pub(super) struct Failed {
    pub(super) error: TransportError,
    /// The connection ended before the login began, so nothing is wrong with the login.
    pub(super) turned_away: bool,
}

impl From<TransportError> for Failed {
    fn from(error: TransportError) -> Self {
        Self { error, turned_away: false }
    }
}

impl Dialler {
    /// Connects to the node and logs in.
    ///
    /// # Errors
    /// When a machine on the way cannot be reached in time, its host key is unknown, changed or
    /// revoked, no key is accepted, or the jump host does not forward. Each says what to do about
    /// it.
    pub async fn connect(&self, target: &Target) -> Result<Session, TransportError> {
        let ssh = &target.ssh;
        let mut hop = Hop {
            target,
            host: &ssh.host,
            port: ssh.port,
            user: &ssh.user,
            place: address(&ssh.host, ssh.port),
        };
        let Some(through) = &ssh.jump else {
            let connected = self.reach(&hop, &Way::Direct).await?;
            return Ok(Session::over(target, connected, None));
        };
        let place = format!("the jump host {}", address(&through.host, through.port));
        hop.place = format!("{} through {place}", hop.place);
        let first =
            Hop { target, host: &through.host, port: through.port, user: &through.user, place };
        let jump = self.jump(&first).await?;
        let connected = self.reach(&hop, &Way::Through(&jump, &first.place)).await?;
        Ok(Session::over(target, connected, Some(jump)))
    }

    /// The one connection to a jump host.
    async fn jump(&self, hop: &Hop<'_>) -> Result<Arc<Connected>, TransportError> {
        let target = hop.target;
        // All that the login depends on: two nodes may name the same host and different keys.
        let known = (
            &target.ssh.identity,
            &target.agent,
            &target.identities,
            &target.known_hosts,
            target.accept_new,
        );
        let name = format!("{}@{} {known:?}", hop.user, address(hop.host, hop.port));
        let shared = Arc::clone(
            self.jumps.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default(),
        );
        let dial = || async { self.reach(hop, &Way::Direct).await.map(Arc::new) };
        shared.get_or_init(dial).await.clone()
    }

    /// Connects to one machine, when it is its turn; comes again when it is turned away.
    async fn reach(&self, hop: &Hop<'_>, way: &Way<'_>) -> Result<Connected, TransportError> {
        let name = address(hop.host, hop.port);
        let door = {
            let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(doors.entry(name).or_insert_with(|| Arc::new(Semaphore::new(LOGINS))))
        };
        let mut until = None;
        let mut pause = FIRST_PAUSE;
        loop {
            // The semaphore is never closed, so there is nothing to handle.
            let turn = door.acquire().await.ok();
            let until = *until
                .get_or_insert_with(|| Instant::now() + hop.target.connect_timeout * PATIENCE);
            let attempt = match way {
                Way::Direct => hop.direct().await,
                Way::Through(jump, place) => hop.through(jump, place).await,
            };
            drop(turn);
            match attempt {
                Ok(connected) => return Ok(connected),
                Err(failed) if failed.turned_away && Instant::now() + pause < until => {
                    // Those who were turned away together do not come back together.
                    sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(failed) => return Err(failed.error),
            }
        }
    }
}
