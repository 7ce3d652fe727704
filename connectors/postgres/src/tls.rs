//! TLS as libpq's `sslmode` has it (PostgreSQL manual, libpq, "SSL Support"), on rustls with the `ring` provider.

mod channel_binding;
mod verifier;

use crate::connection::TlsParameters;
pub(crate) use channel_binding::server_end_point;
use rowferry_api::{Error, ErrorKind, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use verifier::Verifier;

/// Whether a connection is encrypted, and how.
#[derive(Clone)]
pub(crate) enum TlsMode {
    Disable,
    /// If the server does.
    Prefer(Arc<ClientConfig>),
    /// Or not at all. What is verified is in the configuration.
    Require(Arc<ClientConfig>),
}

/// What is verified of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verify {
    Nothing,
    Authority,
    AuthorityAndName,
}

/// What the parameters ask for; `prefer` if they name no mode. Reads the files that they name.
pub(crate) fn mode_of(parameters: &TlsParameters) -> Result<TlsMode> {
    let TlsParameters { mode, root, cert, key } = parameters;
    // libpq's name for the certificates of the operating system.
    let system = root.as_deref() == Some("system");
    let root = root.as_deref().filter(|_| !system);
    let config = |verify| client_config(verify, root, cert.as_deref(), key.as_deref()).map(Arc::new);
    match mode.as_deref().unwrap_or(if system { "verify-full" } else { "prefer" }) {
        // As libpq: anybody can have a certificate of a public authority, so the name must be looked at too.
        weak if system && weak != "verify-full" => {
            Err(failed(&format!("sslrootcert=system does not go with sslmode={weak}"))
                .hint("Use sslmode=verify-full, or name the authority's certificate with sslrootcert."))
        }
        "disable" => Ok(TlsMode::Disable),
        "prefer" | "allow" => Ok(TlsMode::Prefer(config(Verify::Nothing)?)),
        // As libpq: a root certificate that is named is used.
        "require" if root.is_some() => Ok(TlsMode::Require(config(Verify::Authority)?)),
        "require" => Ok(TlsMode::Require(config(Verify::Nothing)?)),
        "verify-ca" => Ok(TlsMode::Require(config(Verify::Authority)?)),
        "verify-full" => Ok(TlsMode::Require(config(Verify::AuthorityAndName)?)),
        other => Err(Error::new(ErrorKind::Config, format!("read the connection URL: unknown sslmode {other}"))
            .hint("Modes: disable, prefer, require, verify-ca, verify-full.")),
    }
}

fn client_config(verify: Verify, root: Option<&str>, cert: Option<&str>, key: Option<&str>) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("choose protocol versions").because(error))?;
    let verifier = Arc::new(verifier(verify, root, provider.clone())?);
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match (cert, key) {
        (Some(cert), Some(key)) => {
            let own = own_certificate(cert, key, &provider)?;
            Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(failed("sslcert and sslkey go together").hint("Give both, or none.")),
    }
}

/// Not read further by us: only the server has to like it, and old ones (X.509 version 1) would not pass rustls' own check.
fn own_certificate(cert: &str, key: &str, provider: &CryptoProvider) -> Result<CertifiedKey> {
    let unusable = |cause: String| {
        failed(&format!("read the key {key}: {cause}")).hint("Name a readable PEM file, its key without a passphrase.")
    };
    let chain = certificates(cert)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(error.to_string()))?;
    let key = provider.key_provider.load_private_key(key).map_err(|error| unusable(error.to_string()))?;
    Ok(CertifiedKey::new(chain, key))
}

fn verifier(verify: Verify, root: Option<&str>, provider: Arc<CryptoProvider>) -> Result<Verifier> {
    if verify == Verify::Nothing {
        return Ok(Verifier { verify, inner: None, trusted: Vec::new(), provider });
    }
    let trusted = match root {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| failed("no usable root certificate").because(error).hint("Name one with sslrootcert."))?;
    Ok(Verifier { verify, inner: Some(inner), trusted, provider })
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let unreadable = |error| failed(&format!("read the certificate {path}: {error}")).hint("Name a readable PEM file.");
    let all: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(unreadable)?.collect::<Result<_, _>>().map_err(unreadable)?;
    if all.is_empty() { Err(failed(&format!("{path} holds no certificate"))) } else { Ok(all) }
}

fn failed(what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("set up TLS: {what}"))
}
