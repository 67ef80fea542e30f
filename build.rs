//! Generates the lists of compiled-in files: every file of `playbooks/` and `templates/`, so that a
//! new one needs no change in Rust.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(
        env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the crate's directory"),
    );
    let out = PathBuf::from(
        env::var_os("OUT_DIR").expect("cargo names a directory for what is generated"),
    );
    for (directory, suffix) in [("playbooks", ".yaml"), ("templates", ".tera")] {
        println!("cargo::rerun-if-changed={directory}");
        let mut files = Vec::new();
        find(&root.join(directory), "", suffix, &mut files)?;
        files.sort();
        let mut list = String::from("&[\n");
        // Below the crate that is compiled, which need not be the one that this ran for: checkouts
        // can share what cargo has built.
        for name in files {
            let path = format!("/{directory}/{name}{suffix}");
            let file = format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), {path:?})");
            let _ = writeln!(list, "    ({name:?}, include_str!({file})),");
        }
        list.push_str("]\n");
        fs::write(out.join(format!("{directory}.rs")), list)?;
    }
    Ok(())
}

/// Adds the name, without `suffix`, of every file below `directory` that ends in `suffix`.
fn find(directory: &Path, prefix: &str, suffix: &str, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if path.is_dir() {
            find(&path, &format!("{prefix}{name}/"), suffix, files)?;
        } else if let Some(name) = name.strip_suffix(suffix).filter(|name| !name.starts_with('.')) {
            files.push(format!("{prefix}{name}"));
        }
    }
    Ok(())
}
