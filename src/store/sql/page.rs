//! Keyset pages: `WHERE (created_at, id) < (…, …) ORDER BY created_at DESC, id DESC LIMIT …`.

use std::fmt::Display;

use super::row::number;
use crate::store::Page;

/// The three values that such a statement binds.
pub(super) struct Bounds {
    pub(super) created_at: i64,
    pub(super) id: String,
    pub(super) limit: i64,
}

impl<Id: Display> From<Page<Id>> for Bounds {
    fn from(page: Page<Id>) -> Self {
        let limit = number(page.limit);
        match page.after {
            Some((created_at, id)) => Self { created_at: created_at.millis(), id: id.to_string(), limit },
            None => Self { created_at: i64::MAX, id: String::new(), limit },
        }
    }
}
