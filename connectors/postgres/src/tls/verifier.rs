//! How much of a server's certificate is verified, as libpq does it where rustls alone would be stricter.

use super::Verify;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::Arc;
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// Verifies as much as the mode asks for.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) verify: Verify,
    /// Absent if nothing is verified.
    pub(super) inner: Option<Arc<WebPkiServerVerifier>>,
    /// The certificates that are trusted, as they stand in the file.
    pub(super) trusted: Vec<CertificateDer<'static>>,
    pub(super) provider: Arc<CryptoProvider>,
}

impl Verifier {
    /// A server's own certificate may be the trusted one: a self-signed certificate that was copied to the client.
    /// rustls refuses it where it is marked as an authority, which `openssl req -x509` does.
    fn is_trusted_itself(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        let valid = |certificate: &Certificate| {
            let validity = &certificate.tbs_certificate.validity;
            let (from, to) = (validity.not_before.to_unix_duration(), validity.not_after.to_unix_duration());
            (from.as_secs()..=to.as_secs()).contains(&now.as_secs())
        };
        self.trusted.iter().any(|trusted| trusted == certificate)
            && Certificate::from_der(certificate).is_ok_and(|certificate| valid(&certificate))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else {
            return Ok(ServerCertVerified::assertion());
        };
        let result = if self.is_trusted_itself(end_entity, now) {
            ParsedCertificate::try_from(end_entity)
                .and_then(|parsed| verify_server_name(&parsed, server_name))
                .map(|()| ServerCertVerified::assertion())
        } else {
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        match result {
            // The chain was found good before the name was looked at.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.verify == Verify::Authority || common_name_is(end_entity, server_name) => {
                Ok(ServerCertVerified::assertion())
            }
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.tolerated(rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        self.tolerated(rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl Verifier {
    /// Where nothing is verified, a certificate that rustls cannot even read (X.509 version 1) is no reason to stop.
    fn tolerated(&self, result: Result<HandshakeSignatureValid, Error>) -> Result<HandshakeSignatureValid, Error> {
        match result {
            Err(Error::InvalidCertificate(_)) if self.verify == Verify::Nothing => {
                Ok(HandshakeSignatureValid::assertion())
            }
            result => result,
        }
    }
}

/// A certificate without any subjectAltName names its host in the common name: old, but what PostgreSQL's manual makes.
fn common_name_is(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let (Ok(certificate), ServerName::DnsName(host)) = (Certificate::from_der(certificate), name) else {
        return false;
    };
    let certificate = certificate.tbs_certificate;
    if certificate.extensions.iter().flatten().any(|extension| extension.extn_id == SUBJECT_ALT_NAME) {
        return false;
    }
    let names = certificate.subject.0.iter().flat_map(|part| part.0.iter()).filter(|part| part.oid == COMMON_NAME);
    let mut names = names.filter_map(|part| std::str::from_utf8(part.value.value()).ok());
    names.any(|name| is_name_of(name, host.as_ref()))
}

/// `*.example.com` stands for one label in front.
fn is_name_of(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
        None => name.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::is_name_of;

    #[test]
    fn a_star_stands_for_one_label() {
        assert!(is_name_of("DB.example.com", "db.example.com"));
        assert!(is_name_of("*.example.com", "db.example.com"));
        assert!(!is_name_of("*.example.com", "a.db.example.com"));
        assert!(!is_name_of("*.example.com", "example.com"));
        assert!(!is_name_of("*", "example.com"));
    }
}
