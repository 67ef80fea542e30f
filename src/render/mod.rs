//! Templates: turns a template and what is known of a node into the text of a file.
//!
//! This is the only module that names tera. The standard templates are compiled in ([`standard`]),
//! each component's in a directory of its own; files of the same name in a directory of the user's
//! take their place. All of them are parsed when a [`Renderer`] is made, so a typing mistake in any
//! template ends a run before it has touched a node. A variable that does not exist is an error,
//! never an empty string. Nothing is escaped for HTML: what is written is units and YAML.
//!
//! A line that holds nothing but a tag (`{% if .. %}`, `{# .. #}`) leaves no trace in the file; see
//! `lines`.

pub mod context;
mod filters;
mod lines;
pub mod standard;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tera::{ErrorKind, Tera};
use thiserror::Error;

pub use context::{Artefacts, Context};

/// The suffix that template files have on disk; a template's name is the file's name without it.
const SUFFIX: &str = ".tera";

/// Every template, parsed.
#[derive(Clone)]
pub struct Renderer {
    tera: Tera,
    /// Where each template came from, as messages name it.
    origins: BTreeMap<String, String>,
    /// The folder of the user's templates, and what it has.
    own: Option<(PathBuf, BTreeSet<String>)>,
}

/// What can be wrong with a template.
#[derive(Debug, Error)]
pub enum RenderError {
    /// The folder of the user's templates, or a file in it, cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A directory without a single template that anything asks for: the wrong one, most likely.
    #[error("{}: no template in this directory takes the place of a standard \
        one{}", folder.display(),
        meant.as_ref().map(|meant| format!("; did you mean \
            {}?", meant.display())).unwrap_or_default())]
    NoneOfOurs {
        /// The folder.
        folder: PathBuf,
        /// One near it that has some.
        meant: Option<PathBuf>,
    },
    /// `etcd.service` and `etcd.service.tera` side by side.
    #[error("{first} and {second} are both the template `{name}`: remove one of them")]
    Twice {
        /// The template that has two files.
        name: String,
        /// One file.
        first: String,
        /// The other.
        second: String,
    },
    /// A file that looks like a standard template and is not in its directory, so that it would
    /// change nothing.
    #[error("{file} takes no template's place: the one that labctl uses is {}; move the file \
        there, or rename it", expected.display())]
    Misplaced {
        /// The file.
        file: String,
        /// Where it would have to be.
        expected: PathBuf,
    },
    /// A mistake in a template, found when it was parsed or rendered.
    #[error("{place}: {message}")]
    Template {
        /// `FILE:LINE:COLUMN`, or the text itself when it stands in a playbook.
        place: String,
        /// What is wrong; the offending line and a caret below it follow on lines of their own
        /// where they are known.
        message: String,
    },
    /// A playbook asks for a template that is not there.
    #[error("there is no template \
        `{name}`{}", nearest.as_ref().map(|n| format!("; did you mean \
        `{n}`?")).unwrap_or_default())]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The known name that looks most like it.
        nearest: Option<String>,
    },
    /// A `when:` that is neither true nor false.
    #[error("`{expression}` is not a condition: it is `{value}`, where true or false is needed")]
    NotCondition {
        /// The expression.
        expression: String,
        /// What it came to.
        value: String,
    },
}

impl Renderer {
    /// Parses the standard templates and those in `overrides`, which replace the standard ones of
    /// the same name.
    ///
    /// # Errors
    /// When the folder cannot be read, or a template has a mistake; then file and line are named.
    pub fn new(overrides: Option<&Path>) -> Result<Self, RenderError> {
        let mut sources: BTreeMap<String, (String, String)> = BTreeMap::new();
        for (name, text) in standard::TEMPLATES {
            sources.insert(
                (*name).to_owned(),
                (format!("templates/{name}{SUFFIX}"), (*text).to_owned()),
            );
        }
        let mut own = None;
        if let Some(directory) = overrides {
            let found = read_directory(directory)?;
            refuse_misplaced(directory, &found, &sources)?;
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
        let renderer = Self { tera, origins, own };
        match parsed {
            Ok(()) => Ok(renderer),
            Err(error) => Err(renderer.explain(&error, None)),
        }
    }

    /// The names of all templates, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.origins.keys().map(String::as_str)
    }

    /// Refuses a folder of templates in which nothing takes the place of a standard one and nothing
    /// is `used` either.
    ///
    /// # Errors
    /// With the folder that was probably meant.
    pub fn check_folder<'a>(
        &self,
        used: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), RenderError> {
        let Some((folder, own)) = &self.own else { return Ok(()) };
        let ours = |own: &BTreeSet<String>| {
            standard::TEMPLATES.iter().any(|(name, _)| own.contains(*name))
        };
        // A name that is worked out for each node may be any.
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
    /// When there is no such template, or it uses what the context does not have.
    pub fn render(&self, name: &str, context: &Context) -> Result<String, RenderError> {
        if !self.origins.contains_key(name) {
            return Err(RenderError::Unknown {
                name: name.to_owned(),
                nearest: self.nearest(name),
            });
        }
        self.tera.render(name, context.variables()).map_err(|error| self.explain(&error, None))
    }

    /// Renders a text that stands in a playbook: `pki/nodes/{{ node.name }}/kubelet.crt`.
    ///
    /// # Errors
    /// When the text has a mistake, or uses what the context does not have.
    pub fn text(&self, text: &str, context: &Context) -> Result<String, RenderError> {
        // Most strings of a playbook are plain, and there are thousands of them in a large lab.
        if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
            return Ok(text.to_owned());
        }
        self.tera
            .render_str(text, context.variables(), false)
            .map_err(|error| self.explain(&error, Some(text)))
    }

    /// Works out a `when:`.
    ///
    /// # Errors
    /// When the expression has a mistake, uses what the context does not have, or is neither true
    /// nor false.
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

    /// The template whose name looks most like `name`, when one does.
    fn nearest(&self, name: &str) -> Option<String> {
        let likeness = |known: &&String| (strsim::jaro_winkler(known, name) * 1000.0) as u32;
        self.origins.keys().max_by_key(likeness).filter(|known| likeness(known) > 800).cloned()
    }

    /// tera's error in our words: the place first, then what is wrong, then the line and the caret
    /// that tera drew.
    fn explain(&self, error: &tera::Error, inline: Option<&str>) -> RenderError {
        let (ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report)) = error.kind()
        else {
            // Unknown filters and the like arrive as text with the place inside.
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

/// The user's templates: name, then where it is and its text.
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
        // An editor's leftovers are not templates.
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

/// Refuses a file that is called as a standard template and is not in that one's directory: whoever
/// wrote it expects it to be used.
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

/// Our messages begin lower-case; tera's do not.
fn decapitalize(message: &str) -> String {
    let mut letters = message.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
