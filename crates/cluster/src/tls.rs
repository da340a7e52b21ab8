//! TLS to the API server as kubectl has it, by the fields of a kubeconfig's cluster and user.
//!
//! rustls refuses two things that Go's TLS takes: a client certificate of X.509 version 1, which only the server has to
//! understand, and a server certificate that is itself what `certificate-authority` holds.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use kube::Config;
use kube::client::ConfigExt;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, InconsistentKeys, RootCertStore, SignatureScheme,
};

use crate::error::innermost;

/// The client certificate, which a credential plugin may replace at any time.
#[derive(Default)]
pub(crate) struct ClientCertificate(RwLock<Option<Arc<CertifiedKey>>>);

impl ClientCertificate {
    /// Takes a certificate chain and its key, both PEM. `what` names the two fields, for errors.
    ///
    /// # Errors
    /// A message that names the field and what is wrong with it.
    pub(crate) fn set(&self, chain: &[u8], key: &[u8], what: [&str; 2]) -> Result<(), String> {
        let [certificate_field, key_field] = what;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| format!("{certificate_field} is not PEM"))?;
        if chain.is_empty() {
            return Err(format!("{certificate_field} has no certificate (-----BEGIN CERTIFICATE-----)"));
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| format!("{key_field} has no private key in PEM (PKCS #8, PKCS #1 or SEC 1)"))?;
        let key = provider().key_provider.load_private_key(key).map_err(|_| {
            format!("{key_field} is of a kind that is not supported: use RSA, ECDSA or Ed25519")
        })?;
        let pair = CertifiedKey::new(chain, key);
        // A certificate that rustls cannot read, as one of version 1, cannot be compared; the server does that.
        if matches!(pair.keys_match(), Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch))) {
            return Err(format!("{key_field} is not the key of {certificate_field}"));
        }
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(pair));
        Ok(())
    }

    fn get(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}

impl ResolvesClientCert for ClientCertificate {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.get()
    }

    fn has_certs(&self) -> bool {
        self.get().is_some()
    }
}

/// Whom to believe that it is the cluster.
pub(crate) enum Trust {
    /// The authorities of this PEM, and a server whose own certificate is among them.
    Authorities(Vec<u8>),
    /// What kube trusts with this configuration: what the operating system does where it names no authorities.
    AsKube(Box<Config>),
    /// Anybody: `insecure-skip-tls-verify`.
    Anybody,
}

/// The client's side of TLS.
///
/// # Errors
/// A message that names what is wrong with the authorities.
pub(crate) fn client_config(
    trust: Trust,
    certificate: Arc<ClientCertificate>,
) -> Result<ClientConfig, String> {
    let verifier = match trust {
        Trust::Authorities(pem) => Arc::new(Verifier(Some(Authorities::read(&pem)?))),
        Trust::Anybody => Arc::new(Verifier(None)),
        Trust::AsKube(config) => {
            let mut tls = config.rustls_client_config().map_err(|e| innermost(&e))?;
            tls.client_auth_cert_resolver = certificate;
            return Ok(tls);
        }
    };
    let builder = ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier);
    Ok(builder.with_client_cert_resolver(certificate))
}

fn provider() -> Arc<CryptoProvider> {
    CryptoProvider::get_default()
        .cloned()
        .unwrap_or_else(|| Arc::new(rustls::crypto::ring::default_provider()))
}

/// Verifies as rustls does, and takes a server certificate that is itself one of the authorities, as Go does. Without
/// authorities it takes anybody, also one whose certificate it cannot read.
#[derive(Debug)]
struct Verifier(Option<Authorities>);

#[derive(Debug)]
struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    webpki: Arc<WebPkiServerVerifier>,
}

impl Authorities {
    fn read(pem: &[u8]) -> Result<Self, String> {
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|_| "certificate-authority is not PEM".to_owned())?;
        if certificates.is_empty() {
            return Err("certificate-authority has no certificate (-----BEGIN CERTIFICATE-----)".to_owned());
        }
        let mut roots = RootCertStore::empty();
        for (at, authority) in certificates.iter().enumerate() {
            roots.add(authority.clone()).map_err(|e| {
                format!("certificate {} in certificate-authority cannot be used: {e}", at + 1)
            })?;
        }
        let webpki = WebPkiServerVerifier::builder(Arc::new(roots)).build().map_err(|e| e.to_string())?;
        Ok(Self { certificates, webpki })
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
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(Authorities { certificates, webpki }) = &self.0 else {
            return Ok(ServerCertVerified::assertion());
        };
        match webpki.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // webpki says this of a certificate that may sign others, and of one whose issuer it does not know. It has
            // looked at the validity before either.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::Other(_),
            )) if certificates.contains(end_entity) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let assertion = || Ok(HandshakeSignatureValid::assertion());
        self.0
            .as_ref()
            .map_or_else(assertion, |known| known.webpki.verify_tls12_signature(message, cert, dss))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let assertion = || Ok(HandshakeSignatureValid::assertion());
        self.0
            .as_ref()
            .map_or_else(assertion, |known| known.webpki.verify_tls13_signature(message, cert, dss))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
