//! Renders templates: combines a template with the variables of a node into the text of a file.
//!
//! This is the only module that uses tera. The standard templates are compiled in ([`standard`]),
//! each component's in its own directory; files of the same name in the user's directory replace
//! them. A [`Renderer`] parses all templates when it is created, so that a typo in any of them ends
//! a run before it has touched a node. An undefined variable is an error, never an empty string.
//! Nothing is escaped for HTML, because the output is units and YAML.
//!
//! A line that contains only a tag (`{% if .. %}`, `{# .. #}`) leaves no line in the file; see
//! `lines`.

mod command;
pub mod context;
mod filters;
mod lines;
mod merge;
pub mod standard;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tera::{ErrorKind, Tera};
use thiserror::Error;

pub use context::{Artefacts, Context};

/// The suffix of template files on disk; a template's name is the file name without it.
const SUFFIX: &str = ".tera";

/// All templates, parsed.
#[derive(Clone)]
pub struct Renderer {
    tera: Tera,
    /// Where each template comes from, for messages.
    origins: BTreeMap<String, String>,
    /// The directory of the user's templates, and the names of the templates in it.
    own: Option<(PathBuf, BTreeSet<String>)>,
    /// The names of the standard templates that the user has not changed.
    standard: BTreeSet<String>,
}

/// Errors in templates.
#[derive(Debug, Error)]
pub enum RenderError {
    /// The directory of the user's templates, or a file in it, cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The directory or file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A directory without any template that is used: most likely the wrong one.
    #[error("{}: no template in this directory replaces a standard one{}", folder.display(),
        meant.as_ref().map(|meant| format!("; did you mean \
            {}?", meant.display())).unwrap_or_default())]
    NoneOfOurs {
        /// The directory.
        folder: PathBuf,
        /// A nearby directory that has some.
        meant: Option<PathBuf>,
    },
    /// Both `etcd.service` and `etcd.service.tera` exist.
    #[error("{first} and {second} are both the template `{name}`: remove one of them")]
    Twice {
        /// The name of the template.
        name: String,
        /// One file.
        first: String,
        /// The other file.
        second: String,
    },
    /// A file has the name of a standard template but is not in its directory, so that it would
    /// have no effect.
    #[error("{file} replaces no template: labctl uses {}; move the file \
        there, or rename it", expected.display())]
    Misplaced {
        /// The file.
        file: String,
        /// Where it should be.
        expected: PathBuf,
    },
    /// An error in a template, found when it was parsed or rendered.
    #[error("{place}: {message}")]
    Template {
        /// `FILE:LINE:COLUMN`, or the text itself if it is in a playbook.
        place: String,
        /// What is wrong, followed by the offending line and a caret if they are known.
        message: String,
    },
    /// A playbook uses a template that does not exist.
    #[error("there is no template \
        `{name}`{}", nearest.as_ref().map(|n| format!("; did you mean \
        `{n}`?")).unwrap_or_default())]
    Unknown {
        /// The requested name.
        name: String,
        /// The most similar name that exists.
        nearest: Option<String>,
    },
    /// A `when:` is neither true nor false.
    #[error("`{expression}` is not a condition: expected true or false, got `{value}`")]
    NotCondition {
        /// The expression.
        expression: String,
        /// Its value.
        value: String,
    },
}

