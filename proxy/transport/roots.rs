//! Whom to trust: the system's roots, the built-in ones where the system has none, and the operator's own.

use super::{Error, issuer::NamingVerifier};
use rustls::{
    ClientConfig, RootCertStore,
    client::WebPkiServerVerifier,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::{
    path::Path,
    sync::{Arc, OnceLock},
};

/// The TLS configuration of an upstream with its own `ca_file`, if any.
pub(super) fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, Error> {
    let mut roots = system_roots().clone();
    if let Some(path) = ca_file {
        add_file(&mut roots, path)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(Error::Verifier)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        // It only adds the issuer's name to a refusal; every decision is WebPkiServerVerifier's.
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NamingVerifier::new(verifier)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Read once: a hundred certificates take milliseconds, and every upstream needs them.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            tracing::info!("the system has no certificate authorities: the built-in ones are used");
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        roots
    })
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(|source| Error::CaFileUnreadable { path: path.to_owned(), source })?;
    let invalid = |problem: String| Error::CaFileInvalid { path: path.to_owned(), problem };
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| invalid(format!("not PEM: {error:?}")))?;
        roots.add(certificate).map_err(|error| invalid(format!("certificate {}: {error}", count + 1)))?;
        count += 1;
    }
    if count == 0 { Err(invalid("no certificate in it".to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_that_cannot_be_used_is_named_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing.pem");
        let error = client_config(Some(&missing)).unwrap_err().to_string();
        assert!(error.contains("missing.pem") && error.contains("PEM certificates"), "{error}");
        for text in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let path = directory.path().join("ca.pem");
            std::fs::write(&path, text).unwrap();
            let error = client_config(Some(&path)).unwrap_err().to_string();
            assert!(error.contains("ca.pem") && error.contains("BEGIN CERTIFICATE"), "{error}");
        }
    }

    #[test]
    fn a_ca_file_with_a_certificate_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let certificate = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
        std::fs::write(&path, certificate.cert.pem()).unwrap();
        assert!(client_config(Some(&path)).is_ok());
    }
}
