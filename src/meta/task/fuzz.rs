//! Files of data sets, damaged or made up: an error with a reason, never a panic or more memory than the file explains.

use std::io::{Cursor, Write};
use std::path::Path;

use super::{idx, mat, tables, zipped};
use crate::fuzz::hammer;
use crate::meta::tagging::conll;

const NOWHERE: &str = "a file";

#[test]
fn idx_files() {
    let images: &[u8] = &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 9, 8, 7, 6];
    let labels: &[u8] = &[0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3];

    hammer("idx", &[images, labels], |bytes| {
        if let Ok(images) = idx::images(bytes, Path::new(NOWHERE)) {
            let size = images.height * images.width;
            assert!(if size == 0 { images.pixels.is_empty() } else { images.pixels.len() % size == 0 });
        }
        if let Ok(labels) = idx::labels(bytes, Path::new(NOWHERE)) {
            assert_eq!(labels.len() + 8, bytes.len());
        }
    });
}

#[test]
fn mat_files() {
    let [plain, packed]: [&[u8]; 2] =
        [include_bytes!("../../../tests/golden/plain.mat"), include_bytes!("../../../tests/golden/packed.mat")];

    hammer("mat", &[plain, packed], |bytes| {
        for array in mat::arrays(bytes, Path::new(NOWHERE)).unwrap_or_default() {
            assert_eq!(array.sizes.iter().product::<usize>(), array.bytes.len());
        }
    });
}

#[test]
fn tables_of_numbers() {
    let samples: [&[u8]; 2] = [b"a,target,b\n1,x,-2e3\n4,\"y\",.5\n", b"target\ta\n0\t1\n1\t2\n"];

    hammer("tables", &samples, tables::stands);
}

#[test]
fn conll_files() {
    let samples: [&[u8]; 3] = [
        b"-DOCSTART- O\n\nAnn B-PER\nmet O\nBob\tB-PER\n\n# a comment\nRome I-LOC\nis O\n",
        b"1\tEU\tNNP\tB-ORG\n2\trejects\tVBZ\tO\n\n",
        "\u{feff}é B-x\nè I-x\n\n\nO O\n".as_bytes(),
    ];

    hammer("conll", &samples, |bytes| {
        for tagged in conll::parse(&String::from_utf8_lossy(bytes)).unwrap_or_default() {
            let length = tagged.sentence.text().chars().count();
            assert!(tagged.spans.iter().all(|span| span.start < span.end && span.end <= length));
        }
    });
}

#[test]
fn zips() {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["a/b/0001_01.png", "a/c/0002_01.png", "read.me"] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(name.repeat(9).as_bytes()).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();

    hammer("zip", &[&zip], |bytes| {
        for (name, _) in zipped::unpacked(bytes.to_vec(), Path::new(NOWHERE), &["png"]).unwrap_or_default() {
            assert!(name.to_ascii_lowercase().ends_with(".png"));
        }
    });
}