impl Renderer {
    /// Parses the standard templates and those in `overrides`, which replace standard ones of the
    /// same name.
    ///
    /// # Errors
    /// If the directory cannot be read, or a template has an error; the error contains file and
    /// line.
    pub fn new(overrides: Option<&Path>) -> Result<Self, RenderError> {
        let mut sources: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (name, text) in standard::TEMPLATES {
            sources.insert(
                (*name).to_owned(),
                (format!("templates/{name}{SUFFIX}"), (*text).to_owned()),
            );
        }
        let mut own = None;
        let mut standard: BTreeSet<String> = sources.keys().cloned().collect();
        if let Some(directory) = overrides {
            let found = read_directory(directory)?;
            refuse_misplaced(directory, &found, &sources)?;
            let is_as_ours = |name: &String| match (found.get(name), sources.get(name)) {
                (Some((_, own)), Some((_, ours))) => own == ours,
                (own, _) => own.is_none(),
            };
            standard.retain(is_as_ours);
            own = Some((directory.to_owned(), found.keys().cloned().collect()));
            sources.extend(found);
        }
        let origins =
            sources.iter().map(|(name, (origin, _))| (name.clone(), origin.clone())).collect();
        let mut tera = Tera::new();
        filters::register(&mut tera);
        tera.autoescape_on(Vec::<&str>::new());
        let parsed = tera.add_raw_templates(
            sources.iter().map(|(name, (_, text))| (name, lines::standalone_tags(text))),
        );
        let renderer = Self { tera, origins, own, standard };
        match parsed {
            Ok(()) => Ok(renderer),
            Err(error) => Err(renderer.explain(&error, None)),
        }
    }

    /// Returns the names of all templates, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.origins.keys().map(String::as_str)
    }

    /// Refuses a directory of templates in which no file replaces a standard template and none is
    /// in `used`.
    ///
    /// # Errors
    /// Returns the error with the directory that was probably meant.
    pub fn check_folder<'a>(
        &self,
        used: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), RenderError> {
        let Some((folder, own)) = &self.own else { return Ok(()) };
        let ours = |own: &BTreeSet<String>| {
            standard::TEMPLATES.iter().any(|(name, _)| own.contains(*name))
        };
        // A name that is computed per node could be any of them.
        if ours(own)
            || used
                .into_iter()
                .any(|name| own.contains(name) || name.contains("{{") && !own.is_empty())
        {
            return Ok(());
        }
        let near = [folder.join("templates"), folder.with_file_name("templates")];
        let has_ours = |folder: &PathBuf| {
            read_directory(folder).is_ok_and(|found| ours(&found.into_keys().collect()))
        };
        Err(RenderError::NoneOfOurs {
            folder: folder.clone(),
            meant: near.into_iter().find(has_ours),
        })
    }

    /// Renders the template called `name`.
    ///
    /// # Errors
    /// If there is no such template, or it uses a variable that the context does not have.
    pub fn render(&self, name: &str, context: &Context) -> Result<String, RenderError> {
        if !self.origins.contains_key(name) {
            return Err(RenderError::Unknown {
                name: name.to_owned(),
                nearest: self.nearest(name),
            });
        }
        self.tera.render(name, context.variables()).map_err(|error| self.explain(&error, None))
    }

    /// Returns the origins of files from standard templates that the user has not changed.
    pub fn standard(&self) -> BTreeSet<String> {
        self.standard.iter().map(|name| format!("templates/{name}{SUFFIX}")).collect()
    }

    /// Renders a text from a playbook, such as `pki/nodes/{{ node.name }}/kubelet.crt`.
    ///
    /// # Errors
    /// If the text has an error or uses a variable that the context does not have.
    pub fn text(&self, text: &str, context: &Context) -> Result<String, RenderError> {
        // Most strings of a playbook are plain, and a large lab has thousands of them.
        if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
            return Ok(text.to_owned());
        }
        self.tera
            .render_str(text, context.variables(), false)
            .map_err(|error| self.explain(&error, Some(text)))
    }

    /// Evaluates a `when:`.
    ///
    /// # Errors
    /// If the expression has an error, uses a variable that the context does not have, or is
    /// neither true nor false.
    pub fn condition(&self, expression: &str, context: &Context) -> Result<bool, RenderError> {
        let text = format!("{{{{ {expression} }}}}");
        let value = self.tera.render_str(&text, context.variables(), false);
        match value.map_err(|error| self.explain(&error, Some(expression)))?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(RenderError::NotCondition {
                expression: expression.to_owned(),
                value: other.to_owned(),
            }),
        }
    }

    /// Returns the template name that is most similar to `name`, if any is.
    fn nearest(&self, name: &str) -> Option<String> {
        let likeness = |known: &&String| (strsim::jaro_winkler(known, name) * 1000.0) as u32;
        self.origins.keys().max_by_key(likeness).filter(|known| likeness(known) > 800).cloned()
    }

    /// Converts tera's error: the place first, then what is wrong, then tera's excerpt with the
    /// caret.
    fn explain(&self, error: &tera::Error, inline: Option<&str>) -> RenderError {
        let (ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report)) = error.kind()
        else {
            // Errors like unknown filters are plain text that contains the place.
            let message = error.to_string();
            let message = decapitalize(message.strip_prefix("error: ").unwrap_or(&message));
            let place = inline.map_or_else(|| "templates".to_owned(), |text| format!("`{text}`"));
            return RenderError::Template { place, message };
        };
        let drawn = error.to_string();
        let snippet: Vec<&str> = drawn
            .lines()
            .skip_while(|line| !line.trim_start().starts_with("-->"))
            .skip(1)
            .collect();
        let (place, snippet) = match inline {
            Some(text) => (format!("`{text}`"), String::new()),
            None => {
                let origin =
                    self.origins.get(report.filename()).map_or(report.filename(), String::as_str);
                let (line, column) = (report.span().start_line, report.span().start_col + 1);
                (format!("{origin}:{line}:{column}"), format!("\n{}", snippet.join("\n")))
            }
        };
        RenderError::Template {
            place,
            message: format!("{}{snippet}", decapitalize(report.message())),
        }
    }
}

