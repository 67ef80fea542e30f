//! Selects the mirror, suite and key for the base image: those that the host's own apt uses.

use std::path::{Path, PathBuf};

/// One package source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// The mirror; `None` for debootstrap's default, when the host's apt has no usable one.
    pub mirror: Option<String>,
    /// The release's code name, such as `bookworm`.
    pub suite: String,
    /// The archive's components, such as `main`.
    pub components: Vec<String>,
    /// The keyring that signs the archive; `None` for debootstrap's default.
    pub keyring: Option<PathBuf>,
}

/// Returns the host's own source.
pub(super) fn of_host() -> Source {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    choose(&release, &apt_files(Path::new("/etc/apt")), &|path| {
        std::fs::read_to_string(path).unwrap_or_default()
    })
}

/// Returns apt's source files with their content, in the order in which apt reads them.
fn apt_files(apt: &Path) -> Vec<(PathBuf, String)> {
    let mut paths = vec![apt.join("sources.list")];
    let mut parts: Vec<PathBuf> = std::fs::read_dir(apt.join("sources.list.d"))
        .map(|found| found.flatten().map(|e| e.path()).collect())
        .unwrap_or_default();
    parts.sort();
    paths.extend(parts);
    paths
        .into_iter()
        .filter_map(|path| std::fs::read_to_string(&path).ok().map(|text| (path, text)))
        .collect()
}

fn choose(release: &str, files: &[(PathBuf, String)], read: &dyn Fn(&Path) -> String) -> Source {
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        Some(line.trim_matches(['"', '\'']).to_owned())
    };
    let suite = value("VERSION_CODENAME").filter(|name| !name.is_empty());
    // Not Debian, or a Debian between releases: use Debian's current release.
    let suite = suite.filter(|_| !files.is_empty()).unwrap_or_else(|| "stable".to_owned());
    let entries = files.iter().flat_map(|(path, text)| {
        if path.extension().is_some_and(|extension| extension == "sources") {
            stanzas(text)
        } else {
            lines(text)
        }
    });
    entries
        .filter(|entry| {
            entry.suites.contains(&suite) && entry.components.iter().any(|part| part == "main")
        })
        .find_map(|entry| {
            Some(Source {
                mirror: Some(entry.uris.iter().find_map(|uri| usable(uri, read))?),
                suite: suite.clone(),
                components: entry.components.iter().filter(|part| wanted(part)).cloned().collect(),
                keyring: entry.keyring,
            })
        })
        .unwrap_or_else(|| Source {
            mirror: None,
            suite: suite.clone(),
            components: vec!["main".into()],
            keyring: None,
        })
}

/// Whether the image needs this component. Ubuntu keeps some of the packages in `universe`.
fn wanted(component: &str) -> bool {
    matches!(component, "main" | "universe")
}

/// Returns a mirror that debootstrap can use; a mirror list is replaced by its first mirror.
fn usable(uri: &str, read: &dyn Fn(&Path) -> String) -> Option<String> {
    if let Some(list) = uri.strip_prefix("mirror+file:") {
        let path = Path::new("/").join(list.trim_start_matches('/'));
        let text = read(&path);
        let first = text
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .find(|uri| !uri.starts_with('#'))?;
        return Some(first.to_owned());
    }
    ["http://", "https://", "file:"]
        .iter()
        .any(|scheme| uri.starts_with(scheme))
        .then(|| uri.to_owned())
}

#[derive(Debug, Default)]
struct SourceEntry {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    keyring: Option<PathBuf>,
}

/// Parses apt's one-line format: `deb [signed-by=KEYS] URI SUITE COMPONENT...`.
fn lines(text: &str) -> Vec<SourceEntry> {
    text.lines()
        .filter_map(|line| {
            let line = line.split('#').next().unwrap_or_default().trim();
            let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
            let (options, rest) = match rest.strip_prefix('[') {
                Some(bracket) => bracket.split_once(']')?,
                None => ("", rest),
            };
            let mut words = rest.split_whitespace().map(str::to_owned);
            Some(SourceEntry {
                uris: vec![words.next()?],
                suites: vec![words.next()?],
                components: words.collect(),
                keyring: options
                    .split_whitespace()
                    .find_map(|option| keyring(option.strip_prefix("signed-by=")?)),
            })
        })
        .collect()
}

