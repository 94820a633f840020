//! Examples in the forms in which people have them: JSON lines, CSV, files in a form.
//!
//! They are read a few at a time, so that what is in memory does not grow with what is sent; the answer says of each
//! what became of it. Lines and rows are numbered from 0, a CSV's header not counted. What comes in between (a line that
//! is too long, a client or a database that goes away, the end of the time for it) ends an upload, and the answer says
//! how far it came.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::multipart::{Multipart, MultipartError};
use axum::extract::{FromRequest, MatchedPath, Request};
use axum::http::{HeaderMap, Method, StatusCode, header};
use tokio::time::{Instant, timeout_at};

use super::AppState;
use super::extract::{parsed, read_bytes};
use super::lines::{Limits, Lines};
use super::object::Object;
use super::problem::{Fault, Problem};
use super::weight;
use super::wire::ExampleBody;
use crate::domain::{Input, TaskId, TenantId};
use crate::service::{GivenExample, Service, Verdict, Verdicts};

/// Most examples that are read before they are stored.
const AT_A_TIME: usize = 64;
/// Most bytes of them.
const BYTES_AT_A_TIME: usize = 4 << 20;
/// Most examples of one upload.
const MOST: usize = 100_000;

/// Where uploads go.
const ROUTE: &str = "/v1/tasks/{task}/support";
/// Where lines of another kind go, which may take as long.
const BULK: &str = "/v1/tasks/{task}/bulk-predictions";
const LINES: [&str; 3] = ["application/x-ndjson", "application/jsonl", "application/json-lines"];
const ROWS: &str = "text/csv";
const FORM: &str = "multipart/form-data";

/// Whether a request brings many examples, in one of these forms, or many inputs.
pub fn is_upload(request: &Request) -> bool {
    let kind = media_type(request.headers());
    let is_one_of_many = match request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) {
        Some(ROUTE) => is_lines(request.headers()) || kind == ROWS || kind == FORM,
        Some(BULK) => is_lines(request.headers()),
        _ => false,
    };
    request.method() == Method::POST && is_one_of_many
}

/// Whether a body says that it is JSON lines.
pub fn is_lines(headers: &HeaderMap) -> bool {
    LINES.contains(&media_type(headers).as_str())
}

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
        let (line, whole) = (state.config.max_body_bytes, state.config.max_upload_bytes);
        match media_type(request.headers()).as_str() {
            kind if LINES.contains(&kind) => {
                Ok(Ok(Self::Lines(Lines::new(request.into_body(), Limits { line, whole, blank: MOST }))))
            }
            ROWS => {
                let bytes = read_bytes(request, state).await?;
                let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(std::io::Cursor::new(bytes));
                check_header(rows.headers().map_err(|error| malformed(error.to_string()))?)?;
                Ok(Ok(Self::Rows(Box::new(rows))))
            }
            FORM => {
                let form = Multipart::from_request(request, state).await;
                let form = form.map_err(|rejection| malformed(rejection.body_text()))?;
                Ok(Ok(Self::Files(form)))
            }
            _ => Ok(Err(request)),
        }
    }

    /// Stores what comes, a few examples at a time, for as long as that may take.
    pub async fn store(
        mut self,
        service: &Service,
        tenant: TenantId,
        task: TaskId,
        longest: Duration,
    ) -> Result<Summary, Problem> {
        let late = || Problem::by_status(StatusCode::GATEWAY_TIMEOUT);
        let until = Instant::now() + longest;
        let mut summary = Summary::default();
        loop {
            let mut some = Vec::new();
            let read = timeout_at(until, self.read_some(&mut some)).await.unwrap_or_else(|_| Err(late()));
            let is_first = summary.places == 0;
            let are_too_many = some.len() > MOST - summary.places;
            some.truncate(MOST - summary.places);
            // An empty upload is looked at, too: there may be no such task.
            if (!some.is_empty() || (is_first && read.is_ok()))
                && let Err(problem) = summary.take(some, service, tenant, task).await
            {
                return summary.stopped(problem);
            }
            match read {
                Err(problem) => return summary.stopped(problem),
                Ok(_) if are_too_many => {
                    let detail = format!("an upload has at most {MOST} examples; send the rest in another");
                    return summary.stopped(malformed(detail));
                }
                Ok(true) => return Ok(summary),
                Ok(false) if Instant::now() >= until => return summary.stopped(late()),
                Ok(false) => {}
            }
        }
    }

    /// Reads the next few; whether that was all.
    async fn read_some(&mut self, some: &mut Vec<Read>) -> Result<bool, Problem> {
        let mut bytes = 0;
        while some.len() < AT_A_TIME && bytes < BYTES_AT_A_TIME {
            let next = match self {
                Self::Lines(lines) => match lines.next().await? {
                    Some(line) => Some((line.len(), parsed(line, line_example).await?)),
                    None => None,
                },
                Self::Rows(rows) => next_row(rows)?,
                Self::Files(form) => next_file(form).await?,
            };
            let Some((length, example)) = next else { return Ok(true) };
            bytes += length;
            some.push(example);
        }
        Ok(false)
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
    /// How many were dealt with: the place of the first that was not, if there is one.
    pub places: usize,
    /// Why not all of them were.
    pub stopped: Option<Problem>,
}

