//! URLs as strangers write them: what is taken leads nowhere inside.

use super::address::is_public;
use super::{Host, Place};
use crate::config::Reach;
use crate::fuzz::hammer;

#[test]
fn places() {
    let samples = [
        "https://example.com/hook?a=1#x",
        "https://example.com:8443/",
        "https://0x7f.1/",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/a b",
        "http://user:secret@example.com./",
        "https://ex\u{e4}mple.com/%00",
        "https://169.254.169.254/latest",
    ];

    hammer("places", &samples.map(str::as_bytes), |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(place) = Place::parse(&text, Reach::Public) {
            assert!(place.is_secret && matches!(place.port, 443 | 8443));
            match &place.host {
                Host::Address(address) => assert!(is_public(*address)),
                Host::Name(name) => assert!(name.contains('.')),
            }
            assert!(!place.target.contains(['\r', '\n', ' ']) && !place.authority.contains(['\r', '\n', '@']));
        }
        let _ = Place::parse(&text, Reach::Anywhere);
    });
}
