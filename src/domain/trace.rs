//! Traces: to which request of whose a piece of work belongs, in the words of W3C Trace Context (`traceparent`).

use std::fmt;

use super::IdSource;

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; not 0.
    pub trace: u128,
    /// The span of whoever is asked by: the parent of what is done; not 0.
    pub span: u64,
    /// Bit 0: whether the caller records it.
    pub flags: u8,
}

impl TraceContext {
    /// A trace that begins here, and that nobody is known to record.
    pub fn fresh(ids: &dyn IdSource) -> Self {
        let [trace, span] = [ids.bits(), ids.bits()].map(u128::from_be_bytes);
        #[expect(clippy::cast_possible_truncation, reason = "any 64 of the bits will do")]
        Self { trace: trace.max(1), span: (span as u64).max(1), flags: 0 }
    }

    /// From a `traceparent`; `None` if it is none. Of a later version what is known of this one.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace, span, flags, rest @ ..] = &parts[..] else { return None };
        let is_hex = |part: &str, digits: usize| {
            part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_read = is_hex(version, 2) && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
        if !is_read || *version == "ff" || (*version == "00" && !rest.is_empty()) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|trace| *trace != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|span| *span != 0)?;
        Some(Self { trace, span, flags: u8::from_str_radix(flags, 16).ok()? & 1 })
    }

    /// The same trace, for whoever is asked by `span`.
    #[must_use]
    pub fn within(self, span: u64) -> Self {
        Self { span, ..self }
    }

    /// The trace's name in logs.
    pub fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl std::str::FromStr for TraceContext {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| format!("`{text}` is no traceparent"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SeededIds;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_survives_the_round_trip_and_what_is_none_is_not_taken_for_one() {
        let context = TraceContext::parse(GIVEN).expect("the specification's own example");
        assert_eq!((context.to_string().as_str(), context.flags), (GIVEN, 1));
        let later = TraceContext::parse(&GIVEN.replace("00-0", "cc-0").replace("-01", "-01-what-comes"));
        assert_eq!(later, Some(context));
        for wrong in [
            "",
            "00",
            &GIVEN.to_uppercase(),
            &GIVEN.replace("00-0", "ff-0"),
            &format!("{GIVEN}-more"),
            &GIVEN[1..],
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(TraceContext::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_fresh_trace_is_one_that_can_be_read() {
        let fresh = TraceContext::fresh(&SeededIds::new(1));

        assert_eq!(TraceContext::parse(&fresh.to_string()), Some(fresh));
    }
}
