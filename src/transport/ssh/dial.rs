//! Opens many connections without overloading any machine.
//!
//! By default, sshd refuses connections while ten others have not logged in yet (`MaxStartups
//! 10:30:100`). So only a few connections log in to one machine at the same time, all nodes behind
//! a jump host share one connection to it, and a connection that is refused before the login is
//! retried.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, sleep};

use super::super::TransportError;
use super::config::OpenSsh;
use super::hop::{Connected, Hop};
use super::keyring::Keyring;
use super::route::{LoginRoute, RouteHost, route};
use super::session::Session;
use super::target::Target;

/// Maximum number of parallel logins to one machine.
const LOGINS: usize = 8;

/// How long to retry, as a multiple of the time limit of one attempt.
const PATIENCE: u32 = 4;

/// Pause before the second attempt, and the maximum pause before a later one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A connection to a jump host, or why there is none; created once for all nodes behind it.
type SharedConnection = Arc<OnceCell<Result<Arc<Connected>, TransportError>>>;

/// Opens connections, and coordinates them.
#[derive(Default)]
pub struct Dialler {
    keyring: Arc<Keyring>,
    doors: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    jumps: Mutex<BTreeMap<String, SharedConnection>>,
    configs: Mutex<BTreeMap<Vec<PathBuf>, Option<Arc<OpenSsh>>>>,
}

/// How to reach a machine.
enum Leg<'a> {
    /// Over TCP.
    Direct,
    /// Over a command.
    Command(&'a str),
    /// Over a connection to a jump host, with its name.
    Through(Arc<Connected>, String),
}

impl Session {
    /// Connects to one node and logs in. For several nodes, use one [`Dialler`].
    ///
    /// # Errors
    /// Same as [`Dialler::connect`].
    pub async fn connect(target: &Target) -> Result<Self, TransportError> {
        Dialler::default().connect(target).await
    }
}

impl Dialler {
    /// One that asks `keyring` for what a login needs of a person.
    pub fn with(keyring: Arc<Keyring>) -> Self {
        Self { keyring, ..Self::default() }
    }

    /// The way to the node: what the inventory and OpenSSH's configuration come to.
    ///
    /// # Errors
    /// When the configuration cannot be read, or names a way that is not supported.
    pub async fn route(&self, target: &Target) -> Result<LoginRoute, TransportError> {
        let openssh = {
            let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
            match configs.get(&target.config) {
                Some(openssh) => openssh.clone(),
                None => {
                    let openssh = OpenSsh::of(&target.config)?.map(Arc::new);
                    configs.insert(target.config.clone(), openssh.clone());
                    openssh
                }
            }
        };
        route(target, openssh.as_deref()).await
    }

    /// Connects to the node and logs in.
    ///
    /// # Errors
    /// When a machine on the way cannot be reached in time, its host key is unknown, changed or
    /// revoked, no key is accepted, or a jump host does not forward. Each says what to do about it.
    pub async fn connect(&self, target: &Target) -> Result<Session, TransportError> {
        let route = self.route(target).await?;
        let mut way = match &route.command {
            Some(command) => Leg::Command(command),
            None => Leg::Direct,
        };
        let mut through = String::new();
        for (index, machine) in route.machines.iter().enumerate() {
            let last = index + 1 == route.machines.len();
            let name = if last {
                machine.address()
            } else {
                format!("the jump host {}", machine.address())
            };
            let place = format!("{name}{through}");
            let hop = Hop { machine, place, keyring: &self.keyring };
            if last {
                let connected = self.reach(&hop, &way).await?;
                return Ok(Session::over(target, machine, connected, Arc::clone(&self.keyring)));
            }
            // All that the way to it depends on: two nodes may name the same host and different
            // keys.
            let known = format!("{:?} {:?}", route.command, &route.machines[..=index]);
            let jump = self.jump(known, &hop, &way).await?;
            through = format!(" through {}", hop.place);
            way = Leg::Through(jump, hop.place);
        }
        Err(TransportError {
            what: format!("connect to {}", target.node),
            why: "no machine is on the way to it".into(),
            help: None,
        })
    }

    /// Returns the shared connection to a jump host.
    async fn jump(
        &self,
        known: String,
        hop: &Hop<'_>,
        way: &Leg<'_>,
    ) -> Result<Arc<Connected>, TransportError> {
        let shared = Arc::clone(
            self.jumps.lock().unwrap_or_else(PoisonError::into_inner).entry(known).or_default(),
        );
        let dial = || async { self.reach(hop, way).await.map(Arc::new) };
        shared.get_or_init(dial).await.clone()
    }

    /// Connects to one machine, when it is its turn; comes again when it is turned away, or when a
    /// key was unlocked for it.
    async fn reach(&self, hop: &Hop<'_>, way: &Leg<'_>) -> Result<Connected, TransportError> {
        let door = self.door(hop.machine);
        let mut until = None;
        let mut pause = FIRST_PAUSE;
        loop {
            // The semaphore is never closed, so there is no error to handle.
            let turn = door.acquire().await.ok();
            let until = *until
                .get_or_insert_with(|| Instant::now() + hop.machine.connect_timeout * PATIENCE);
            let attempt = match way {
                Leg::Direct => hop.direct().await,
                Leg::Command(command) => hop.over(command).await,
                Leg::Through(jump, place) => hop.through(jump, place).await,
            };
            drop(turn);
            match attempt {
                Ok(connected) => return Ok(connected),
                Err(failed) if failed.turned_away && Instant::now() + pause < until => {
                    // Connections that were refused together must not retry together.
                    sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(failed) => match failed.locked {
                    Some(file) if self.keyring.unlock(&file).await => {}
                    _ => return Err(failed.error),
                },
            }
        }
    }

    fn door(&self, machine: &RouteHost) -> Arc<Semaphore> {
        let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let door = doors.entry(machine.address());
        Arc::clone(door.or_insert_with(|| Arc::new(Semaphore::new(LOGINS))))
    }
}
