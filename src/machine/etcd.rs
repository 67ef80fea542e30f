//! etcd's state on controllers, and what follows for how a member first starts.
//!
//! A controller founds etcd together with all others, or joins one that is there, or has done
//! either already. Which of them it is follows from the state of all controllers: one that founds
//! although there is an etcd already would split the lab in two.

use serde::{Deserialize, Serialize};

/// How a member of etcd first starts: a file that systemd reads variables from.
pub const BOOTSTRAP: &str = "/etc/etcd/bootstrap.env";
/// There once a member has been healthy.
pub const MEMBER: &str = "/etc/etcd/member.env";
/// There while a member has its data.
pub const DATA: &str = "/var/lib/etcd/member";

/// How far etcd has come on one controller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Etcd {
    /// Whether this run cannot ask: then it may have come to anything.
    pub unseen: bool,
    /// Whether it has been a healthy member.
    pub member: bool,
    /// Whether it has data.
    pub data: bool,
    /// Whether it was decided how it first starts, and it has: it has data, and the file that says
    /// how.
    pub started: bool,
    /// The members that it was to be founded by, when that is how it first started:
    /// `NAME=URL,NAME=URL`.
    pub founders: Option<String>,
}

/// How etcd starts for the first time: the same for every controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Founding {
    /// The members that found etcd together, `NAME=URL,NAME=URL`: all controllers.
    pub members: String,
    /// Whether they do: all of them were asked, none has been a member, and those that have begun
    /// had begun with the same list. Otherwise a controller can only join an etcd that is there.
    pub founds: bool,
}

impl Etcd {
    /// The state of a controller with this [`BOOTSTRAP`], with or without [`MEMBER`] and [`DATA`].
    pub fn of(bootstrap: Option<&str>, member: bool, data: bool) -> Self {
        let started = data && bootstrap.is_some();
        let founders = bootstrap.and_then(founders);
        Self { unseen: false, member, data, started, founders }
    }

    /// Of a controller that cannot be asked.
    pub fn unseen() -> Self {
        Self { unseen: true, ..Self::default() }
    }
}

impl Founding {
    /// By these controllers, each with its name and URL, and its state.
    pub fn of<'a>(controllers: impl Iterator<Item = (String, &'a Etcd)>) -> Self {
        let (list, states): (Vec<String>, Vec<&Etcd>) = controllers.unzip();
        let members = list.join(",");
        let may = |it: &&Etcd| {
            let founds_with_them = it.founders.as_deref() == Some(&*members);
            !it.unseen && !it.member && (!it.data || founds_with_them)
        };
        let founds = states.iter().all(may);
        Self { members, founds }
    }
}

/// The list of members in a file that says to found with them.
fn founders(text: &str) -> Option<String> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value("ETCD_INITIAL_CLUSTER")
        .filter(|_| value("ETCD_INITIAL_CLUSTER_STATE") == Some("new"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare() -> Etcd {
        Etcd::default()
    }

    /// A member that was once founded by these.
    fn member(founders: &str, data: bool) -> Etcd {
        Etcd { member: true, ..begun(founders, data) }
    }

    /// The same, never healthy.
    fn begun(founders: &str, data: bool) -> Etcd {
        let text = format!("ETCD_INITIAL_CLUSTER={founders}\nETCD_INITIAL_CLUSTER_STATE=new\n");
        Etcd::of(Some(&text), false, data)
    }

    /// Whether `c0,c1,...` with these states found etcd together.
    fn found(states: &[Etcd]) -> bool {
        Founding::of(states.iter().enumerate().map(|(i, etcd)| (format!("c{i}"), etcd))).founds
    }

    #[test]
    fn controllers_without_any_data_found_etcd_together() {
        assert!(found(&[bare(), bare()]));
        // One that cannot be seen, because of --limit or a dead machine, may have an etcd.
        assert!(!found(&[Etcd::unseen(), bare()]));
    }

    #[test]
    fn a_controller_joins_the_etcd_that_is_there() {
        assert!(!found(&[member("c0", true), bare(), bare()]));
        // The founding file of an earlier time allows nothing any more.
        assert!(!found(&[member("c0", true), begun("c0,c1", false)]));
        // A member whose file is gone cannot start, and cannot found either.
        assert!(!found(&[Etcd::of(None, true, true)]));
    }

    #[test]
    fn old_members_are_left_alone() {
        assert!(member("c0", true).started && begun("c0,c1", true).started);
        assert!(!begun("c0,c1", false).started && !Etcd::of(None, true, true).started);
        // However it came: one that has joined has no list of founders.
        let joined = Etcd::of(Some("ETCD_INITIAL_CLUSTER_STATE=existing\n"), false, true);
        assert!(joined.started && joined.founders.is_none());
    }

    #[test]
    fn a_first_run_that_was_cut_off_goes_on_founding() {
        assert!(found(&[begun("c0,c1", true), bare()]));
        // Alone it needs nobody, so what was begun is an etcd, also when nobody came to note that
        // it was healthy.
        assert!(!found(&[begun("c0", true), bare()]));
    }
}
