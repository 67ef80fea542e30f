//! A `tar.gz` in memory, the same bytes for the same files.

use std::io;
use std::path::Path;

use flate2::{Compression, GzBuilder};

/// Packs files: the path in the archive, the mode, the content.
///
/// # Errors
/// If a path cannot be in an archive.
pub(super) fn packed<'a>(
    files: impl IntoIterator<Item = (&'a Path, u32, &'a [u8])>,
) -> io::Result<Vec<u8>> {
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut archive = tar::Builder::new(gzip);
    for (path, mode, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        archive.append_data(&mut header, path, content)?;
    }
    archive.into_inner()?.finish()
}
