//! Names the issuer of a certificate that is not trusted, so that the operator knows whose CA file is missing: most
//! often it is a company's TLS inspection.

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::sync::Arc;

/// The issuer is in no root store.
#[derive(Debug, thiserror::Error)]
#[error("issuer unknown: {0}")]
pub(super) struct UnknownIssuer(String);

/// [`WebPkiServerVerifier`], whose refusals of unknown issuers name them.
#[derive(Debug)]
pub(super) struct NamingVerifier(Arc<WebPkiServerVerifier>);

impl NamingVerifier {
    pub(super) fn new(inner: Arc<WebPkiServerVerifier>) -> Self {
        Self(inner)
    }
}

impl ServerCertVerifier for NamingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                let last = intermediates.last().unwrap_or(end_entity);
                let Some(name) = issuer(last).or_else(|| issuer(end_entity)) else { return verified };
                let unknown = OtherError(Arc::new(UnknownIssuer(name)));
                Err(Error::InvalidCertificate(CertificateError::Other(unknown)))
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// `CN=...` or `O=...` of the issuer in a certificate (RFC 5280, 4.1): of all of ASN.1 only what leads there.
fn issuer(certificate: &[u8]) -> Option<String> {
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    // An explicit version comes first in all but version 1.
    if rest.first() == Some(&0xa0) {
        rest = element(rest)?.2;
    }
    let after_serial = element(rest)?.2;
    let after_algorithm = element(after_serial)?.2;
    let (_, name, _) = element(after_algorithm)?;
    [([0x55, 4, 3], "CN"), ([0x55, 4, 10], "O")]
        .iter()
        .find_map(|(kind, label)| Some(format!("{label}={}", attribute(name, kind)?)))
}

/// The value of an attribute in a distinguished name.
fn attribute(mut name: &[u8], kind: &[u8]) -> Option<String> {
    while let Some((_, set, rest)) = element(name) {
        name = rest;
        let (_, pair, _) = element(set)?;
        let (_, found, value) = element(pair)?;
        if found == kind {
            let text = String::from_utf8_lossy(element(value)?.1);
            return Some(text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(100).collect());
        }
    }
    None
}

/// Tag, content and what follows of the first element of DER-encoded `bytes`.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let mut length = usize::from(*first);
    if *first & 0x80 != 0 {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 3 {
            return None;
        }
        let (digits, after) = rest.split_at_checked(count)?;
        length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        rest = after;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_issuer_of_a_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["registry.example".to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Corp TLS Inspection");
        let certificate = params.self_signed(&key).unwrap();
        assert_eq!(issuer(certificate.der()).as_deref(), Some("CN=Corp TLS Inspection"));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let certificate = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let der = certificate.cert.der().to_vec();
        for end in 0..der.len() {
            let _ = issuer(&der[..end]);
        }
        for at in 0..der.len() {
            let mut damaged = der.clone();
            damaged[at] ^= 0xff;
            let _ = issuer(&damaged);
        }
    }
}
