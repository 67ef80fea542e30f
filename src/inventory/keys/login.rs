//! The keys that say how to log in.

use super::{KeySection, KnownKey, REQUIRED, ValueKind, key};

const USER: KnownKey = key(
    "user",
    ValueKind::Text,
    "your SSH configuration, then `root`",
    "the login name; commands of any other user become root's with `become`",
);
const PORT: KnownKey =
    key("port", ValueKind::Number(1, 65535), "your SSH configuration, then `22`", "the TCP port");
const IDENTITY: KnownKey = key(
    "identity",
    ValueKind::File,
    "your SSH configuration, then the agent, then `~/.ssh/id_ed25519`, `id_ecdsa`, `id_rsa`",
    "the private key, or the public half of a key that your agent holds; `~/` is your home \
    directory",
);
const HOST: KnownKey = key(
    "host",
    ValueKind::Text,
    "the node's `address`",
    "only in a node: what to connect to instead of its address; counted on in a range, as \
    `address` is",
);
const LOGIN: [KnownKey; 9] = [
    USER,
    PORT,
    IDENTITY,
    key(
        "jump",
        ValueKind::Jumps,
        "your SSH configuration, then none",
        "the machines to go through: `host`, `user@host` or `user@host:port`, several with commas \
        between; `none` on a node that needs none",
    ),
    key(
        "connect_timeout",
        ValueKind::Number(1, 3600),
        "your SSH configuration, then `10`",
        "how many seconds reaching each machine and logging in may take",
    ),
    key(
        "host_keys",
        ValueKind::Choice(&["strict", "accept-new"]),
        "`strict`",
        "whether the key of a machine that nobody knows is accepted and recorded; a key that has \
        changed never is",
    ),
    key(
        "become",
        ValueKind::Choice(&["sudo", "doas"]),
        "`sudo`",
        "what makes commands root's when the login is not",
    ),
    key(
        "become_password_file",
        ValueKind::File,
        "asked for on a terminal",
        "a file whose first line is the password of `sudo`; nobody else may read it",
    ),
    key(
        "become_password_command",
        ValueKind::Text,
        "asked for on a terminal",
        "a command that prints that password, such as `pass show lab/sudo`",
    ),
];

/// In the lab's `ssh`.
pub const SSH: KeySection =
    KeySection { name: "ssh", about: "how to log in, unless a node says otherwise", keys: &LOGIN };
/// In a node's `ssh`: as in the lab's, and where to log in.
pub const NODE_SSH: KeySection = KeySection {
    name: "nodes.ssh",
    about: "how to log in to this node; what it leaves out is as in the inventory's `ssh`",
    keys: &{
        let [user, port, identity, jump, timeout, host_keys, tool, file, command] = LOGIN;
        [user, port, identity, jump, timeout, host_keys, tool, file, command, HOST]
    },
};
/// In an entry of `jump`.
pub const JUMP: KeySection = KeySection {
    name: "jump",
    about: "a machine to go through",
    keys: &[
        key("host", ValueKind::Text, REQUIRED, "its name or address"),
        key("user", ValueKind::Text, "the node's", "the login name"),
        PORT,
        key("identity", ValueKind::File, "the node's", "the private key for this machine"),
    ],
};
