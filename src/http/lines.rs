//! A body, line by line, while it arrives. Each byte is looked at once and copied once.

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::StatusCode;
use futures_util::StreamExt;

use super::extract::unread_stream;
use super::problem::Problem;

/// What one body may have.
#[derive(Clone, Copy)]
pub struct Limits {
    /// Bytes of a line.
    pub line: usize,
    /// Bytes of all.
    pub whole: usize,
    /// Lines with nothing in them.
    pub blank: usize,
}

/// A body, line by line.
pub struct Lines {
    body: BodyDataStream,
    limits: Limits,
    /// What has arrived and was not looked at.
    arrived: Bytes,
    /// A line that has not ended yet.
    begun: Vec<u8>,
    seen: usize,
    blank: usize,
    is_over: bool,
}

impl Lines {
    pub fn new(body: Body, limits: Limits) -> Self {
        let (body, arrived, begun) = (body.into_data_stream(), Bytes::new(), Vec::new());
        Self { body, limits, arrived, begun, seen: 0, blank: 0, is_over: false }
    }

    /// The next line that is not blank. Dropped in the middle, it loses nothing.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        loop {
            let end = self.arrived.iter().position(|byte| *byte == b'\n');
            let some = self.arrived.split_to(end.map_or(self.arrived.len(), |at| at + 1));
            self.begun.extend_from_slice(&some);
            if self.begun.len() > self.limits.line {
                return Err(Problem::by_status(StatusCode::PAYLOAD_TOO_LARGE));
            }
            if end.is_some() || self.is_over {
                let line = std::mem::take(&mut self.begun);
                if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                    return Ok(Some(line));
                }
                if end.is_none() {
                    return Ok(None);
                }
                self.blank += 1;
                if self.blank > self.limits.blank {
                    let detail = format!("an upload has at most {} blank lines", self.limits.blank);
                    return Err(Problem::malformed("malformed_upload", "", detail));
                }
                continue;
            }
            match self.body.next().await {
                None => self.is_over = true,
                Some(Ok(bytes)) => {
                    self.seen += bytes.len();
                    self.arrived = bytes;
                    if self.seen > self.limits.whole {
                        return Err(Problem::by_status(StatusCode::PAYLOAD_TOO_LARGE));
                    }
                }
                Some(Err(error)) => return Err(Problem::by_status(unread_stream(&error))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use futures_util::FutureExt;

    use super::*;
    use crate::fuzz::hammer;

    const LIMITS: Limits = Limits { line: 1_000, whole: 1 << 30, blank: 10 };

    async fn all(body: Body) -> Result<Vec<String>, Problem> {
        let (mut lines, mut found) = (Lines::new(body, LIMITS), Vec::new());
        while let Some(line) = lines.next().await? {
            found.push(String::from_utf8(line).unwrap());
        }
        Ok(found)
    }

    #[tokio::test]
    async fn a_line_is_one_wherever_it_is_cut() {
        let cut = ["o", "ne\ntw", "o\n", "\n \r\n", "three"].map(Ok::<_, std::io::Error>);
        let found = all(Body::from_stream(futures_util::stream::iter(cut))).await.unwrap();

        assert_eq!(found, ["one\n", "two\n", "three"]);
    }

    #[tokio::test]
    async fn blank_lines_are_counted() {
        let problem = all(Body::from("\n".repeat(11))).await.unwrap_err();

        assert_eq!(problem.code(), "malformed_upload");
    }

    /// Whatever comes in whatever pieces, lines are what lies between two ends of them.
    #[test]
    fn lines_of_anything_are_whole() {
        let samples: [&[u8]; 2] = [b"one\ntwo\r\n\n three", b"\n\n\xff\n"];

        hammer("pieces", &samples, |bytes| {
            let pieces: Vec<_> =
                bytes.chunks(1 + bytes.len() % 7).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
            let mut lines =
                Lines::new(Body::from_stream(futures_util::stream::iter(pieces)), Limits { line: 1 << 20, ..LIMITS });
            let mut expected = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
            loop {
                match lines.next().now_or_never().expect("the body is there already") {
                    Ok(Some(line)) => assert_eq!(line.strip_suffix(b"\n").unwrap_or(&line), expected.next().unwrap()),
                    Ok(None) => break assert_eq!(expected.next(), None),
                    Err(_) => break, // too many blank lines
                }
            }
        });
    }

    /// Were the rest moved for each line, this would be half a terabyte.
    #[tokio::test]
    async fn many_lines_in_one_piece_take_as_long_as_they_are() {
        let began = Instant::now();

        let found = all(Body::from("fifteen letters\n".repeat(1 << 18))).await.unwrap();

        assert_eq!(found.len(), 1 << 18);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}
