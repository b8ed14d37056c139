//! Whether a request that changes something comes from the board's own pages.
//!
//! Browsers say where a request comes from, in `Sec-Fetch-Site` or, over plain HTTP, in `Origin`. A request that says
//! neither comes from no browser page that is known, and is refused: programs use the API.

use axum::http::{HeaderMap, HeaderName, header};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(super) fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(&SEC_FETCH_SITE) {
        return site == "same-origin";
    }
    let (Some(origin), Some(host)) = (text(&header::ORIGIN), text(&header::HOST)) else { return false };
    origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn is_taken(headers: &[(&'static str, &'static str)]) -> bool {
        let pairs =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        is_own(&pairs.collect())
    }

    #[test]
    fn only_the_boards_own_pages_may_act() {
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
}
