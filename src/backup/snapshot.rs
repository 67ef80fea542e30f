//! The shell script with which a controller takes a snapshot of etcd, and its output: pure.
//!
//! Stdout contains only the snapshot. The information about it comes before that on stderr, in
//! lines that begin with `@`.

use serde::Deserialize;

use crate::node::SNAPSHOT;

/// What a controller reports about its snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// etcd's version.
    pub etcd: String,
    /// The members of etcd, by name.
    pub members: Vec<String>,
    /// The hash over all of the snapshot's keys and values, computed by etcd's own tool.
    pub hash: u32,
    /// The newest revision in the snapshot.
    pub revision: u64,
    /// Number of keys.
    pub keys: u64,
    /// SHA-256 of the file, lower-case hex.
    pub sha256: String,
    /// Size of the file in bytes.
    pub size: u64,
}

/// The script for the controller. Nothing of it stays there: the copy is in a directory that only
/// root can read and that is removed with the command, however that ends; the next run removes what
/// a power failure leaves.
pub const SCRIPT: &str = SNAPSHOT;

#[derive(Deserialize)]
struct Endpoint {
    #[serde(rename = "Status")]
    status: EndpointStatus,
}

#[derive(Deserialize)]
struct EndpointStatus {
    version: String,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<EtcdMember>,
}

#[derive(Deserialize)]
struct EtcdMember {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct Status {
    hash: u32,
    revision: u64,
    #[serde(rename = "totalKey")]
    keys: u64,
}

/// Parses the output of [`SCRIPT`] on stderr.
///
/// # Errors
/// Returns the line that is missing or invalid.
pub fn parse(said: &str) -> Result<Taken, String> {
    fn json<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T, String> {
        serde_json::from_str(text)
            .map_err(|error| format!("{name} of etcd cannot be read: {error}"))
    }
    let after = |word: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        line.ok_or_else(|| format!("it did not print {word}"))
    };
    let endpoints: Vec<Endpoint> = json("the status", after("@endpoint")?)?;
    let endpoint = endpoints.into_iter().next().ok_or("etcd has no status")?;
    let members: Members = json("the list of members", after("@members")?)?;
    let status: Status = json("the snapshot's status", after("@status")?)?;
    let file = after("@file")?;
    let (sha256, size) = file.split_once(' ').ok_or("it did not print the size of the snapshot")?;
    Ok(Taken {
        etcd: endpoint.status.version,
        members: members.members.into_iter().map(|member| member.name).collect(),
        hash: status.hash,
        revision: status.revision,
        keys: status.keys,
        sha256: sha256.to_owned(),
        size: size.trim().parse().map_err(|_| format!("`{size}` is not a number of bytes"))?,
    })
}

/// Returns the stderr of a failed command without the lines for labctl.
pub fn complaint(said: &str) -> String {
    let lines: Vec<&str> =
        said.lines().filter(|line| !line.starts_with('@') && !line.trim().is_empty()).collect();
    if lines.is_empty() { "it printed nothing".to_owned() } else { lines.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = concat!(
        "@endpoint \
        [{\"Endpoint\":\"https://127.0.0.1:2379\",\"Status\":{\"header\":{\"cluster_id\":14841639068965178418},",
        "\"version\":\"3.6.16\",\"dbSize\":2412544,\"leader\":1,\"raftIndex\":999}}]\n",
        "@members \
        {\"header\":{},\"members\":[{\"ID\":1,\"name\":\"c0\",\"peerURLs\":[\"https://10.0.0.1:2380\"]},{\"ID\":2}]}\n",
        "@status {\"hash\":3735928559,\"revision\":871,\"totalKey\":312,\"totalSize\":2412544,\"version\":\"3.6.0\"}\n",
        "@file aabb 2412576\n"
    );

    #[test]
    fn the_output_of_a_controller_is_parsed() {
        let taken = parse(SAID).expect("whole");
        // A member that was added and has never started has no name yet.
        assert_eq!(taken.members, ["c0", ""]);
        assert_eq!(
            (taken.etcd.as_str(), taken.hash, taken.revision, taken.keys),
            ("3.6.16", 3_735_928_559, 871, 312)
        );
        assert_eq!((taken.sha256.as_str(), taken.size), ("aabb", 2_412_576));
    }

    #[test]
    fn incomplete_output_of_a_controller_is_refused() {
        let lines: Vec<&str> = SAID.lines().collect();
        for left_out in 0..lines.len() {
            let mut lines = lines.clone();
            lines.remove(left_out);
            let error = parse(&lines.join("\n")).expect_err("a line is missing");
            assert!(error.starts_with("it did not print @"), "{error}");
        }
        assert_eq!(complaint("@file x\nno room\n\n"), "no room");
    }
}
