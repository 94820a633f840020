//! What tests of parsers share: samples that are bent, cut, mixed and lied in, many times over.
//!
//! A target takes bytes and must come back: with a value whose promises hold, or with an error. The same seed bends the same
//! bytes, so a failure comes again. `IMPRINT_FUZZ_RUNS` says how many runs each target has ([`RUNS`] without it).

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Runs of one target in an ordinary test.
const RUNS: u64 = 2_000;

/// Longest bytes that come of bending.
const LONGEST: usize = 16 << 10;

/// What parsers stumble over, put anywhere.
const WORDS: &[&str] = &[
    "",
    "\0",
    "\u{feff}",
    "\r\n",
    "\n\n",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[",
    ":",
    ",",
    "=",
    ";",
    "null",
    "true",
    "NaN",
    "-0",
    "1e39",
    "1e400",
    "-1",
    "0",
    "4294967296",
    "18446744073709551616",
    "9223372036854775807",
    "0.1e-400",
    "é",
    "\u{202e}",
    "𝒳",
    "%00",
    "../",
    "--",
    "  ",
    "\t",
    "\u{1f}",
    "'",
    "<",
    "__proto__",
];

/// Integers at which lengths and sizes go wrong.
const EDGES: &[u64] =
    &[0, 1, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, u64::MAX / 2, u64::MAX];

/// Runs `target` on the samples and on what comes of them.
///
/// # Panics
/// If it does, and says on what.
pub fn hammer(name: &str, samples: &[&[u8]], mut target: impl FnMut(&[u8])) {
    let runs = env::var("IMPRINT_FUZZ_RUNS").map_or(RUNS, |text| text.parse().expect("a number of runs"));
    let seed = env::var("IMPRINT_FUZZ_SEED").map_or(1, |text| text.parse().expect("a seed"));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // What was bent before is bent again: faults that need two changes are found, too.
    let mut pool: Vec<Vec<u8>> = samples.iter().map(|sample| sample.to_vec()).collect();
    let mut run = |bytes: &[u8]| {
        if catch_unwind(AssertUnwindSafe(|| target(bytes))).is_err() {
            let path = env::temp_dir().join(format!("imprint-fuzz-{name}"));
            std::fs::write(&path, bytes).expect("what was found can be kept");
            panic!("{name}: it does not bear {}", path.display());
        }
    };
    for sample in samples {
        run(sample);
    }
    for _ in 0..runs.saturating_sub(samples.len() as u64) {
        // Half of them are near a sample: the longer bytes are bent, the sooner a parser gives them up.
        let of = if rng.random_range(0..2) == 0 { samples.len() } else { pool.len() };
        let mut bytes = pool[rng.random_range(0..of)].clone();
        for _ in 0..1 << rng.random_range(0..4) {
            bend(&mut bytes, &pool, &mut rng);
        }
        bytes.truncate(LONGEST);
        run(&bytes);
        if pool.len() < 64 {
            pool.push(bytes);
        } else if rng.random_range(0..8) == 0 {
            let place = rng.random_range(samples.len()..pool.len());
            pool[place] = bytes;
        }
    }
}

/// One change.
fn bend(bytes: &mut Vec<u8>, pool: &[Vec<u8>], rng: &mut impl Rng) {
    let at = rng.random_range(0..=bytes.len());
    let some = rng.random_range(0..=(bytes.len() - at).min(64));
    match rng.random_range(0..10) {
        0 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        1 if at < bytes.len() => bytes[at] = rng.random_range(0..=u8::MAX),
        2 => {
            bytes.drain(at..at + some);
        }
        3 => {
            let copy = bytes[at..at + some].to_vec();
            let to = rng.random_range(0..=bytes.len());
            bytes.splice(to..to, copy);
        }
        4 | 5 => {
            let word = WORDS[rng.random_range(0..WORDS.len())];
            let end = if rng.random_range(0..2) == 0 { at } else { at + some };
            bytes.splice(at..end, word.bytes());
        }
        6 => {
            let width = 1 << rng.random_range(0..4);
            let edge = EDGES[rng.random_range(0..EDGES.len())];
            let whole = if rng.random_range(0..2) == 0 { edge.to_le_bytes() } else { edge.to_be_bytes() };
            let number = if rng.random_range(0..2) == 0 { &whole[..width] } else { &whole[8 - width..] };
            let end = (at + width).min(bytes.len());
            bytes.splice(at..end, number.iter().copied());
        }
        7 => {
            // The head of this, the tail of another.
            let other = &pool[rng.random_range(0..pool.len())];
            let from = rng.random_range(0..=other.len());
            bytes.splice(at.., other[from..].iter().copied());
        }
        8 => {
            // A number of the text, or a digit of it, becomes another.
            if let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit).map(|offset| at + offset) {
                let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let edge = EDGES[rng.random_range(0..EDGES.len())].to_string();
                bytes.splice(start..start + length, edge.into_bytes());
            }
        }
        _ => bytes.truncate(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_parser_cannot_bear_is_found() {
        let hammered = catch_unwind(|| {
            hammer("self", &[b"{\"width\": 17}"], |bytes| {
                let text = String::from_utf8_lossy(bytes);
                let width = text.split("width\": ").nth(1).and_then(|rest| rest.split('}').next()?.parse::<u64>().ok());
                assert!(width.is_none_or(|width| width < u64::from(u32::MAX)), "too wide");
            });
        });

        assert!(hammered.is_err());
    }
}
