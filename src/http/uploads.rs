//! Examples in the forms in which people have them: JSON lines, CSV, files in a form.
//!
//! They are read a few at a time, so that what is in memory does not grow with what is sent; the answer says of each
//! what became of it. Lines and rows are numbered from 0, a CSV's header not counted.

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt;

use super::AppState;
use super::extract::{read_bytes, unread_stream};
use super::object::Object;
use super::problem::{Fault, Problem};
use super::wire::ExampleBody;
use crate::domain::{Input, TaskId, TenantId};
use crate::service::{GivenExample, Service, Verdict, Verdicts};

/// Most examples that are read before they are stored.
const AT_A_TIME: usize = 64;
/// Most bytes of them.
const BYTES_AT_A_TIME: usize = 4 << 20;
/// Most examples of one upload.
const MOST: usize = 100_000;

/// One example as it was read, or what is wrong with its form.
type Read = Result<GivenExample, Fault>;

/// Where examples come from.
pub enum Upload {
    /// A JSON object a line.
    Lines(Lines),
    /// Rows with a header.
    Rows(Box<csv::Reader<std::io::Cursor<Bytes>>>),
    /// A form whose fields are files, each named by its label.
    Files(Multipart),
}

impl Upload {
    /// What `Content-Type` says; none for JSON, which is no upload.
    pub async fn read(request: Request, state: &AppState) -> Result<Result<Self, Request>, Problem> {
        let limits = Limits { line: state.config.max_body_bytes, whole: state.config.max_upload_bytes };
        match media_type(request.headers()).as_str() {
            "application/x-ndjson" | "application/jsonl" | "application/json-lines" => {
                Ok(Ok(Self::Lines(Lines::new(request.into_body(), limits))))
            }
            "text/csv" => {
                let bytes = read_bytes(request, state).await?;
                let reader = csv::ReaderBuilder::new().flexible(true).from_reader(std::io::Cursor::new(bytes));
                Ok(Ok(Self::Rows(Box::new(reader))))
            }
            "multipart/form-data" => {
                let form = Multipart::from_request(request, state).await;
                let form = form.map_err(|rejection| malformed(rejection.body_text()))?;
                Ok(Ok(Self::Files(form)))
            }
            _ => Ok(Err(request)),
        }
    }

    /// Stores what comes, a few examples at a time.
    pub async fn store(mut self, service: &Service, tenant: TenantId, task: TaskId) -> Result<Summary, Problem> {
        let mut summary = Summary::default();
        loop {
            let some = self.some().await?;
            if some.is_empty() && summary.places > 0 {
                return Ok(summary);
            }
            let is_over = some.is_empty();
            summary.take(some, service, tenant, task).await?;
            if is_over {
                return Ok(summary);
            }
            if summary.places > MOST {
                return Err(malformed(format!("an upload has at most {MOST} examples; send the rest in another")));
            }
        }
    }

    /// The next few; none at the end.
    async fn some(&mut self) -> Result<Vec<Read>, Problem> {
        let (mut some, mut bytes) = (Vec::new(), 0);
        while some.len() < AT_A_TIME && bytes < BYTES_AT_A_TIME {
            let next = match self {
                Self::Lines(lines) => lines.next().await?.map(|line| (line.len(), line_example(&line))),
                Self::Rows(rows) => next_row(rows)?,
                Self::Files(form) => next_file(form).await?,
            };
            let Some((length, example)) = next else { break };
            bytes += length;
            some.push(example);
        }
        Ok(some)
    }
}

/// What became of an upload.
#[derive(Default)]
pub struct Summary {
    /// What the service says of those that it was given.
    pub verdicts: Verdicts,
    /// What was wrong in form, by its place.
    pub unread: Vec<(usize, Fault)>,
    /// Places of those that the service was given.
    pub given: Vec<usize>,
    places: usize,
}

impl Summary {
    /// Of examples that were all right in form.
    pub fn of(verdicts: Verdicts) -> Self {
        let places = verdicts.verdicts.len();
        Self { verdicts, unread: Vec::new(), given: (0..places).collect(), places }
    }

    async fn take(
        &mut self,
        some: Vec<Read>,
        service: &Service,
        tenant: TenantId,
        task: TaskId,
    ) -> Result<(), Problem> {
        let mut examples = Vec::with_capacity(some.len());
        for read in some {
            match read {
                Ok(example) => {
                    self.given.push(self.places);
                    examples.push(example);
                }
                Err(fault) => self.unread.push((self.places, fault)),
            }
            self.places += 1;
        }
        self.verdicts.extend(service.add_each_support(tenant, task, examples).await?);
        Ok(())
    }

    /// Each that was refused, in order, with the faults in it.
    pub fn rejected(&self) -> Vec<(usize, Vec<Fault>)> {
        let verdicts = self.given.iter().zip(&self.verdicts.verdicts);
        let refused = verdicts.filter_map(|(place, verdict)| match verdict {
            Verdict::Rejected(faults) => Some((*place, faults.iter().cloned().map(Fault::from).collect())),
            Verdict::Added(_) | Verdict::Duplicate(_) => None,
        });
        let mut all: Vec<_> =
            refused.chain(self.unread.iter().map(|(place, fault)| (*place, vec![fault.clone()]))).collect();
        all.sort_by_key(|(place, _)| *place);
        all
    }
}

fn media_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn malformed(detail: String) -> Problem {
    Problem::malformed("malformed_upload", "", detail)
}

