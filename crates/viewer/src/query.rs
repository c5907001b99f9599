//! What a reader has chosen: the query of an address. Values that cannot be are as if they were not there, since a
//! reader may have changed the address by hand.

use std::fmt::{self, Write as _};

use serde::Deserialize;

/// As it is written.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Written {
    #[serde(default)]
    show: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    q: String,
    #[serde(default)]
    t: String,
    #[serde(default)]
    page: String,
}

/// Which cases are listed, and in which order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Query {
    pub(crate) show: Show,
    pub(crate) sort: Sort,
    /// Part of a path or of a patient's key.
    pub(crate) search: String,
    /// The threshold, if it is not the run's.
    pub(crate) threshold: Option<f64>,
    /// Counted from 0.
    pub(crate) page: usize,
}

/// The cases that are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Show {
    #[default]
    All,
    Wrong,
    /// Those of a true and a predicted class.
    Pair(usize, usize),
}

/// Their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    /// What needs a person first.
    #[default]
    First,
    High,
    Low,
    Name,
}

impl Sort {
    pub(crate) const ALL: [Sort; 4] = [Sort::First, Sort::High, Sort::Low, Sort::Name];

    /// As it is written in an address.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Sort::First => "first",
            Sort::High => "high",
            Sort::Low => "low",
            Sort::Name => "name",
        }
    }
}

impl fmt::Display for Show {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Show::All => f.write_str("all"),
            Show::Wrong => f.write_str("wrong"),
            Show::Pair(truth, predicted) => write!(f, "{truth}-{predicted}"),
        }
    }
}

impl Show {
    fn of(text: &str) -> Self {
        let pair = text.split_once('-').and_then(|(truth, predicted)| {
            Some(Show::Pair(truth.parse().ok()?, predicted.parse().ok()?))
        });
        match text {
            "wrong" => Show::Wrong,
            _ => pair.unwrap_or_default(),
        }
    }
}

impl From<Written> for Query {
    fn from(written: Written) -> Self {
        let sort = Sort::ALL
            .into_iter()
            .find(|sort| sort.key() == written.sort);
        let threshold = written.t.parse().ok().filter(|t| (0.0..=1.0).contains(t));
        Query {
            show: Show::of(&written.show),
            sort: sort.unwrap_or_default(),
            search: written.q.trim().to_owned(),
            threshold,
            page: written.page.parse().unwrap_or(0),
        }
    }
}

impl Query {
    /// As the query of an address: empty, or from `?` on.
    pub(crate) fn text(&self) -> String {
        let mut parts: Vec<String> = vec![];
        if self.show != Show::All {
            parts.push(format!("show={}", self.show));
        }
        if self.sort != Sort::First {
            parts.push(format!("sort={}", self.sort.key()));
        }
        if !self.search.is_empty() {
            parts.push(format!("q={}", encoded(&self.search)));
        }
        if let Some(threshold) = self.threshold {
            parts.push(format!("t={threshold}"));
        }
        if self.page > 0 {
            parts.push(format!("page={}", self.page));
        }
        match parts.is_empty() {
            true => String::new(),
            false => format!("?{}", parts.join("&")),
        }
    }

    /// The first page of other cases.
    pub(crate) fn showing(&self, show: Show) -> Self {
        Query {
            show,
            page: 0,
            ..self.clone()
        }
    }

    /// Another page.
    pub(crate) fn at_page(&self, page: usize) -> Self {
        Query {
            page,
            ..self.clone()
        }
    }
}

/// Text in a query, by RFC 3986.
fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(out, "%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pairs: &[(&str, &str)]) -> Query {
        let mut written = Written::default();
        for (key, value) in pairs {
            let field = match *key {
                "show" => &mut written.show,
                "sort" => &mut written.sort,
                "q" => &mut written.q,
                "t" => &mut written.t,
                _ => &mut written.page,
            };
            *field = (*value).into();
        }
        written.into()
    }

    #[test]
    fn a_query_is_written_as_it_is_read() {
        let pairs = [
            ("show", "1-0"),
            ("sort", "low"),
            ("q", "a&b ü"),
            ("t", "0.435248"),
            ("page", "2"),
        ];
        let query = written(&pairs);
        assert_eq!(query.show, Show::Pair(1, 0));
        assert_eq!(
            query.text(),
            "?show=1-0&sort=low&q=a%26b%20%C3%BC&t=0.435248&page=2"
        );
        assert_eq!(Query::default().text(), "");
    }

    #[test]
    fn what_cannot_be_is_as_if_absent() {
        for (key, value) in [
            ("show", "1-x"),
            ("sort", "up"),
            ("t", "1.5"),
            ("t", "NaN"),
            ("page", "-1"),
        ] {
            assert_eq!(written(&[(key, value)]), Query::default(), "{key}={value}");
        }
    }
}
