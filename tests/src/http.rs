//! The HTTP client of the tests.

/// A client. The TLS provider is installed with the first one, as the binaries do in `main`.
#[must_use]
pub fn client() -> reqwest::Client {
    // An error says that it is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::new()
}
