//! Members of a zip, whatever order it was packed in.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use super::{TaskError, note_checksum};

/// Name and bytes of each member with one of these extensions, by name.
///
/// # Errors
/// [`TaskError::File`] if it cannot be read, [`TaskError::Format`] if it is no zip, is damaged or has no such member.
pub(super) fn members(
    path: &Path,
    extensions: &[&str],
    checksums: &mut BTreeMap<String, String>,
) -> Result<Vec<(String, Vec<u8>)>, TaskError> {
    let bytes = std::fs::read(path).map_err(|source| TaskError::File { path: path.to_owned(), source })?;
    note_checksum(checksums, path, &bytes);
    unpacked(bytes, path, extensions)
}

/// The same of what the file at `path` holds.
pub(super) fn unpacked(bytes: Vec<u8>, path: &Path, extensions: &[&str]) -> Result<Vec<(String, Vec<u8>)>, TaskError> {
    let format = |reason: String| TaskError::Format { path: path.to_owned(), reason };
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| format(error.to_string()))?;
    let mut names = archive
        .file_names()
        .map(|name| name.map(std::borrow::Cow::into_owned))
        .collect::<Result<Vec<String>, _>>()
        .map_err(|error| format(error.to_string()))?;
    names.retain(|name| {
        let extension = Path::new(name).extension();
        extension.is_some_and(|extension| extensions.iter().any(|wanted| extension.eq_ignore_ascii_case(wanted)))
    });
    names.sort();
    if names.is_empty() {
        return Err(format(format!("it has no member that ends in .{}", extensions.join(" or ."))));
    }
    let mut members = Vec::with_capacity(names.len());
    for name in names {
        let mut bytes = Vec::new();
        let mut file = archive.by_name(&name).map_err(|error| format(format!("{name}: {error}")))?;
        file.read_to_end(&mut bytes).map_err(|error| format(format!("{name}: {error}")))?;
        members.push((name, bytes));
    }
    Ok(members)
}
