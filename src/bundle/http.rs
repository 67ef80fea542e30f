//! HTTP for downloads: retries, final errors, and anonymous registry tokens.
//!
//! A registry may answer the first request with a challenge (`WWW-Authenticate: Bearer ...`) and
//! issue a token to anonymous users. [`Http`] handles that, so that its callers only see files,
//! never tokens.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::BundleError;
use super::releases::{Patience, Sources};

/// The longest pause before another attempt, whatever a server requests.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Maximum size in bytes of checksum lists, manifests and tokens; anything larger is something
/// else.
const SMALL: usize = 4 << 20;

/// A client for the hosts of [`Sources`].
#[derive(Debug)]
pub struct Http {
    client: reqwest::Client,
    patience: Patience,
    /// Anonymous tokens by the challenge that they answer.
    tokens: Mutex<HashMap<Challenge, String>>,
}

/// Why a request failed.
#[derive(Debug)]
pub enum Trouble {
    /// It may succeed the next time.
    Passing {
        /// What happened.
        why: String,
        /// How long the server asks to wait.
        pause: Option<Duration>,
    },
    /// It will fail again.
    Final(BundleError),
}

/// The response to a small request.
#[derive(Debug, Clone)]
pub struct Small {
    /// The body.
    pub bytes: Vec<u8>,
    /// Its `Content-Type`.
    pub media_type: Option<String>,
}

/// A registry's challenge.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Challenge {
    realm: String,
    service: Option<String>,
    scope: Option<String>,
}

/// A token endpoint's response; registries use either name.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Http {
    /// Creates a client with the time limits of `sources`.
    ///
    /// # Errors
    /// If TLS cannot be set up on the workstation.
    pub fn new(sources: &Sources) -> Result<Self, BundleError> {
        let bases = [&sources.kubernetes, &sources.github, &sources.registry];
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("labctl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(sources.patience.connect)
            .read_timeout(sources.patience.stall)
            // If all hosts use HTTPS, no redirect may leave it, because checksums come the same
            // way.
            .https_only(bases.iter().all(|base| base.starts_with("https://")));
        if bases.iter().all(|base| is_loopback(base)) {
            // A mirror on the workstation must not be reached through a proxy.
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| BundleError::Io {
            what: "prepare for downloads".into(),
            why: format!("{}; are CA certificates installed on the workstation?", chain(error)),
        })?;
        Ok(Self { client, patience: sources.patience, tokens: Mutex::default() })
    }

    /// Starts to download `url` from byte `offset`. The status of the response is 200, 206 or, with
    /// an offset, 416.
    ///
    /// # Errors
    /// Returns what went wrong, and whether a retry may help.
    pub async fn get(&self, url: &str, offset: u64) -> Result<Response, Trouble> {
        let response = self.send(Method::GET, url, None, (offset > 0).then_some(offset)).await?;
        match response.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => Ok(response),
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => Ok(response),
            _ => Err(refusal(url, &response)),
        }
    }

    /// Returns the size of the file at `url` in bytes, if the server reports it. Failing is not an
    /// error: the size is only for the progress bar, and problems are reported when the file is
    /// downloaded.
    pub async fn size_of(&self, url: &str) -> Option<u64> {
        let response = self.send(Method::HEAD, url, None, None).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let length = response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
        // Some proxies answer HEAD with the length of its empty body.
        Some(length).filter(|length| *length > 0)
    }

    /// Downloads a small file, with retries.
    ///
    /// # Errors
    /// If it does not exist, is not small, or all attempts failed.
    pub async fn small(&self, url: &str, accept: Option<&str>) -> Result<Small, BundleError> {
        let mut failed = 0;
        loop {
            match self.small_once(url, accept).await {
                Ok(small) => return Ok(small),
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing { why, pause }) => {
                    failed += 1;
                    self.rest(url, failed, why, pause).await?;
                }
            }
        }
    }

    /// Waits before another attempt after `failed` attempts without progress.
    ///
    /// # Errors
    /// Returns the last attempt's error when there are no attempts left.
    pub async fn rest(
        &self,
        url: &str,
        failed: u32,
        why: String,
        pause: Option<Duration>,
    ) -> Result<(), BundleError> {
        if failed >= self.patience.attempts {
            let why = format!(
                "{why} ({failed} attempts); check the network, or run this again: the download \
                resumes"
            );
            return Err(BundleError::download(url, why));
        }
        let doubled =
            self.patience.pause.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1)));
        tokio::time::sleep(pause.unwrap_or(doubled).min(LONGEST_PAUSE)).await;
        Ok(())
    }

    async fn small_once(&self, url: &str, accept: Option<&str>) -> Result<Small, Trouble> {
        let response = self.send(Method::GET, url, accept, None).await?;
        if !response.status().is_success() {
            return Err(refusal(url, &response));
        }
        let media_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let bytes = small_body(url, response).await?;
        Ok(Small { bytes, media_type })
    }

    /// Sends one request, with a token if the server requires one.
    async fn send(
        &self,
        method: Method,
        url: &str,
        accept: Option<&str>,
        offset: Option<u64>,
    ) -> Result<Response, Trouble> {
        let request = |url: Url, token: Option<&str>| {
            let mut request = self.client.request(method.clone(), url);
            if let Some(accept) = accept {
                request = request.header(ACCEPT, accept);
            }
            if let Some(offset) = offset {
                request = request.header(RANGE, format!("bytes={offset}-"));
            }
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            request.send()
        };
        let parsed = Url::parse(url).map_err(|error| {
            Trouble::Final(BundleError::download(url, format!("not a valid URL: {error}")))
        })?;
        let mut response = request(parsed, None).await.map_err(|error| trouble(url, error))?;
        // Twice, because a cached token may have expired.
        for fresh in [false, true] {
            if response.status() != StatusCode::UNAUTHORIZED {
                break;
            }
            let Some(challenge) = challenge_of(&response) else { break };
            let token = self.token(url, response.url(), challenge, fresh).await?;
            // A redirect led to the host that sent the challenge; the token is only for that host.
            response = request(response.url().clone(), Some(&token))
                .await
                .map_err(|error| trouble(url, error))?;
        }
        Ok(response)
    }

    async fn token(
        &self,
        url: &str,
        asked_by: &Url,
        challenge: Challenge,
        fresh: bool,
    ) -> Result<String, Trouble> {
        let kept = self
            .tokens
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(&challenge)
            .cloned();
        if let Some(token) = kept.filter(|_| !fresh) {
            return Ok(token);
        }
        let refuse =
            |why: &str| Trouble::Final(BundleError::download(url, format!("no access: {why}")));
        let mut realm = Url::parse(&challenge.realm)
            .map_err(|_| refuse("the registry's token URL is not valid"))?;
        if asked_by.scheme() == "https" && realm.scheme() != "https" {
            return Err(refuse("the registry asks to fetch a token without TLS"));
        }
        {
            let mut query = realm.query_pairs_mut();
            for (key, value) in [("service", &challenge.service), ("scope", &challenge.scope)] {
                if let Some(value) = value {
                    query.append_pair(key, value);
                }
            }
        }
        let response = self
            .client
            .get(realm)
            .send()
            .await
            .map_err(|error| trouble(&challenge.realm, error))?;
        if !response.status().is_success() {
            return Err(refusal(&challenge.realm, &response));
        }
        let body = small_body(&challenge.realm, response).await?;
        let answer: TokenAnswer = serde_json::from_slice(&body)
            .map_err(|_| refuse("the registry's token response is not JSON"))?;
        let token = answer
            .token
            .or(answer.access_token)
            .ok_or_else(|| refuse("the registry gives no token to anonymous users"))?;
        self.tokens
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(challenge, token.clone());
        Ok(token)
    }
}

