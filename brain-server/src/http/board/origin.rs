//! Whether a request is meant for the board, and comes from its own pages.
//!
//! A page of another site may send requests to any address that a browser reaches, by two ways: as itself, or, after its
//! name was made to lead here (DNS rebinding), under that name. The first shows in `Sec-Fetch-Site` or, over plain HTTP, in
//! `Origin`; a request that changes something and says neither comes from no browser page that is known, and is refused:
//! programs use the API. The second shows in the host: the board answers only to names that no stranger can own.

use axum::http::{HeaderMap, HeaderName, Uri, header, uri::Authority};
use std::net::IpAddr;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(super) fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(&SEC_FETCH_SITE) {
        return site == "same-origin";
    }
    let (Some(origin), Some(host)) = (text(&header::ORIGIN), text(&header::HOST)) else { return false };
    origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
}

/// Whether a request says at all where it comes from.
pub(super) fn says_from_where(headers: &HeaderMap) -> bool {
    headers.contains_key(SEC_FETCH_SITE) || headers.contains_key(header::ORIGIN)
}

/// The host that a request names, without its port; `None` where it names none.
pub(super) fn host(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some(host) = uri.host() {
        return Some(host.to_owned());
    }
    let named = headers.get(header::HOST)?.to_str().ok()?;
    Some(named.parse::<Authority>().ok()?.host().to_owned())
}

/// Whether the board answers to that host: any address, this machine's own name, and `own`, the one that it is given.
pub(super) fn is_known(host: &str, own: Option<&str>) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || own.is_some_and(|own| own.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_the_boards_own_pages_may_act() {
        let is_taken = |pairs: &[(&'static str, &'static str)]| is_own(&headers(pairs));
        let host = ("host", "brain.example:7480");
        assert!(is_taken(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(is_taken(&[host, ("origin", "http://brain.example:7480")]));
        for from in ["cross-site", "same-site", "none"] {
            assert!(!is_taken(&[host, ("sec-fetch-site", from)]), "{from}");
        }
        for from in ["http://evil.example", "http://brain.example", "null", "http://brain.example:7480.evil.example"] {
            assert!(!is_taken(&[host, ("origin", from)]), "{from}");
        }
        // What a browser says of the site is believed before the origin.
        assert!(!is_taken(&[host, ("sec-fetch-site", "cross-site"), ("origin", "http://brain.example:7480")]));
        assert!(!is_taken(&[host]));
    }

    #[test]
    fn the_board_answers_to_no_name_that_a_stranger_can_own() {
        let own = Some("brain.example");
        let named = |text: &'static str| host(&Uri::from_static("/"), &headers(&[("host", text)]));
        for text in ["127.0.0.1:7480", "10.0.0.7", "[::1]:7480", "localhost:7480", "LOCALHOST", "Brain.Example:443"] {
            assert!(is_known(&named(text).unwrap(), own), "{text}");
        }
        for text in ["evil.example:7480", "brain.example.evil.example", "127.0.0.1.evil.example", "localhost.evil"] {
            assert!(!is_known(&named(text).unwrap(), own), "{text}");
        }
        assert!(!is_known("brain.example", None));
        assert_eq!(named("what is this"), None);
        let whole = Uri::from_static("http://evil.example/");
        assert_eq!(host(&whole, &headers(&[("host", "localhost")])).as_deref(), Some("evil.example"));
    }
}
