//! The listener: TLS, HTTP/1.1 with upgrades, on loopback.

use std::{net::Ipv4Addr, sync::Arc};

use anyhow::Context;
use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{api::Hangup, cluster::Cluster};

/// The server's identity and the authority that vouches for it.
pub(crate) struct Identity {
    /// The authority's certificate, PEM.
    pub(crate) authority: String,
    pub(crate) config: Arc<ServerConfig>,
}

/// Makes an authority and a certificate for loopback.
pub(crate) fn identity() -> anyhow::Result<Identity> {
    let authority_key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "testbed-ca");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    let authority = params.self_signed(&authority_key)?;
    let issuer = Issuer::new(params, authority_key);

    let key = KeyPair::generate()?;
    let names = ["127.0.0.1".to_owned(), "localhost".to_owned(), "kubernetes".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity { authority: authority.pem(), config: Arc::new(config) })
}

/// A listener on a free port of loopback.
pub(crate) async fn bind() -> anyhow::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot listen on 127.0.0.1")
}

/// Serves every connection until the testbed ends.
pub(crate) async fn serve(
    cluster: Arc<Cluster>,
    listener: TcpListener,
    config: Arc<ServerConfig>,
    router: Router,
) {
    let acceptor = TlsAcceptor::from(config);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => cluster.spawn(connection(acceptor.clone(), stream, router.clone())),
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                // Out of file descriptors: other connections must end first.
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }
}

async fn connection(acceptor: TlsAcceptor, stream: TcpStream, router: Router) {
    // Frames are small and each is awaited.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let hangup = CancellationToken::new();
    let service = TowerToHyperService::new(router.layer(Extension(Hangup(hangup.clone()))));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    // An error is the client's: it went away.
    let _ = hangup.run_until_cancelled(connection).await;
}