/// Parses apt's deb822 format, with one paragraph per entry.
fn stanzas(text: &str) -> Vec<SourceEntry> {
    text.split("\n\n")
        .filter_map(|stanza| {
            let field = |name: &str| -> Vec<String> {
                let mut values = Vec::new();
                let mut inside = false;
                for line in stanza.lines().filter(|line| !line.starts_with('#')) {
                    if line.starts_with([' ', '\t']) {
                        if inside {
                            values.extend(line.split_whitespace().map(str::to_owned));
                        }
                    } else if let Some((key, value)) = line.split_once(':') {
                        inside = key.eq_ignore_ascii_case(name);
                        if inside {
                            values.extend(value.split_whitespace().map(str::to_owned));
                        }
                    }
                }
                values
            };
            let off =
                field("Enabled").first().is_some_and(|value| value.eq_ignore_ascii_case("no"));
            (!off && field("Types").iter().any(|kind| kind == "deb")).then(|| SourceEntry {
                uris: field("URIs"),
                suites: field("Suites"),
                components: field("Components"),
                keyring: field("Signed-By").first().and_then(|value| keyring(value)),
            })
        })
        .collect()
}

/// Returns the keyring file. A key may also be inline in the entry, but debootstrap needs a file.
fn keyring(value: &str) -> Option<PathBuf> {
    value.starts_with('/').then(|| PathBuf::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "ID=debian\nVERSION_CODENAME=bookworm\n";

    fn chosen(name: &str, text: &str) -> Source {
        choose(RELEASE, &[(PathBuf::from(name), text.to_owned())], &|_| {
            "# mirrors\nhttp://m.test/debian/\tpriority:1\n".into()
        })
    }

    #[test]
    fn the_release_is_read_from_paragraphs() {
        let text = "Types: deb\nURIs: http://other.test/tools\nSuites: any\nComponents: main\n\n\
                    Types: deb\n# a comment\nURIs: http://m.test/debian\nSuites: bookworm \
            bookworm-updates\n\
                    Components: main contrib\nSigned-By: /keys/archive.gpg\n";
        let expected = Source {
            mirror: Some("http://m.test/debian".into()),
            suite: "bookworm".into(),
            components: vec!["main".into()],
            keyring: Some("/keys/archive.gpg".into()),
        };
        assert_eq!(chosen("debian.sources", text), expected);
    }

    #[test]
    fn the_release_is_read_from_lines() {
        let text = "# deb http://old.test bookworm main\ndeb http://sec.test bookworm-security \
            main\n\
                    deb-src http://m.test/debian bookworm main\n\
                    deb [arch=amd64 signed-by=/keys/a.gpg] http://m.test/debian bookworm main \
            universe # mine\n";
        let source = chosen("sources.list", text);
        assert_eq!(source.mirror.as_deref(), Some("http://m.test/debian"));
        assert_eq!(source.components, ["main", "universe"]);
        assert_eq!(source.keyring, Some(PathBuf::from("/keys/a.gpg")));
    }

    #[test]
    fn a_mirror_list_is_replaced_by_its_first_mirror() {
        let source = chosen("sources.list", "deb mirror+file:/etc/apt/mirrors.txt bookworm main\n");
        assert_eq!(source.mirror.as_deref(), Some("http://m.test/debian/"));
    }

    #[test]
    fn without_a_usable_mirror_debootstrap_uses_its_default() {
        let source = chosen("sources.list", "deb cdrom:[disc]/ bookworm main\n");
        assert_eq!((source.mirror, source.suite.as_str()), (None, "bookworm"));
        assert_eq!(choose("ID=fedora\n", &[], &|_| String::new()).suite, "stable");
    }

    #[test]
    fn disabled_and_inline_signed_entries() {
        let text = "Types: deb\nEnabled: no\nURIs: http://no.test\nSuites: bookworm\nComponents: \
            main\n\n\
                    Types: deb\nURIs: http://yes.test\nSuites: bookworm\nComponents: \
            main\nSigned-By:\n -----BEGIN\n";
        let source = chosen("a.sources", text);
        assert_eq!((source.mirror.as_deref(), source.keyring), (Some("http://yes.test"), None));
    }
}
