//! The contents of the base image as data: packages, files and units.
//!
//! A node must look like a plain Debian machine on which someone installed Kubernetes, boot in a
//! fraction of a second, and leave the host's kernel settings alone.

/// Packages in addition to `minbase` (a shell, coreutils, tar, apt).
pub(super) const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "sudo",
    "ca-certificates",
    "iproute2",
    "iptables",
    "nftables",
    "conntrack",
    "curl",
    "ipset",
    "socat",
    "kmod",
    "procps",
    "mount",
    "util-linux",
    "zstd",
    "libseccomp2",
    "nginx-light",
    "libnginx-mod-stream",
];

/// Files as path in the image and content. All have mode 0644.
pub(super) const FILES: &[(&str, &str)] = &[
    // Each node gets its own before it boots; this must not be the host's.
    ("etc/hostname", "localhost\n"),
    ("etc/resolv.conf", ""),
    ("etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"),
    ("etc/fstab", ""),
    ("etc/motd", ""),
    // Every login reads this file.
    ("etc/default/locale", "LANG=C.UTF-8\n"),
    (
        "etc/ssh/sshd_config.d/labctl.conf",
        "HostKey /etc/ssh/ssh_host_ed25519_key\n\
         PermitRootLogin prohibit-password\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         UseDNS no\n\
         MaxSessions 100\n\
         MaxStartups 100\n",
    ),
    // Debian checks sshd's configuration before every start, which doubles the time until it
    // answers.
    ("etc/systemd/system/ssh.service.d/labctl.conf", "[Service]\nExecStartPre=\n"),
    (
        "etc/systemd/journald.conf.d/labctl.conf",
        // The kernel log and audit messages belong to the host.
        "[Journal]\nStorage=volatile\nRuntimeMaxUse=64M\nReadKMsg=no\nAudit=no\n",
    ),
    // A pod's shim that holds a mount must not delay a reboot for the default 90 seconds.
    ("etc/systemd/system.conf.d/labctl.conf", "[Manager]\nDefaultTimeoutStopSec=15s\n"),
    (
        "etc/systemd/system/labctl-cgroups.service",
        // systemd-nspawn mounts version 1 hierarchies read-only. They belong to the node, so
        // kubelet and the container runtime may write to them. `remount,rw` without `bind` would
        // change the host's mount, and fails with "busy".
        "[Unit]\n\
         Description=Make the node's control groups writable\n\
         DefaultDependencies=no\n\
         Before=sysinit.target\n\
         ConditionPathExists=!/sys/fs/cgroup/cgroup.controllers\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         RemainAfterExit=yes\n\
         ExecStart=/bin/sh -c 'for cgroup in /sys/fs/cgroup/*/; do mount -o remount,bind,rw \
        \"$$cgroup\" || :; done'\n",
    ),
];

/// Symbolic links as path in the image and target.
pub(super) const LINKS: &[(&str, &str)] = &[
    ("etc/systemd/system/default.target", "/lib/systemd/system/multi-user.target"),
    (
        "etc/systemd/system/sysinit.target.wants/labctl-cgroups.service",
        "/etc/systemd/system/labctl-cgroups.service",
    ),
    ("etc/systemd/system/multi-user.target.wants/ssh.service", "/lib/systemd/system/ssh.service"),
];

/// Units that a node does not need: consoles, the host's file systems and modules, timers that
/// access the network.
pub(super) const MASKED: &[&str] = &[
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dev-hugepages.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty@.service",
    "modprobe@.service",
    "motd-news.timer",
    "proc-sys-fs-binfmt_misc.automount",
    "ssh.socket",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-journal-flush.service",
    "systemd-journald-audit.socket",
    "systemd-logind.service",
    "systemd-modules-load.service",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-pstore.service",
    "systemd-remount-fs.service",
    "systemd-resolved.service",
    "systemd-sysusers.service",
    "systemd-timesyncd.service",
    "systemd-udevd.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
];

/// What packages leave behind that a node must not have or that only makes the image larger.
pub(super) const REMOVED: &[&str] = &[
    // Installed for the load balancer; its playbook starts it.
    "etc/systemd/system/multi-user.target.wants/nginx.service",
    "etc/nginx/sites-enabled/default",
    // Every node has its own.
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "etc/ssh/ssh_host_ecdsa_key",
    "etc/ssh/ssh_host_ecdsa_key.pub",
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/ssh/ssh_host_rsa_key",
    "etc/ssh/ssh_host_rsa_key.pub",
    "var/cache/apt/archives",
    "var/lib/apt/lists",
    "var/log/bootstrap.log",
];

/// Where packages keep kernel settings. Most of these settings are global to the kernel, so booting
/// a node would change the host.
pub(super) const SYSCTL_FOLDERS: &[&str] = &["usr/lib/sysctl.d", "lib/sysctl.d", "etc/sysctl.d"];