/// Converts a failure of a connection or a body; nearly all of them are worth a retry.
pub(super) fn trouble(url: &str, error: reqwest::Error) -> Trouble {
    if error.is_builder() || error.is_redirect() {
        return Trouble::Final(BundleError::download(url, chain(error)));
    }
    let why = if error.is_timeout() && error.is_connect() {
        "connecting timed out".to_owned()
    } else if error.is_timeout() {
        "the server stalled: no data for too long".to_owned()
    } else if error.is_connect() {
        format!("cannot connect: {}", chain(error))
    } else {
        format!("the connection broke: {}", chain(error))
    };
    Trouble::Passing { why, pause: None }
}

/// Converts an unexpected status.
fn refusal(url: &str, response: &Response) -> Trouble {
    let status = response.status();
    let code = status.as_u16();
    if status.is_server_error() || matches!(code, 408 | 425 | 429) {
        let asked =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        return Trouble::Passing {
            why: format!("the server answered {status}"),
            pause: asked.map(Duration::from_secs),
        };
    }
    let why = match code {
        404 | 410 => {
            format!(
                "the server does not have this file ({status}); does this version exist, and does \
                the mirror carry it?"
            )
        }
        401 | 403 => {
            format!("the server refuses it ({status}); a proxy or a mirror may want you to log in")
        }
        _ => format!("the server answered {status}"),
    };
    Trouble::Final(BundleError::download(url, why))
}

async fn small_body(url: &str, mut response: Response) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| trouble(url, error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > SMALL {
            let why = format!("it is longer than {SMALL} bytes, too long for a file of its kind");
            return Err(Trouble::Final(BundleError::download(url, why)));
        }
    }
    Ok(bytes)
}

fn challenge_of(response: &Response) -> Option<Challenge> {
    response
        .headers()
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .find_map(|value| parse_challenge(value.to_str().ok()?))
}

/// Reads `Bearer realm="...",service="...",scope="..."`.
fn parse_challenge(header: &str) -> Option<Challenge> {
    let (scheme, mut rest) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    while let Some((key, after)) = rest.split_once('=') {
        // A quoted value may contain commas: a scope is `repository:name:pull,push`.
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        match key.trim_start_matches(',').trim().to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            "scope" => scope = Some(value.to_owned()),
            _ => {}
        }
        rest = left;
    }
    Some(Challenge { realm: realm?, service, scope })
}

fn is_loopback(base: &str) -> bool {
    let Ok(url) = Url::parse(base) else { return false };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns an error with all its causes, without the URL, which the caller adds.
fn chain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read_with_commas_in_their_values() {
        let read = parse_challenge(
            "Bearer realm=\"https://auth.example/token\", service=registry.example,\
            scope=\"repository:pause:pull,push\"",
        );
        let expected = Challenge {
            realm: "https://auth.example/token".into(),
            service: Some("registry.example".into()),
            scope: Some("repository:pause:pull,push".into()),
        };
        assert_eq!(read, Some(expected));
        assert_eq!(parse_challenge(r#"Basic realm="x""#), None);
        assert_eq!(parse_challenge(r#"Bearer realm="unclosed"#), None);
        assert_eq!(parse_challenge(""), None);
    }

    #[test]
    fn only_this_machine_is_loopback() {
        assert!(is_loopback("http://127.0.0.1:8080"));
        assert!(is_loopback("http://[::1]:8080"));
        assert!(!is_loopback("https://dl.k8s.io"));
        assert!(!is_loopback("https://127.0.0.1.example.org"));
    }
}
