//! Who may ask: the token, the name under which the service is asked, and how much one client asks at once.

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use files::sha256;

use crate::problem::Problem;

/// Fewest characters of a token: 96 bits in base64.
const SHORTEST: usize = 16;

/// A secret that clients state. Only its hash is kept, so it cannot appear in a message or a dump of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    sha256: String,
}

impl Token {
    /// # Errors
    /// The token is too short to be a secret, or contains spaces or control characters.
    pub fn new(secret: &str) -> Result<Self> {
        if secret.len() < SHORTEST {
            bail!(
                "the token has {} characters; {SHORTEST} are needed, such as those of `openssl rand -base64 24`",
                secret.len()
            );
        }
        if !secret.chars().all(|c| c.is_ascii_graphic()) {
            bail!("the token contains characters that cannot stand in an HTTP header");
        }
        let sha256 = sha256::hex(secret.as_bytes());
        Ok(Token { sha256 })
    }

    /// Reads the token from the first line of a file.
    ///
    /// # Errors
    /// The file cannot be read, or contains no usable token.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path);
        let text = text.with_context(|| format!("cannot read {}", path.display()))?;
        let line = text.lines().next().unwrap_or_default();
        Self::new(line.trim()).with_context(|| format!("{}", path.display()))
    }

    /// Whether a request states the token: as `Bearer`, or as the password of `Basic`, which browsers can ask for.
    ///
    /// Hashes are compared, so that the time taken says nothing about the token.
    fn is_stated(&self, headers: &HeaderMap) -> bool {
        let stated = headers.get(header::AUTHORIZATION);
        let stated = stated
            .and_then(|value| value.to_str().ok())
            .and_then(secret);
        stated.is_some_and(|secret| sha256::hex(secret.as_bytes()) == self.sha256)
    }
}

fn secret(authorization: &str) -> Option<String> {
    let (scheme, rest) = authorization.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().to_owned()),
        "basic" => {
            let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
            Some(decoded.split_once(':')?.1.to_owned())
        }
        _ => None,
    }
}

/// Refuses a request without the token. Without a token, a request must name this machine by address or as localhost:
/// otherwise a web page could reach a service on its visitor's machine under a name of its own (DNS rebinding).
pub(crate) fn check(token: Option<&Token>, headers: &HeaderMap) -> Result<(), Problem> {
    match token {
        Some(token) if token.is_stated(headers) => Ok(()),
        Some(_) => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "state the service's token: `Authorization: Bearer TOKEN`",
        )),
        None if is_local(headers) => Ok(()),
        None => Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this service has no token, and is therefore reachable by address or as localhost only",
        )),
    }
}

fn is_local(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let Some(host) = host else {
        // HTTP/1.0 without a host cannot come from a browser.
        return true;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// The address that a request came from, in its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) IpAddr);

/// The number of requests of each client.
#[derive(Clone, Default)]
pub(crate) struct Clients(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A request of a client; dropping it counts it out.
pub(crate) struct Counted {
    clients: Clients,
    client: IpAddr,
}

impl Clients {
    /// Counts a request in, unless the client has `most` already.
    pub(crate) fn count(&self, client: IpAddr, most: Option<usize>) -> Result<Counted, Problem> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_insert(0);
        if most.is_some_and(|most| *count >= most) {
            return Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                format!("{count} requests from this address are being answered; wait for them"),
            ));
        }
        *count += 1;
        Ok(Counted {
            clients: self.clone(),
            client,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self
            .clients
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn the_token_is_taken_as_bearer_and_as_a_password() {
        let token = Token::new("0123456789abcdef").unwrap();
        let check = |value: &str| {
            check(Some(&token), &headers(header::AUTHORIZATION, value)).map_err(|p| p.status)
        };
        assert_eq!(check("Bearer 0123456789abcdef"), Ok(()));
        assert_eq!(check("bearer 0123456789abcdef"), Ok(()));
        let basic = format!("Basic {}", STANDARD.encode("anyone:0123456789abcdef"));
        assert_eq!(check(&basic), Ok(()));
        for wrong in [
            "Bearer 0123456789abcdeF",
            "Bearer",
            "0123456789abcdef",
            "Basic !",
        ] {
            assert_eq!(check(wrong), Err(StatusCode::UNAUTHORIZED), "{wrong}");
        }
    }

    #[test]
    fn short_tokens_and_tokens_with_spaces_are_refused() {
        assert!(Token::new("short").is_err());
        assert!(Token::new("0123456789 abcdef").is_err());
    }

    #[test]
    fn without_a_token_only_addresses_and_localhost_are_answered() {
        let check = |host: &str| check(None, &headers(header::HOST, host)).is_ok();
        for local in [
            "localhost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
            "127.0.0.1",
        ] {
            assert!(check(local), "{local}");
        }
        for other in [
            "evil.example:8080",
            "evil.example",
            "127.0.0.1.evil.example",
        ] {
            assert!(!check(other), "{other}");
        }
    }

    #[test]
    fn requests_of_a_client_are_counted_in_and_out() {
        let (clients, client) = (Clients::default(), IpAddr::from([127, 0, 0, 1]));
        let first = clients.count(client, Some(1)).unwrap();
        assert!(clients.count(client, Some(1)).is_err());
        drop(first);
        assert!(clients.count(client, Some(1)).is_ok());
        assert!(clients.0.lock().unwrap().is_empty());
    }
}