impl Summary {
    /// Of examples that were all right in form.
    pub fn of(verdicts: Verdicts) -> Self {
        let places = verdicts.verdicts.len();
        Self { verdicts, unread: Vec::new(), given: (0..places).collect(), places, stopped: None }
    }

    async fn take(
        &mut self,
        some: Vec<Read>,
        service: &Service,
        tenant: TenantId,
        task: TaskId,
    ) -> Result<(), Problem> {
        let (mut examples, mut given, mut unread) = (Vec::with_capacity(some.len()), Vec::new(), Vec::new());
        let places = self.places..self.places + some.len();
        for (place, read) in places.clone().zip(some) {
            match read {
                Ok(example) => {
                    given.push(place);
                    examples.push(example);
                }
                Err(fault) => unread.push((place, fault)),
            }
        }
        self.verdicts.extend(service.add_each_support(tenant, task, examples).await?);
        self.given.extend(given);
        self.unread.extend(unread);
        self.places = places.end;
        Ok(())
    }

    /// The reason alone, where nothing was dealt with.
    fn stopped(mut self, problem: Problem) -> Result<Self, Problem> {
        if self.places == 0 {
            return Err(problem);
        }
        self.stopped = Some(problem);
        Ok(self)
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
    weight::check(line).map_err(|_| wrong("", "the line holds more values than any example needs"))?;
    match serde_json::from_slice::<Object<ExampleBody>>(line) {
        Ok(Object(example)) => Ok(example.into()),
        Err(error) => Err(wrong("", error.to_string())),
    }
}

/// Refuses rows of which the first is none: without their names, nobody knows which column is which.
fn check_header(header: &csv::StringRecord) -> Result<(), Problem> {
    if header.iter().any(|name| matches!(name.trim(), "label" | "value")) {
        return Ok(());
    }
    let detail = "the first line must name the columns: `label` or `value`, `external_id` if you like, and `input`, or \
                  one column for each number";
    Err(Problem::wrong_form(String::new(), detail.to_owned()))
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

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::FutureExt;

    use super::*;
    use crate::fuzz::hammer;

    #[test]
    fn lines_as_strangers_write_them() {
        let samples: [&[u8]; 3] = [
            br#"{"input": [0.0, 0.1], "label": "low", "external_id": "a", "weight": 2}"#,
            br#"{"input": {"tokens": ["Ann"]}, "spans": [{"start": 0, "end": 3, "label": "x"}]}"#,
            br#"{"text": "a card", "value": 1.5}"#,
        ];

        hammer("lines", &samples, |bytes| drop(line_example(bytes)));
    }

    #[test]
    fn rows_as_strangers_write_them() {
        let samples: [&[u8]; 3] = [
            b"label,x,y\nlow,0.5,-1e3\nhigh,5,5\n",
            b"input,label,external_id\n\"[1, 2]\",a,7\n\"say \"\"hi\"\"\",b,8\n",
            b"\xef\xbb\xbfvalue , text\r\n1.5,two words\r\n,\r\n",
        ];

        hammer("rows", &samples, |bytes| {
            let body = std::io::Cursor::new(Bytes::copy_from_slice(bytes));
            let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(body);
            if rows.headers().is_ok_and(|header| check_header(header).is_ok()) {
                while let Ok(Some((length, _))) = next_row(&mut rows) {
                    assert!(length <= bytes.len());
                }
            }
        });
    }

    #[test]
    fn forms_as_strangers_write_them() {
        let file = "--b\r\nContent-Disposition: form-data; name=\"cat\"; filename=\"a.png\"\r\n\
                    Content-Type: image/png\r\n\r\nPNG\r\n--b\r\nContent-Disposition: form-data; name=dog\r\n\r\n\
                    text\r\n--b--\r\n";

        hammer("forms", &[file.as_bytes()], |bytes| {
            let request = Request::builder().header(header::CONTENT_TYPE, "multipart/form-data; boundary=b");
            let request = request.body(Body::from(bytes.to_vec())).unwrap();
            let read = async {
                let mut form = Multipart::from_request(request, &()).await.unwrap();
                while let Ok(Some((length, _))) = next_file(&mut form).await {
                    assert!(length <= bytes.len());
                }
            };
            read.now_or_never().expect("the body is there already");
        });
    }
}
