//! Debian, Ubuntu, and what is made of them.

use super::{Family, Os};

/// apt and dpkg.
pub const DEBIAN: Family = Family {
    name: "debian",
    systems: &["debian", "ubuntu"],
    install: "apt-get install -y --no-install-recommends",
    installed: "dpkg-query -W -f='${Status}' {} | grep -q 'ok installed'",
    packages: &[],
    os: Os { nginx_user: "www-data", nginx_modules: "/etc/nginx/modules-enabled/*.conf" },
};
