//! Small requests that want to become large: each is refused, and the server's memory does not grow.
//!
//! Against the program itself, in a process of its own, by the system's high-water mark.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::json;

use crate::cli::{Server, imprint, key};
use crate::http::bases;
use crate::http::samples::{adapt_predict, base64};

/// How much the server may grow.
const GROWTH: u64 = 64 << 20;
/// Close to the largest body.
const LARGE: usize = 15 << 20;

/// A request without its credential.
struct Bomb {
    name: &'static str,
    path: &'static str,
    headers: String,
    body: Vec<u8>,
}

fn json_bomb(name: &'static str, path: &'static str, body: impl Into<Vec<u8>>) -> Bomb {
    Bomb { name, path, headers: "content-type: application/json\r\n".to_owned(), body: body.into() }
}

/// `start`, as many `piece`s as a large body holds, and `end`.
fn long(start: &str, piece: &str, end: &str) -> String {
    format!("{start}{}{end}", piece.repeat((LARGE - start.len() - end.len()) / piece.len()))
}

#[test]
fn no_bomb_is_let_in_and_none_makes_the_server_grow() {
    let folder = tempfile::tempdir().unwrap();
    bases::write(&folder.path().join("models"));
    let server = Server::started(imprint(folder.path()));
    let key = key(folder.path(), "sqlite:imprint.db");
    server.post("/v1/adapt-predict", &key, &adapt_predict());
    // What a large body takes in any case.
    send(&server, &key, &json_bomb("a large string", "/v1/adapt-predict", long("{\"base_model\": \"", "a", "\"}")));
    let place = format!("/proc/{}", server.process.id());
    let status = |name: &str| -> u64 {
        let status = fs::read_to_string(format!("{place}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let bombs = bombs();
    assert!(bombs.len() >= 40, "{}", bombs.len());

    let mut grown = Vec::new();
    for bomb in &bombs {
        fs::write(format!("{place}/clear_refs"), "5").unwrap();
        let before = status("VmRSS:");
        let answer = send(&server, &key, bomb);
        grown.push((status("VmHWM:").saturating_sub(before), bomb.name));
        assert!(answer.starts_with("HTTP/1.1 4"), "{}: {answer}", bomb.name);
    }

    grown.sort_unstable();
    assert!(grown.last().is_some_and(|most| most.0 < GROWTH), "{grown:?}");
    assert!(server.get("/readyz", "").starts_with("HTTP/1.1 200"));
}

/// The answer's first line and whatever comes with it, even if the server hung up in the middle of the request.
fn send(server: &Server, key: &str, bomb: &Bomb) -> String {
    let mut connection = TcpStream::connect(&server.address).unwrap();
    let Bomb { path, headers, body, .. } = bomb;
    let length =
        if headers.contains("chunked") { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {key}\r\nconnection: close\r\n");
    // One who hangs up has answered.
    let _ = connection.write_all(format!("{head}{headers}{length}\r\n").as_bytes());
    let _ = connection.write_all(body);
    let mut answer = Vec::new();
    let _ = connection.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn bombs() -> Vec<Bomb> {
    [deep(), wide(), numbers(), images(), packed(), weights(), protocol()].into_iter().flatten().collect()
}

fn deep() -> Vec<Bomb> {
    let nested = |start: &str| format!("{start}{}", "[".repeat(LARGE - start.len()));
    let objects = long("{\"name\": \"n\", \"base_model\": \"plane\", \"metadata\": ", "{\"a\":", "");
    vec![
        json_bomb("depth, all", "/v1/tasks", nested("")),
        json_bomb("depth, metadata", "/v1/tasks", nested("{\"metadata\": ")),
        json_bomb("depth, objects", "/v1/tasks", objects),
        json_bomb("depth, support", "/v1/adapt-predict", nested("{\"support\": ")),
        json_bomb("depth, an input", "/v1/adapt-predict", nested("{\"query\": [")),
        json_bomb("depth, texts", "/v1/classify", nested("{\"inputs\": ")),
        json_bomb("depth, a tensor", "/v2/models/task_00000000000000000000000000/infer", nested("{\"inputs\": ")),
    ]
}

fn wide() -> Vec<Bomb> {
    let predict = "{\"base_model\": \"plane\", \"support\": [], \"query\": [";
    vec![
        json_bomb("empty arrays", "/v1/adapt-predict", long(predict, "[],", "[]]}")),
        json_bomb("empty objects", "/v1/adapt-predict", long("{\"support\": [", "{},", "{}]}")),
        json_bomb("empty texts", "/v1/adapt-predict", long(predict, "\"\",", "\"\"]}")),
        json_bomb(
            "short examples",
            "/v1/adapt-predict",
            long("{\"support\": [", "{\"input\":[]},", "{\"input\":[]}]}"),
        ),
        json_bomb("zeros in a vector", "/v1/adapt-predict", long(&format!("{predict}["), "0,", "0]]}")),
        json_bomb("a shape without end", "/v1/adapt-predict", long(&format!("{predict}{{\"shape\": ["), "1,", "1]}]}")),
        json_bomb(
            "labels",
            "/v1/tasks",
            long("{\"name\": \"n\", \"base_model\": \"plane\", \"labels\": [", "\"a\",", "\"\"]}"),
        ),
        json_bomb("metadata, a list", "/v1/tasks", long("{\"metadata\": {\"a\": [", "1,", "1]}}")),
        json_bomb("metadata, lists", "/v1/tasks", long("{\"metadata\": {\"a\": [", "[],", "[]]}}")),
        json_bomb("one member again and again", "/v1/tasks", long("{\"name\": \"n\"", ",\"name\": \"n\"", "}")),
        json_bomb("unknown members", "/v1/tasks", long("{\"name\": \"n\"", ",\"a\": 0", "}")),
        json_bomb("texts to classify", "/v1/classify", long("{\"inputs\": [", "\"\",", "\"\"]}")),
        json_bomb("spaces", "/v1/tasks", long("{", " ", "}")),
        json_bomb(
            "a long label",
            "/v1/tasks",
            long("{\"name\": \"n\", \"base_model\": \"plane\", \"labels\": [\"", "\\u0061", "\"]}"),
        ),
        json_bomb(
            "versions",
            "/v1/tasks/task_00000000000000000000000000/compare",
            long("{\"versions\": [", "1,", "1]}"),
        ),
    ]
}

fn numbers() -> Vec<Bomb> {
    let vector = |number: &str| with_query(&format!("[{number}, 0]"));
    let digits = "9".repeat(LARGE);
    [
        ("a number of millions of digits", vector(&digits)),
        ("a negative number of millions of digits", vector(&format!("-{digits}.0"))),
        ("an exponent of millions of digits", vector(&format!("1e{digits}"))),
        ("a huge exponent", vector("1e999999999")),
        ("just too large for 32 bits", vector("1e39")),
        (
            "a shape that is the whole address space",
            with_query("{\"shape\": [4294967296, 4294967296], \"values\": []}"),
        ),
        ("a shape whose product is 0 by overflow", with_query("{\"shape\": [9223372036854775808, 2], \"values\": []}")),
        ("a large shape and no values", with_query("{\"shape\": [1, 100000, 100000], \"values\": [0]}")),
    ]
    .map(|(name, body)| json_bomb(name, "/v1/adapt-predict", body))
    .into()
}

fn with_query(input: &str) -> String {
    let body = adapt_predict().to_string();
    let place = body.find("\"query\":").unwrap() + "\"query\":".len();
    let end = place + body[place..].find("]]").unwrap() + 2;
    format!("{}[{input}]{}", &body[..place], &body[end..])
}

fn images() -> Vec<Bomb> {
    let picture = |name, file: &[u8]| {
        let query = json!([{"image": base64(file)}]);
        let body = json!({
            "base_model": "marks",
            "support": [{"input": {"image": base64(&png(16, 16, [8, 0], &[0; 17 * 16]))}, "label": "a"}],
            "query": query
        });
        json_bomb(name, "/v1/adapt-predict", body.to_string())
    };
    let plain = png(16, 16, [8, 0], &[0; 17 * 16]);
    let animated = {
        let mut file = plain[..33].to_vec();
        chunk(&mut file, *b"acTL", &[0xff; 8]);
        file.extend(&plain[33..plain.len() / 2]);
        file
    };
    let text = {
        let mut file = plain[..33].to_vec();
        let mut packed = ZlibEncoder::new(b"a\0\0".to_vec(), Compression::best());
        packed.write_all(&vec![0; 200 << 20]).unwrap();
        chunk(&mut file, *b"zTXt", &packed.finish().unwrap());
        file.extend(&plain[33..plain.len() / 2]);
        file
    };
    let jpeg = |side: u16| {
        let [high, low] = side.to_be_bytes();
        let mut file = vec![0xff, 0xd8, 0xff, 0xc0, 0, 11, 8, high, low, high, low, 1, 1, 0x11, 0];
        file.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0]);
        file
    };
    let webp = {
        let mut file = b"RIFF\xff\xff\xff\x7fWEBPVP8L\xff\xff\xff\x7e\x2f".to_vec();
        file.extend(0x0fff_ffff_u32.to_le_bytes()); // 16384 by 16384
        file
    };
    let garbage = vec![0x5a; LARGE / 4 * 3 - 4096];
    vec![
        picture("a picture of 60000 by 60000", &png(60_000, 60_000, [8, 0], &[0; 100])),
        picture("a picture of 2^31 by 2^31", &png(0x7fff_ffff, 0x7fff_ffff, [8, 0], &[0; 100])),
        picture("a picture as wide as may be and one too high", &png(4096, 4097, [8, 0], &[0; 100])),
        picture("sixteen bits and four channels", &png(4096, 4096, [16, 6], &vec![0; 4096 * (8 * 4096 + 1)])),
        picture("eight bits and four channels", &png(4096, 4096, [8, 6], &vec![0; 4096 * (4 * 4096 + 1)])),
        picture("more pixels than the file says", &png(16, 16, [8, 0], &vec![0; 64 << 20])[..40_000]),
        picture("an animation of 2^32 frames", &animated),
        picture("a text of 200 MB in a picture", &text),
        picture("a JPEG of 65535 by 65535", &jpeg(65_535)),
        picture("a JPEG of 4096 by 4096 and no data", &jpeg(4096)),
        picture("a WebP of 16384 by 16384", &webp),
        picture("half a picture", &plain[..plain.len() / 2]),
        picture("a drawing", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"),
        picture("a TIFF", b"II*\0\x08\0\0\0\xff\xff"),
        picture("a GIF of 65535 by 65535", b"GIF89a\xff\xff\xff\xff\xf0\0\0"),
        picture("no picture", &garbage),
        json_bomb("no base64", "/v1/adapt-predict", with_query("{\"image\": \"!\"}").replace('!', &"!".repeat(LARGE))),
    ]
}

fn png(width: u32, height: u32, [depth, colour]: [u8; 2], rows: &[u8]) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(&mut file, *b"IHDR", &[&size[..], &[depth, colour, 0, 0, 0]].concat());
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::best());
    packed.write_all(rows).unwrap();
    chunk(&mut file, *b"IDAT", &packed.finish().unwrap());
    chunk(&mut file, *b"IEND", &[]);
    file
}

fn chunk(file: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    let named = [&kind[..], data].concat();
    let sum = flate2::Crc::new();
    let sum = {
        let mut sum = sum;
        sum.update(&named);
        sum.sum()
    };
    file.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    file.extend(named);
    file.extend(sum.to_be_bytes());
}

/// What unfolds on the way in.
fn packed() -> Vec<Bomb> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&vec![b' '; 300 << 20]).unwrap();
    let gzip = gzip.finish().unwrap();
    let encoded = |name, encoding: &str, body: &[u8]| Bomb {
        headers: format!("content-type: application/json\r\ncontent-encoding: {encoding}\r\n"),
        ..json_bomb(name, "/v1/adapt-predict", body)
    };
    let typed = |name, media_type: &str, body: &[u8]| Bomb {
        headers: format!("content-type: {media_type}\r\n"),
        ..json_bomb(name, "/v1/adapt-predict", body)
    };
    let part = "--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n\r\n".repeat(100_000);
    vec![
        encoded("gzip", "gzip", &gzip),
        encoded("gzip twice", "gzip, gzip", &gzip),
        encoded("an encoding that is none", "gzip-of-zstd-of-br", &gzip),
        typed("a zip", "application/zip", b"PK\x03\x04\xff\xff\xff\xff"),
        typed("many parts", "multipart/form-data; boundary=b", part.as_bytes()),
        typed("a long boundary", &format!("multipart/form-data; boundary={}", "b".repeat(8_000)), b"--"),
    ]
}

