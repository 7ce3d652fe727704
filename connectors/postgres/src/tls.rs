//! TLS as libpq's `sslmode` has it (PostgreSQL manual, libpq, "SSL Support"), on rustls with the `ring` provider.

use rowferry_api::{Error, ErrorKind, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::sync::Arc;

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

/// Takes the TLS parameters out of a connection text; returns the rest, and the mode (`prefer` if none is named).
pub(crate) fn take_parameters(text: &str) -> Result<(String, TlsMode)> {
    let mut taken = [const { None }; 4];
    let names = ["sslmode", "sslrootcert", "sslcert", "sslkey"];
    let mut take = |pair: &str| match pair.split_once('=') {
        Some((name, value)) => match names.iter().position(|known| *known == name) {
            Some(index) => {
                taken[index] = Some(percent_decoded(value.trim_matches('\'')));
                false
            }
            None => true,
        },
        None => true,
    };
    let rest = if text.contains("://") {
        match text.split_once('?') {
            Some((base, query)) => {
                let kept: Vec<&str> = query.split('&').filter(|pair| take(pair)).collect();
                if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) }
            }
            None => text.to_owned(),
        }
    } else {
        text.split_whitespace().filter(|pair| take(pair)).collect::<Vec<_>>().join(" ")
    };
    let [mode, root, cert, key] = taken;
    Ok((rest, mode_of(mode.as_deref().unwrap_or("prefer"), root.as_deref(), cert.as_deref(), key.as_deref())?))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn mode_of(mode: &str, root: Option<&str>, cert: Option<&str>, key: Option<&str>) -> Result<TlsMode> {
    let config = |verify| client_config(verify, root, cert, key).map(Arc::new);
    match mode {
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
    let failed = |what: &str| Error::new(ErrorKind::Config, format!("set up TLS: {what}"));
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed("protocol versions").because(error))?;
    let verifier = Arc::new(Verifier { verify, inner: inner_verifier(verify, root, &provider)?, provider });
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match (cert, key) {
        (Some(cert), Some(key)) => {
            let chain = certificates(cert)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(&format!("read the key {key}: {error}")))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| failed("use the client certificate").because(error))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(failed("sslcert and sslkey go together").hint("Give both, or none.")),
    }
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let failed = |error| {
        Error::new(ErrorKind::Config, format!("set up TLS: read the certificate {path}: {error}"))
            .hint("Name a readable PEM file.")
    };
    let all: Vec<_> = CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if all.is_empty() {
        return Err(Error::new(ErrorKind::Config, format!("set up TLS: {path} holds no certificate")));
    }
    Ok(all)
}

fn inner_verifier(
    verify: Verify,
    root: Option<&str>,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>> {
    if verify == Verify::Nothing {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    match root {
        Some(path) => drop(roots.add_parsable_certificates(certificates(path)?)),
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().map(Some).map_err(|error| {
        Error::new(ErrorKind::Config, "set up TLS: no usable root certificate").because(error).hint("Name one with sslrootcert.")
    })
}

/// Verifies as much as the mode asks for. A handshake's signature is verified in every mode.
#[derive(Debug)]
struct Verifier {
    verify: Verify,
    inner: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        let result = inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match result {
            // The chain was found good before the name was looked at.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.verify == Verify::Authority => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
