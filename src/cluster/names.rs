//! Checks names of nodes, domains and labels by the rules of Kubernetes.
//!
//! The rules are those of apimachinery's `pkg/util/validation`. Each error is the rest of a
//! sentence that begins with the name.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

/// Maximum length of the name of a lab, in characters: it becomes part of host names, paths and
/// contexts.
pub const LONGEST_LAB_NAME: usize = 40;

/// Checks a DNS label (RFC 1123), for names of labs and nodes.
///
/// # Errors
/// Returns what is wrong, to follow the name: `must begin with a letter or a digit`.
pub fn check_label(name: &str, longest: usize) -> Result<(), String> {
    if name.is_empty() {
        return Err("is empty".to_owned());
    }
    if name.len() > longest {
        return Err(format!("is longer than {longest} characters"));
    }
    if let Some(wrong) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
        return Err(format!("has {}, and may have only a-z, 0-9 and -", show(wrong)));
    }
    if name.starts_with('-') || name.ends_with('-') {
        return Err("must begin and end with a letter or a digit".to_owned());
    }
    Ok(())
}

/// Checks a DNS name: labels separated by dots, at most 253 characters (RFC 1123 subdomain).
///
/// # Errors
/// Returns what is wrong, to follow the name.
pub fn check_domain(name: &str) -> Result<(), String> {
    if name.len() > 253 {
        return Err("is longer than 253 characters".to_owned());
    }
    if name.is_empty() {
        return Err("is empty".to_owned());
    }
    name.split('.').try_for_each(|label| match check_label(label, 63) {
        Err(_) if label.is_empty() => Err("has a dot too many".to_owned()),
        other => other,
    })
}

/// Checks the key of a label: `disk` or `example.org/disk`.
///
/// # Errors
/// Returns what is wrong, to follow the key.
pub fn check_label_key(key: &str) -> Result<(), String> {
    let name = match key.split_once('/') {
        None => key,
        Some((prefix, name)) => {
            check_domain(prefix).map_err(|wrong| format!("has a prefix that {wrong}"))?;
            name
        }
    };
    if name.is_empty() {
        return Err("is empty".to_owned());
    }
    check_label_value(name)
}

/// Checks the value of a label.
///
/// # Errors
/// Returns what is wrong, to follow the value.
pub fn check_label_value(value: &str) -> Result<(), String> {
    if value.len() > 63 {
        return Err("is longer than 63 characters".to_owned());
    }
    if let Some(wrong) =
        value.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
    {
        return Err(format!("has {}, and may have only letters, digits, -, _ and .", show(wrong)));
    }
    let edge = |c: char| !c.is_ascii_alphanumeric();
    if value.starts_with(edge) || value.ends_with(edge) {
        return Err("must begin and end with a letter or a digit".to_owned());
    }
    Ok(())
}

/// Returns a host as a URL has it: an IPv6 address in brackets.
pub fn in_url(host: &str) -> Cow<'_, str> {
    match host.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{host}]").into(),
        Err(_) => host.into(),
    }
}

/// Checks a host to connect to: an address or a host name.
///
/// # Errors
/// Returns what is wrong, to follow the host.
pub fn check_host(host: &str) -> Result<(), String> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    if let Some(wrong) = wrong_address(host) {
        return Err(wrong.to_owned());
    }
    // Host names in private networks may have capitals and underscores.
    check_domain(&host.to_lowercase().replace('_', "-"))
}

/// Whether `text` was meant to be an IPv4 address: digits and dots only.
pub fn looks_like_an_address(text: &str) -> bool {
    text.contains('.') && text.chars().all(|c| c.is_ascii_digit() || c == '.')
}

/// Returns what is wrong with text that was meant to be an address and is none; `None` for text
/// that was not.
pub fn wrong_address(text: &str) -> Option<&'static str> {
    if looks_like_an_address(text) {
        Some("is not an IPv4 address")
    } else if text.starts_with('[') {
        Some("has brackets, which an IPv6 address has in URLs only")
    } else if text.matches(':').count() > 1 {
        Some("is not an IPv6 address")
    } else {
        None
    }
}

fn show(c: char) -> String {
    match c {
        ' ' => "a space".to_owned(),
        '.' => "a dot".to_owned(),
        c if c.is_ascii_uppercase() => "capital letters".to_owned(),
        c if c.is_control() => format!("the character U+{:04X}", u32::from(c)),
        c => format!("`{c}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_lower_case_letters_digits_and_hyphens() {
        for good in ["a", "lb-0", "0", "a--b", &"x".repeat(63)] {
            assert_eq!(check_label(good, 63), Ok(()), "{good}");
        }
        let wrong = |name: &str| check_label(name, 63).unwrap_err();
        assert_eq!(wrong(""), "is empty");
        assert_eq!(wrong(&"x".repeat(64)), "is longer than 63 characters");
        assert_eq!(wrong("Worker"), "has capital letters, and may have only a-z, 0-9 and -");
        assert_eq!(wrong("worker_0"), "has `_`, and may have only a-z, 0-9 and -");
        assert_eq!(wrong("a.b"), "has a dot, and may have only a-z, 0-9 and -");
        assert_eq!(wrong("-a"), "must begin and end with a letter or a digit");
    }

    #[test]
    fn domains_are_labels_with_dots() {
        assert_eq!(check_domain("cluster.local"), Ok(()));
        assert_eq!(check_domain("cluster..local").unwrap_err(), "has a dot too many");
        assert_eq!(check_domain("cluster.local.").unwrap_err(), "has a dot too many");
        assert!(check_domain("").is_err());
    }

    #[test]
    fn label_keys_may_have_a_prefix_and_values_may_be_empty() {
        assert_eq!(check_label_key("example.org/Disk_1.x"), Ok(()));
        assert_eq!(check_label_value(""), Ok(()));
        assert_eq!(check_label_key("example.org/").unwrap_err(), "is empty");
        assert!(check_label_key("/disk").unwrap_err().starts_with("has a prefix that is empty"));
        assert!(check_label_key("a/b/c").unwrap_err().starts_with("has `/`"));
        assert!(check_label_value("-ssd").is_err());
    }

    #[test]
    fn hosts_are_addresses_or_names() {
        for good in ["10.0.0.1", "bastion.example.org", "Bastion", "my_host", "fd00::1"] {
            assert_eq!(check_host(good), Ok(()), "{good}");
        }
        for bad in ["fd00::1::2", "[fd00::1]", "10.0.0.256", "10.0.0", "a b", ""] {
            assert!(check_host(bad).is_err(), "{bad}");
        }
    }
}
