//! Curves of a run as TensorBoard event files.
//!
//! A file is a sequence of records, each a length, a masked CRC-32C of it, a protobuf `Event` and its masked CRC-32C
//! (TensorFlow's `core/lib/io/record_writer.cc` and `core/util/event.proto`). Every start writes a file of its own, whose
//! first event says from which step on it replaces the earlier ones; TensorBoard then drops what a killed run wrote after
//! its last checkpoint.

use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::Path;

use crc::{CRC_32_ISCSI, Crc};
use prost::Message;

use super::out;
use crate::domain::Clock;
use crate::trainer::{Observer, StepReport, ValidationReport};

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// `SessionLog.SessionStatus.START`.
const START: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An event file that is written to.
pub(super) struct EventLog {
    file: File,
    clock: Box<dyn Clock>,
}

impl EventLog {
    /// A new file in `folder`, of a run that goes on from `step`.
    pub(super) fn begin(folder: &Path, step: u64, clock: Box<dyn Clock>) -> io::Result<Self> {
        let started = clock.now().millis();
        let name = format!("events.out.tfevents.{:010}.{:03}.imprint", started / 1000, started % 1000);
        let mut log = Self { file: File::create(folder.join(name))?, clock };
        log.write(0, |event| event.file_version = Some("brain.Event:2".to_owned()))?;
        log.write(step + 1, |event| event.session_log = Some(SessionLog { status: START }))?;
        Ok(log)
    }

    /// Points of several curves at one step.
    #[expect(clippy::cast_possible_truncation, reason = "TensorBoard's scalars are 32-bit")]
    fn scalars<'a>(&mut self, step: u64, points: impl IntoIterator<Item = (&'a str, f64)>) -> io::Result<()> {
        let points = points.into_iter();
        let value =
            points.map(|(tag, value)| Value { tag: tag.to_owned(), simple_value: Some(value as f32) }).collect();
        self.write(step, |event| event.summary = Some(Summary { value }))
    }

    fn write(&mut self, step: u64, fill: impl FnOnce(&mut Event)) -> io::Result<()> {
        let mut event = Event {
            wall_time: self.clock.now().millis() as f64 / 1000.0,
            step: step.cast_signed(),
            ..Event::default()
        };
        fill(&mut event);
        // One write for each record: a kill leaves whole ones.
        self.file.write_all(&record(&event.encode_to_vec()))
    }
}

fn record(data: &[u8]) -> Vec<u8> {
    let masked = |bytes: &[u8]| CRC.checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes();
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), data, &masked(data)].concat()
}

/// An observer whose reports go into an event file, too.
pub(super) struct Logged<O> {
    pub(super) events: EventLog,
    pub(super) observer: O,
}

impl<O: Observer> Observer for Logged<O> {
    fn stepped(&mut self, report: &StepReport) -> ControlFlow<()> {
        let accuracy = report.accuracy.map(|accuracy| ("outer/accuracy", accuracy));
        let points = [("outer/loss", report.loss), ("outer/lr", report.lr)].into_iter().chain(accuracy);
        warn_of(self.events.scalars(report.step, points));
        self.observer.stepped(report)
    }

    fn validated(&mut self, report: &ValidationReport) {
        let estimates = report.estimates.iter().map(|(name, estimate)| (format!("validation/{name}"), estimate.mean));
        let learned = report.learned.iter().map(|(name, mean)| (format!("learned/{name}"), *mean));
        let points: Vec<_> = estimates.chain(learned).collect();
        warn_of(self.events.scalars(report.step, points.iter().map(|(tag, value)| (tag.as_str(), *value))));
        self.observer.validated(report);
    }
}

/// A full disk spoils the curves, not the run.
fn warn_of(written: io::Result<()>) {
    if let Err(error) = written {
        out::note(format!("the event file: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Timestamp, hex};

    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(1_500)
        }
    }

    #[test]
    fn a_record_is_that_of_tensorboards_own_writer() {
        // `tensorboard.summary.writer.record_writer.RecordWriter(file).write(b"imprint")`
        assert_eq!(hex(&record(b"imprint")), "0700000000000000bbd79f11696d7072696e749924ec86");
    }

    #[test]
    fn a_resumed_run_says_from_which_step_on_earlier_points_are_void() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = EventLog::begin(folder.path(), 50, Box::new(Fixed)).unwrap();
        log.scalars(51, [("outer/loss", 0.0), ("outer/lr", 0.25)]).unwrap();

        let mut bytes = &std::fs::read(folder.path().join("events.out.tfevents.0000000001.500.imprint")).unwrap()[..];
        let mut events = Vec::new();
        while let Some((length, rest)) = bytes.split_first_chunk::<8>() {
            let end = 4 + usize::try_from(u64::from_le_bytes(*length)).unwrap();
            events.push(Event::decode(&rest[4..end]).unwrap());
            bytes = &rest[end + 4..];
        }

        let [version, start, points] = &events[..] else { panic!("{events:?}") };
        assert_eq!((version.wall_time, version.file_version.as_deref()), (1.5, Some("brain.Event:2")));
        assert_eq!((start.step, &start.session_log), (51, &Some(SessionLog { status: START })));
        let value = |tag: &str, value| Value { tag: tag.to_owned(), simple_value: Some(value) };
        let expected = Summary { value: vec![value("outer/loss", 0.0), value("outer/lr", 0.25)] };
        assert_eq!((points.step, points.summary.as_ref()), (51, Some(&expected)));
    }
}
