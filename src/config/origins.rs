//! Origins of pages, as browsers name them.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// Pages of which origins may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Of no other.
    #[default]
    None,
    /// Of any.
    All,
    /// Of these: each a scheme, a host, and a port if it is not the scheme's own.
    These(Vec<String>),
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Ok(Self::None),
            "*" => Ok(Self::All),
            list => list.split(',').map(|origin| origin_of(origin.trim())).collect::<Result<_, _>>().map(Self::These),
        }
    }
}

/// As a browser writes it: a page's address up to its path.
fn origin_of(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is no origin; it is written `https://app.example.com`, without a path");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let origin = url.origin();
    let is_bare = matches!(url.scheme(), "http" | "https") && url.path() == "/" && !text.ends_with('/');
    let is_bare = is_bare && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if is_bare && url.password().is_none() { Ok(origin.ascii_serialization()) } else { Err(wrong()) }
}

impl fmt::Display for Origins {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::All => out.write_str("*"),
            Self::These(list) => out.write_str(&list.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_write_them() -> Result<(), String> {
        assert_eq!("".parse(), Ok(Origins::None));
        assert_eq!("*".parse(), Ok(Origins::All));
        let these = Origins::from_str("https://App.example.com:443, http://localhost:3000")?;
        assert_eq!(these.to_string(), "https://app.example.com,http://localhost:3000");
        assert_eq!(these.to_string().parse(), Ok(these));
        Ok(())
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        let wrong = [
            "app.example.com",
            "https://a.b/",
            "https://a.b/c",
            "ftp://a.b",
            "https://u:p@a.b",
            "https://a.b,*",
            "null",
            ",",
        ];
        for text in wrong {
            assert!(Origins::from_str(text).is_err(), "{text}");
        }
    }
}
