//! IDX, the format of MNIST: a magic number, sizes, bytes. Plain or gzipped.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;

use super::TaskError;

/// Images of one size.
pub(super) struct Images {
    /// Rows of pixels.
    pub(super) height: usize,
    /// Columns of pixels.
    pub(super) width: usize,
    /// `height · width` bytes each.
    pub(super) pixels: Vec<u8>,
}

/// Bytes of a file, unpacked if they are gzip.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TaskError> {
    let file = |source| TaskError::File { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(file)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut unpacked = Vec::new();
    GzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).map_err(file)?;
    Ok(unpacked)
}

/// Images from IDX bytes.
///
/// # Errors
/// [`TaskError::Format`] if the magic number or the length is wrong.
pub(super) fn images(bytes: &[u8], path: &Path) -> Result<Images, TaskError> {
    let format = |reason: String| TaskError::Format { path: path.to_owned(), reason };
    let word = |place: usize| {
        let four = bytes.get(4 * place..4 * place + 4)?;
        Some(u32::from_be_bytes(four.try_into().ok()?) as usize)
    };
    let (Some(0x0803), Some(count), Some(height), Some(width)) = (word(0), word(1), word(2), word(3)) else {
        return Err(format("not an IDX file of images: it does not start with 00 00 08 03 and three sizes".to_owned()));
    };
    let needs = count.checked_mul(height).and_then(|rows| rows.checked_mul(width));
    let body = &bytes[16..];
    if needs != Some(body.len()) {
        return Err(format(format!("{count} images of {height}×{width} do not fill {} bytes: truncated?", body.len())));
    }
    Ok(Images { height, width, pixels: body.to_vec() })
}

/// Labels from IDX bytes, one byte each.
///
/// # Errors
/// [`TaskError::Format`] if the magic number or the length is wrong.
pub(super) fn labels<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a [u8], TaskError> {
    let format = |reason: String| TaskError::Format { path: path.to_owned(), reason };
    let Some((&[0, 0, 8, 1, a, b, c, d], body)) = bytes.split_first_chunk() else {
        return Err(format("not an IDX file of labels: it does not start with 00 00 08 01 and a size".to_owned()));
    };
    let count = u32::from_be_bytes([a, b, c, d]) as usize;
    if count != body.len() {
        return Err(format(format!("{count} labels do not fill {} bytes: truncated?", body.len())));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(count: u32, body: &[u8]) -> Vec<u8> {
        let header = [0x0803u32, count, 2, 2];
        header.iter().flat_map(|word| word.to_be_bytes()).chain(body.iter().copied()).collect()
    }

    #[test]
    fn images_are_read_in_order() {
        let read = images(&file(2, &[1, 2, 3, 4, 5, 6, 7, 8]), Path::new("x")).unwrap();

        assert_eq!((read.height, read.width, read.pixels), (2, 2, vec![1, 2, 3, 4, 5, 6, 7, 8]));
    }

    #[test]
    fn truncated_and_foreign_files_are_refused() {
        assert!(images(&file(2, &[1, 2, 3]), Path::new("x")).is_err());
        assert!(images(b"\x00\x00\x08\x01", Path::new("x")).is_err());
        assert!(images(b"", Path::new("x")).is_err());
        assert!(labels(&file(2, &[1]), Path::new("x")).is_err());
        assert!(labels(&[0, 0, 8, 1, 0, 0, 0, 2, 7], Path::new("x")).is_err());
    }

    #[test]
    fn labels_are_read_in_order() {
        assert_eq!(labels(&[0, 0, 8, 1, 0, 0, 0, 2, 7, 3], Path::new("x")).unwrap(), [7, 3]);
    }
}