/// Files of weights. The task is not there, and the file is looked at only after that.
fn weights() -> Vec<Bomb> {
    let path = "/v1/tasks/task_00000000000000000000000000/adapters/import";
    let import = |name, file: &[u8]| json_bomb(name, path, json!({"weights": base64(file)}).to_string());
    let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let shape = r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}}"#;
    let names: Vec<String> =
        (0..50_000).map(|n| format!(r#""{n}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)).collect();
    vec![
        import("a header as long as can be written", &[0xff; 64]),
        import("a shape that overflows", &header(shape)),
        import("very many tensors", &header(&format!("{{{}}}", names.join(",")))),
    ]
}

fn protocol() -> Vec<Bomb> {
    let header = |name, headers: String| Bomb { headers, ..json_bomb(name, "/v1/adapt-predict", "{}") };
    let many = (0..5_000).fold(String::new(), |all, number| format!("{all}x-{number}: a\r\n"));
    let mut endless = Vec::new();
    for _ in 0..40 {
        endless.extend(format!("{:x}\r\n", 1 << 19).into_bytes());
        endless.extend(vec![b' '; 1 << 19]);
        endless.extend(b"\r\n");
    }
    vec![
        header("a header of a megabyte", format!("x-long: {}\r\n", "a".repeat(1 << 20))),
        header("five thousand headers", many),
        Bomb {
            headers: "content-type: application/json\r\ntransfer-encoding: chunked\r\n".to_owned(),
            ..json_bomb("chunks without end", "/v1/adapt-predict", endless)
        },
        json_bomb("more than the largest body", "/v1/adapt-predict", vec![b' '; 64 << 20]),
    ]
}
