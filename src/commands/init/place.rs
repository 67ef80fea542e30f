//! Where an inventory goes, and what is there already.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::wanted::Wanted;
use crate::bundle::Bundle;
use crate::cluster::{Version, names};
use crate::commands::exit::Stop;
use crate::inventory::{STDIN, schema};
use crate::lab::LabDirectory;
use crate::module::quote;

/// Where the inventory goes, and what is there already.
pub(super) struct InventoryPlace {
    /// The file.
    pub(super) file: PathBuf,
    /// The lab's name.
    pub(super) name: String,
    /// The version to begin with.
    pub(super) kubernetes: Version,
    /// Whether there is a bundle beside the inventory.
    pub(super) has_bundle: bool,
}

impl InventoryPlace {
    pub(super) fn of(wanted: &Wanted) -> Result<Self, Stop> {
        let file = wanted.to.clone();
        if file != Path::new(STDIN) && file.symlink_metadata().is_ok() {
            return Err(exists(&file));
        }
        let parent = file.parent().filter(|parent| *parent != Path::new(""));
        let directory = parent.unwrap_or(Path::new("."));
        if !directory.is_dir() {
            let what = format!("there is no directory {}", directory.display());
            return Err(Stop::bad(what).help("make it first, or write to another place"));
        }
        let is_name = |name: &&str| names::check_label(name, names::LONGEST_LAB_NAME).is_ok();
        let absolute = std::path::absolute(directory).unwrap_or_default();
        let own = absolute.file_name().and_then(|name| name.to_str()).filter(is_name);
        let name = wanted.name.as_deref().or(own).unwrap_or("lab").to_owned();
        if let Err(wrong) = names::check_label(&name, names::LONGEST_LAB_NAME) {
            return Err(Stop::bad(format!("the lab's name `{name}` {wrong}"))
                .help("lower-case letters, digits and hyphens, such as `--name sandbox`"));
        }
        let bundle = Bundle::open(&directory.join("bundle")).ok();
        let kubernetes = bundle.as_ref().map_or(Version::TESTED, |bundle| bundle.kubernetes);
        Ok(Self { file, name, kubernetes, has_bundle: bundle.is_some() })
    }

    /// Whether the inventory is in another directory than the current one.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.file.parent().is_some_and(|parent| parent != Path::new(""))
    }

    pub(super) fn is_stdout(&self) -> bool {
        self.file == Path::new(STDIN)
    }

    /// The lab directory of the lab that is about to be declared.
    pub(super) fn lab(&self) -> LabDirectory {
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let folder = std::path::absolute(folder.join(".")).unwrap_or_default();
        LabDirectory::new(folder.join(".labctl").join(&self.name))
    }

    /// `labctl VERB`, with the inventory when it is not the one that labctl takes by itself.
    pub(super) fn command(&self, verb: &str) -> String {
        let another = std::env::var_os("LABCTL_INVENTORY").is_some_and(|it| !it.is_empty());
        match self.called() == "inventory.yaml" && !another {
            true => format!("labctl {verb}"),
            false => format!("labctl {verb} {}", quote(&self.called())),
        }
    }

    /// The file as it is named in the inventory's own comments.
    pub(super) fn called(&self) -> String {
        match self.is_stdout() {
            true => "inventory.yaml".to_owned(),
            false => self.file.display().to_string(),
        }
    }

    pub(super) fn width(&self) -> usize {
        self.command("validate").chars().count()
    }

    /// Writes the schema beside the file, where editors find it; one that is there stays.
    pub(super) fn write_schema(&self) -> Result<(), Stop> {
        let path = self.file.with_file_name(schema::FILE_NAME);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => file.write_all(schema::text().as_bytes()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
        .map_err(|error| Stop::failed(format!("cannot write {}: {error}", path.display())))
    }

    /// Writes the file, unless it is there.
    pub(super) fn write(&self, text: &str) -> Result<(), Stop> {
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&self.file)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(&self.file),
            _ => Stop::failed(format!("cannot write {}: {error}", self.file.display())),
        })
    }
}

/// The line that names the schema for editors.
pub(super) fn schema_line() -> String {
    format!("# yaml-language-server: $schema={}\n", schema::FILE_NAME)
}

fn exists(file: &Path) -> Stop {
    Stop::bad(format!("{} exists already, and `init` overwrites nothing", file.display()))
        .help("`--to OTHER.yaml` writes another file, `--to -` prints the inventory")
}
