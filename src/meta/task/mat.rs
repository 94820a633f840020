//! MATLAB's level 5 MAT-files, as far as data sets use them: numeric arrays by name, compressed or not.
//!
//! The format is that of `MathWorks`' "MAT-File Format": a header of 128 bytes, then elements, each a tag (type and length)
//! and its bytes, padded to eight. Numbers of an array may be stored in a smaller type than its own. Little-endian files
//! only, which all are that were written in the last decades; nothing here trusts a length that the file does not have.

use std::io::Read;
use std::path::Path;

use flate2::read::ZlibDecoder;

use super::TaskError;

/// A numeric array, first dimension fastest.
pub(super) struct Array {
    /// Its name.
    pub(super) name: String,
    /// Its sizes.
    pub(super) sizes: Vec<usize>,
    /// Its numbers, each of which fits a byte.
    pub(super) bytes: Vec<u8>,
}

const HEADER: usize = 128;

/// Codes of the elements that matter.
mod code {
    pub(super) const INT8: u32 = 1;
    pub(super) const UINT8: u32 = 2;
    pub(super) const INT16: u32 = 3;
    pub(super) const UINT16: u32 = 4;
    pub(super) const INT32: u32 = 5;
    pub(super) const UINT32: u32 = 6;
    pub(super) const DOUBLE: u32 = 9;
    pub(super) const MATRIX: u32 = 14;
    pub(super) const COMPRESSED: u32 = 15;
}

/// The arrays of a file whose numbers are whole and from 0 to 255.
///
/// # Errors
/// [`TaskError::Format`] with what is wrong: another format, a truncated file, numbers that do not fit a byte.
pub(super) fn arrays(file: &[u8], path: &Path) -> Result<Vec<Array>, TaskError> {
    read(file).map_err(|reason| TaskError::Format { path: path.to_owned(), reason })
}

fn read(file: &[u8]) -> Result<Vec<Array>, String> {
    if file.get(124..HEADER) != Some(&[0x00, 0x01, b'I', b'M'][..]) {
        return Err("not a little-endian MAT-file of level 5: save it from MATLAB with `-v7` or `-v6`".to_owned());
    }
    let mut arrays = Vec::new();
    let mut rest = &file[HEADER..];
    while !rest.is_empty() {
        let (code, body) = element(&mut rest, false)?;
        match code {
            code::MATRIX => arrays.push(array(body)?),
            code::COMPRESSED => {
                let mut unpacked = Vec::new();
                let mut decoder = ZlibDecoder::new(body);
                decoder.read_to_end(&mut unpacked).map_err(|error| format!("a compressed array: {error}"))?;
                let (code, body) = element(&mut &unpacked[..], true)?;
                if code != code::MATRIX {
                    return Err(format!("a compressed element of type {code}, and arrays are expected"));
                }
                arrays.push(array(body)?);
            }
            other => return Err(format!("an element of type {other}, and arrays are expected")),
        }
    }
    Ok(arrays)
}

/// Takes one element off: its type and its bytes. Elements within an array are padded to eight bytes, those of the file
/// that are compressed are not.
fn element<'a>(rest: &mut &'a [u8], is_padded: bool) -> Result<(u32, &'a [u8]), String> {
    let truncated = || "it ends in the middle of an element: truncated?".to_owned();
    let (tag, after) = rest.split_first_chunk::<4>().ok_or_else(truncated)?;
    let first = u32::from_le_bytes(*tag);
    let (code, small) = (first & 0xffff, (first >> 16) as usize);
    if small > 0 {
        // A small element: its length in the tag, its bytes in the four that follow.
        let body = after.get(..small.min(4)).ok_or_else(truncated)?;
        *rest = after.get(4..).ok_or_else(truncated)?;
        return Ok((code, body));
    }
    let (length, after) = after.split_first_chunk::<4>().ok_or_else(truncated)?;
    let length = u32::from_le_bytes(*length) as usize;
    let body = after.get(..length).ok_or_else(truncated)?;
    let padded = if is_padded && code != code::COMPRESSED { length.next_multiple_of(8) } else { length };
    *rest = after.get(padded..).unwrap_or_default();
    Ok((code, body))
}