fn wrong(pointer: &str, detail: impl Into<String>) -> Fault {
    Fault { pointer: pointer.to_owned(), code: "wrong_form".to_owned(), detail: detail.into() }
}

fn line_example(line: &[u8]) -> Read {
    match serde_json::from_slice::<Object<ExampleBody>>(line) {
        Ok(Object(example)) => Ok(example.into()),
        Err(error) => Err(wrong("", error.to_string())),
    }
}

/// Bytes that one upload may have.
#[derive(Clone, Copy)]
struct Limits {
    line: usize,
    whole: usize,
}

/// A body, line by line.
pub struct Lines {
    body: BodyDataStream,
    limits: Limits,
    pending: Vec<u8>,
    /// Where no line's end was found yet.
    searched: usize,
    seen: usize,
    is_over: bool,
}

impl Lines {
    fn new(body: Body, limits: Limits) -> Self {
        Self { body: body.into_data_stream(), limits, pending: Vec::new(), searched: 0, seen: 0, is_over: false }
    }

    /// The next line that is not blank.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, Problem> {
        loop {
            if let Some(at) = self.pending[self.searched..].iter().position(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(self.searched + at + 1);
                let line = std::mem::replace(&mut self.pending, rest);
                self.searched = 0;
                if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                    return Ok(Some(line));
                }
                continue;
            }
            self.searched = self.pending.len();
            if self.pending.len() > self.limits.line {
                return Err(Problem::by_status(StatusCode::PAYLOAD_TOO_LARGE));
            }
            if self.is_over {
                let line = std::mem::take(&mut self.pending);
                self.searched = 0;
                return Ok(Some(line).filter(|line| line.iter().any(|byte| !byte.is_ascii_whitespace())));
            }
            match self.body.next().await {
                None => self.is_over = true,
                Some(Ok(bytes)) => {
                    self.seen += bytes.len();
                    self.pending.extend_from_slice(&bytes);
                    if self.seen > self.limits.whole {
                        return Err(Problem::by_status(StatusCode::PAYLOAD_TOO_LARGE));
                    }
                }
                Some(Err(error)) => return Err(Problem::by_status(unread_stream(&error))),
            }
        }
    }
}

/// A row: `label`, `value` and `external_id` by their names; `input` or `text` is the input (a JSON array or object is
/// read as one), and without those all other columns are its numbers.
fn next_row(rows: &mut csv::Reader<std::io::Cursor<Bytes>>) -> Result<Option<(usize, Read)>, Problem> {
    let header = rows.headers().map_err(|error| malformed(error.to_string()))?.clone();
    let mut row = csv::StringRecord::new();
    match rows.read_record(&mut row) {
        Ok(false) => Ok(None),
        Ok(true) => Ok(Some((row.as_slice().len(), row_example(&header, &row)))),
        Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
            Ok(Some((0, Err(wrong("", "the row is not UTF-8")))))
        }
        Err(error) => Err(malformed(error.to_string())),
    }
}

fn row_example(header: &csv::StringRecord, row: &csv::StringRecord) -> Read {
    if row.len() != header.len() {
        return Err(wrong("", format!("the row has {} columns, the header has {}", row.len(), header.len())));
    }
    let mut example = GivenExample::of(Input::Vector(Vec::new()));
    let (mut numbers, mut whole) = (Vec::new(), None);
    for (name, cell) in header.iter().map(str::trim).zip(row) {
        let number = || cell.trim().parse::<f64>().map_err(|_| wrong(&format!("/{name}"), "this is not a number"));
        match name {
            "label" => example.label = Some(cell.to_owned()),
            "external_id" => example.external_id = Some(cell.to_owned()).filter(|id| !id.is_empty()),
            "value" => example.value = Some(crate::domain::narrow(number()?)),
            "input" | "text" => whole = Some((name, cell)),
            _ => numbers.push(crate::domain::narrow(number()?)),
        }
    }
    example.input = match whole {
        None => Input::Vector(numbers),
        Some((_, _)) if !numbers.is_empty() => return Err(wrong("", "a row has `input`, or columns of numbers")),
        Some(("input", cell)) if cell.starts_with(['[', '{']) => {
            serde_json::from_str(cell).map_err(|error| wrong("/input", error.to_string()))?
        }
        Some((_, cell)) => Input::Text(cell.to_owned()),
    };
    Ok(example)
}

/// A file: its field's name is its label.
async fn next_file(form: &mut Multipart) -> Result<Option<(usize, Read)>, Problem> {
    let unreadable = |error: MultipartError| match error.status() {
        status if status == StatusCode::PAYLOAD_TOO_LARGE => Problem::by_status(status),
        _ => malformed(error.body_text()),
    };
    let Some(field) = form.next_field().await.map_err(unreadable)? else { return Ok(None) };
    let label = field.name().unwrap_or_default().to_owned();
    let is_text = field.content_type().is_some_and(|kind| kind.starts_with("text/")) || field.file_name().is_none();
    let bytes = field.bytes().await.map_err(unreadable)?;
    let length = bytes.len();
    let input = match (is_text, String::from_utf8(bytes.to_vec())) {
        (true, Ok(text)) => Input::Text(text),
        (true, Err(_)) => return Ok(Some((length, Err(wrong("", "the text is not UTF-8"))))),
        (false, Ok(text)) => Input::Encoded(text.into_bytes()),
        (false, Err(error)) => Input::Encoded(error.into_bytes()),
    };
    let example = GivenExample { label: Some(label), ..GivenExample::of(input) };
    Ok(Some((length, Ok(example))))
}
