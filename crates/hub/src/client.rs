//! The hub over HTTPS: a file's description, and its bytes from any offset.

use std::io::Read;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

use files::sha256;

use crate::HubError;

/// Maximum number of redirects: the hub needs one or two.
const HOPS: usize = 5;

/// A client of one endpoint.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
}

/// The hub's description of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Description {
    /// Checksum, for a file in large-file storage.
    pub(crate) sha256: Option<String>,
    /// Size in bytes.
    pub(crate) size: Option<u64>,
    /// The revision's commit.
    pub(crate) commit: Option<String>,
}

/// The bytes from `start` on.
pub(crate) struct Bytes {
    pub(crate) start: u64,
    pub(crate) size: Option<u64>,
    pub(crate) reader: Box<dyn Read>,
}

impl Client {
    pub(crate) fn new(endpoint: &str, stall: Duration) -> Client {
        let local = ["//127.0.0.1", "//localhost", "//[::1]"];
        let mut config = Agent::config_builder()
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .https_only(endpoint.starts_with("https://"))
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            // Per read: a whole body may take hours on a slow connection, but no single read should stall.
            .timeout_per_read(Some(stall))
            .user_agent(concat!("eff-unet/", env!("CARGO_PKG_VERSION")));
        if local.iter().any(|host| endpoint.contains(host)) {
            config = config.proxy(None); // a proxy's localhost is a different machine
        }
        Client {
            agent: config.build().into(),
            endpoint: endpoint.trim_end_matches('/').into(),
        }
    }

    /// Address of a file of a repository.
    pub(crate) fn url(&self, repo: &str, revision: &str, file: &str) -> String {
        format!("{}/{repo}/resolve/{revision}/{file}", self.endpoint)
    }

    /// Requests the headers. The hub's own response has them (`X-Linked-Etag` is the SHA-256), while the storage that
    /// it redirects to may not; so they are collected along the redirects, and the first value of each is kept.
    pub(crate) fn describe(&self, url: &str) -> Result<Description, HubError> {
        let mut found = Description::default();
        let response = self.follow(
            url,
            |address| self.agent.head(address).call(),
            |headers| found.learn(headers),
        )?;
        match response.status() {
            StatusCode::OK => Ok(found),
            // Storage may sign its addresses for GET only; the hub's own headers are sufficient.
            StatusCode::FORBIDDEN if found.sha256.is_some() => Ok(found),
            other => Err(status(url, other)),
        }
    }

    /// The file from an offset on; a server without range support starts at 0.
    pub(crate) fn bytes(&self, url: &str, from: u64) -> Result<Bytes, HubError> {
        let range = format!("bytes={from}-");
        let call = |address: &str| {
            let request = self.agent.get(address);
            match from {
                0 => request.call(),
                _ => request.header("Range", &range).call(),
            }
        };
        let response = self.follow(url, call, |_| {})?;
        let length = number(response.headers(), "content-length");
        let start = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT if starts_at(response.headers(), from) => from,
            other => return Err(status(url, other)),
        };
        Ok(Bytes {
            start,
            size: length.map(|n| n + start),
            reader: Box::new(response.into_body().into_reader()),
        })
    }

    fn follow(
        &self,
        url: &str,
        call: impl Fn(&str) -> Result<Response<Body>, ureq::Error>,
        mut see: impl FnMut(&HeaderMap),
    ) -> Result<Response<Body>, HubError> {
        let mut address = url.to_owned();
        for _ in 0..HOPS {
            let response = call(&address).map_err(|e| HubError::Network {
                url: address.clone(),
                why: e.to_string(),
            })?;
            see(response.headers());
            match text(response.headers(), "location")
                .filter(|_| response.status().is_redirection())
            {
                Some(location) => address = absolute(&address, location),
                None => return Ok(response),
            }
        }
        Err(HubError::Network {
            url: url.into(),
            why: format!("more than {HOPS} redirects"),
        })
    }
}

impl Description {
    fn learn(&mut self, headers: &HeaderMap) {
        let quoted =
            |name| text(headers, name).map(|t| t.trim_start_matches("W/").trim_matches('"'));
        let sum = ["x-linked-etag", "etag"]
            .into_iter()
            .filter_map(quoted)
            .find(|t| sha256::is_sum(t));
        let size = number(headers, "x-linked-size");
        let commit = text(headers, "x-repo-commit");
        self.sha256 = self.sha256.take().or(sum.map(str::to_lowercase));
        self.size = self.size.or(size);
        self.commit = self.commit.take().or(commit.map(str::to_owned));
    }
}

fn status(url: &str, status: StatusCode) -> HubError {
    HubError::Status {
        url: url.into(),
        status: status.as_u16(),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

/// `Content-Range: bytes FROM-…`.
fn starts_at(headers: &HeaderMap, from: u64) -> bool {
    text(headers, "content-range").is_some_and(|t| t.starts_with(&format!("bytes {from}-")))
}

/// A redirect's address, which may omit the server.
fn absolute(from: &str, location: &str) -> String {
    let host_at = from.find("://").map_or(0, |i| i + 3);
    let host_end = from[host_at..]
        .find('/')
        .map_or(from.len(), |i| host_at + i);
    match location.starts_with('/') {
        true => format!("{}{location}", &from[..host_end]),
        false => location.into(),
    }
}