fn array(mut body: &[u8]) -> Result<Array, String> {
    let (_flags, flags) = element(&mut body, true)?;
    // MATLAB's classes: 6 to 15 are double, single and the integers; the others are text, cells, structures.
    let class = flags.first().copied().unwrap_or_default();
    let (_, sizes) = element(&mut body, true)?;
    let (_, name) = element(&mut body, true)?;
    let name = String::from_utf8_lossy(name).into_owned();
    if !(6..=15).contains(&class) {
        return Err(format!("`{name}` is no array of numbers"));
    }
    let sizes = sizes
        .chunks_exact(4)
        .map(|size| usize::try_from(i32::from_le_bytes([size[0], size[1], size[2], size[3]])))
        .collect::<Result<Vec<usize>, _>>()
        .map_err(|_| format!("`{name}` has a negative size"))?;
    let (code, numbers) = element(&mut body, true)?;
    let bytes = as_bytes(code, numbers).ok_or_else(|| format!("`{name}` has numbers that are not from 0 to 255"))?;
    let wanted = sizes.iter().try_fold(1usize, |product, &size| product.checked_mul(size));
    if wanted != Some(bytes.len()) {
        return Err(format!("`{name}` has {} numbers and sizes {sizes:?}: truncated?", bytes.len()));
    }
    Ok(Array { name, sizes, bytes })
}

/// Whole numbers of any type as bytes, if each fits one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in 0..=255")]
fn as_bytes(code: u32, numbers: &[u8]) -> Option<Vec<u8>> {
    fn each<const N: usize>(numbers: &[u8], read: impl Fn([u8; N]) -> f64) -> Option<Vec<u8>> {
        let (chunks, rest) = numbers.as_chunks::<N>();
        let whole = |number: f64| ((0.0..=255.0).contains(&number) && number.fract() == 0.0).then_some(number as u8);
        if rest.is_empty() { chunks.iter().map(|chunk| whole(read(*chunk))).collect() } else { None }
    }
    match code {
        code::UINT8 => Some(numbers.to_vec()),
        code::INT8 => each::<1>(numbers, |b| f64::from(i8::from_le_bytes(b))),
        code::INT16 => each::<2>(numbers, |b| f64::from(i16::from_le_bytes(b))),
        code::UINT16 => each::<2>(numbers, |b| f64::from(u16::from_le_bytes(b))),
        code::INT32 => each::<4>(numbers, |b| f64::from(i32::from_le_bytes(b))),
        code::UINT32 => each::<4>(numbers, |b| f64::from(u32::from_le_bytes(b))),
        code::DOUBLE => each::<8>(numbers, f64::from_le_bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `scipy.io.savemat` with `do_compression` on and off: `X`, uint8 [2, 2, 3, 2] of 0..24 in Fortran order,
    /// and `y`, double [2, 1] of 10 and 7. See `tests/golden/make_mat.py`.
    const PACKED: &[u8] = include_bytes!("../../../tests/golden/packed.mat");
    const PLAIN: &[u8] = include_bytes!("../../../tests/golden/plain.mat");

    #[test]
    fn arrays_are_read_compressed_or_not_whatever_type_their_numbers_have() {
        for file in [PACKED, PLAIN] {
            let read = read(file).unwrap();

            assert_eq!(read.iter().map(|array| array.name.as_str()).collect::<Vec<_>>(), ["X", "y"]);
            assert_eq!((&read[0].sizes[..], &read[1].sizes[..]), (&[2, 2, 3, 2][..], &[2, 1][..]));
            assert_eq!(read[0].bytes, (0..24).collect::<Vec<u8>>());
            assert_eq!(read[1].bytes, [10, 7]);
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_length_is_an_error_or_another_array_and_never_a_panic() {
        for file in [PACKED, PLAIN] {
            for length in 0..file.len() {
                let _ = read(&file[..length]);
            }
            for place in HEADER..file.len() {
                let mut damaged = file.to_vec();
                damaged[place] ^= 0xff;
                let _ = read(&damaged);
            }
        }
        assert!(read(&PLAIN[..PLAIN.len() - 24]).is_err());
        assert!(read(&PACKED[..PACKED.len() - 8]).is_err());
        assert!(read(b"MATLAB 7.3 MAT-file").is_err());
    }
}