impl std::fmt::Debug for Renderer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renderer").field("templates", &self.origins).finish_non_exhaustive()
    }
}

/// Reads the user's templates: name, then path and text.
fn read_directory(directory: &Path) -> Result<BTreeMap<String, (String, String)>, RenderError> {
    let mut found = BTreeMap::new();
    read_below(directory, "", &mut found)?;
    Ok(found)
}

fn read_below(
    directory: &Path,
    prefix: &str,
    found: &mut BTreeMap<String, (String, String)>,
) -> Result<(), RenderError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| RenderError::Read { path, source }
    };
    for entry in fs::read_dir(directory).map_err(unreadable(directory))? {
        let path = entry.map_err(unreadable(directory))?.path();
        let Some(file) = path.file_name().and_then(|file| file.to_str()) else { continue };
        // Skip leftovers of editors.
        if file.starts_with('.') || file.ends_with('~') {
            continue;
        }
        if path.is_dir() {
            read_below(&path, &format!("{prefix}{file}/"), found)?;
            continue;
        }
        if !path.is_file() {
            continue;
        }
        let name = format!("{prefix}{}", file.strip_suffix(SUFFIX).unwrap_or(file));
        let text = fs::read_to_string(&path).map_err(unreadable(&path))?;
        let origin = path.display().to_string();
        if let Some((other, _)) = found.insert(name.clone(), (origin.clone(), text)) {
            let (first, second) = if other < origin { (other, origin) } else { (origin, other) };
            return Err(RenderError::Twice { name, first, second });
        }
    }
    Ok(())
}

/// Refuses a file that has the name of a standard template but is not in that template's directory,
/// because its author expects it to be used.
fn refuse_misplaced(
    directory: &Path,
    own: &BTreeMap<String, (String, String)>,
    standard: &BTreeMap<String, (String, String)>,
) -> Result<(), RenderError> {
    for (name, (file, _)) in own.iter().filter(|(name, _)| !name.contains('/')) {
        let meant = |known: &&String| known.rsplit_once('/').is_some_and(|(_, last)| last == name);
        if let Some(known) = standard.keys().find(meant) {
            let expected = directory.join(format!("{known}{SUFFIX}"));
            return Err(RenderError::Misplaced { file: file.clone(), expected });
        }
    }
    Ok(())
}

/// Lower-cases the first letter: our messages begin lower-case, tera's do not.
fn decapitalize(message: &str) -> String {
    let mut letters = message.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
