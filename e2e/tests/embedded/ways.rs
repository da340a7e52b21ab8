//! What lies between a hook and the cluster in tests: a server with another certificate, proxies.

use std::future::Future;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use podcov_e2e::World;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A certificate that no authority has signed, or none that anybody knows.
pub(crate) struct SelfSigned {
    der: CertificateDer<'static>,
    pem: String,
    key: Vec<u8>,
}

impl SelfSigned {
    /// For these names or addresses; `signs` if it may sign others.
    pub(crate) fn new(names: &[&str], signs: bool) -> Result<Self> {
        Self::made(names, |params| {
            params.is_ca = if signs { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        })
    }

    /// One whose time is over.
    pub(crate) fn expired(names: &[&str]) -> Result<Self> {
        Self::made(names, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))
    }

    fn made(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        change(&mut params);
        let certificate = params.self_signed(&key)?;
        Ok(Self { der: certificate.der().clone(), pem: certificate.pem(), key: key.serialize_der() })
    }

    /// Signed by an authority that is thrown away.
    pub(crate) fn issued_by_nobody(names: &[&str]) -> Result<Self> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(rcgen::DnType::CommonName, "nobody");
        let issuer = Issuer::new(authority, KeyPair::generate()?);
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Self { der: certificate.der().clone(), pem: certificate.pem(), key: key.serialize_der() })
    }

    pub(crate) fn pem(&self) -> String {
        self.pem.clone()
    }

    fn acceptor(self, asked: Arc<AtomicUsize>) -> Result<TlsAcceptor> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(Anybody(asked)))
            .with_single_cert(vec![self.der], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key)))?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// Takes any client certificate, also one that it cannot read, and counts them.
#[derive(Debug)]
struct Anybody(Arc<AtomicUsize>);

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// A listener on loopback that serves until it is dropped.
struct Server {
    address: String,
    task: JoinHandle<()>,
}

impl Server {
    async fn start<F, T>(serve: F) -> Result<Self>
    where
        F: Fn(TcpStream) -> T + Send + 'static,
        T: Future<Output = Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // An error is the client's, which tells of it.
                tokio::spawn(serve(stream));
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The cluster's own address.
fn cluster(world: &World) -> String {
    world.bed.server_url().trim_start_matches("https://").to_owned()
}

/// The cluster behind a server with a certificate of its own.
pub(crate) struct Front {
    server: Server,
    pem: String,
    clients: Arc<AtomicUsize>,
}

impl Front {
    pub(crate) async fn start(world: &World, certificate: SelfSigned) -> Result<Self> {
        let (cluster, pem, clients) = (cluster(world), certificate.pem(), Arc::new(AtomicUsize::new(0)));
        let acceptor = certificate.acceptor(clients.clone())?;
        let config: serde_json::Value =
            serde_json::from_str(&fs_err::read_to_string(world.bed.kubeconfig())?)?;
        let authority =
            config["clusters"][0]["cluster"]["certificate-authority-data"].as_str().context("data")?;
        let connector = connector(&STANDARD.decode(authority)?)?;
        let server = Server::start(move |stream| {
            let (acceptor, connector, cluster) = (acceptor.clone(), connector.clone(), cluster.clone());
            async move {
                let mut near = acceptor.accept(stream).await?;
                let name = "localhost".try_into()?;
                let mut far = connector.connect(name, TcpStream::connect(cluster).await?).await?;
                copy_bidirectional(&mut near, &mut far).await?;
                Ok(())
            }
        })
        .await?;
        Ok(Self { server, pem, clients })
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.server.address)
    }

    /// For `certificate-authority-data`.
    pub(crate) fn authority(&self) -> String {
        STANDARD.encode(&self.pem)
    }

    /// How many client certificates it was shown.
    pub(crate) fn client_certificates(&self) -> usize {
        self.clients.load(Ordering::SeqCst)
    }
}

fn connector(authority: &[u8]) -> Result<TlsConnector> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A proxy that leads every CONNECT to the cluster, whatever its target.
pub(crate) struct HttpProxy {
    server: Server,
    tunnels: Arc<AtomicUsize>,
}

impl HttpProxy {
    /// With the value of `Proxy-Authorization` that it wants, and its certificate if it speaks TLS.
    pub(crate) async fn start(
        world: &World,
        authorization: Option<&'static str>,
        certificate: Option<SelfSigned>,
    ) -> Result<Self> {
        let (cluster, tunnels) = (cluster(world), Arc::new(AtomicUsize::new(0)));
        let acceptor = certificate.map(|one| one.acceptor(Arc::default())).transpose()?;
        let count = tunnels.clone();
        let server = Server::start(move |stream| {
            let (cluster, count, acceptor) = (cluster.clone(), count.clone(), acceptor.clone());
            async move {
                match acceptor {
                    Some(acceptor) => {
                        connect(acceptor.accept(stream).await?, &cluster, &count, authorization).await
                    }
                    None => connect(stream, &cluster, &count, authorization).await,
                }
            }
        })
        .await?;
        Ok(Self { server, tunnels })
    }

    pub(crate) fn address(&self) -> String {
        self.server.address.clone()
    }

    pub(crate) fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::SeqCst)
    }
}

async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    mut near: S,
    cluster: &str,
    tunnels: &AtomicUsize,
    authorization: Option<&str>,
) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    ensure!(head.starts_with("CONNECT "), "{head}");
    let given = head.lines().find_map(|line| line.strip_prefix("Proxy-Authorization: "));
    if given != authorization {
        near.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n").await?;
        return Ok(near.shutdown().await?);
    }
    tunnels.fetch_add(1, Ordering::SeqCst);
    let mut far = TcpStream::connect(cluster).await?;
    near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

/// A SOCKS 5 proxy that leads to the cluster, whatever the target.
pub(crate) struct SocksProxy {
    server: Server,
    tunnels: Arc<AtomicUsize>,
}

impl SocksProxy {
    /// With the user and the password that it wants.
    pub(crate) async fn start(
        world: &World,
        credentials: Option<(&'static str, &'static str)>,
    ) -> Result<Self> {
        let (cluster, tunnels) = (cluster(world), Arc::new(AtomicUsize::new(0)));
        let count = tunnels.clone();
        let server = Server::start(move |stream| {
            let (cluster, count) = (cluster.clone(), count.clone());
            async move { socks(stream, &cluster, &count, credentials).await }
        })
        .await?;
        Ok(Self { server, tunnels })
    }

    pub(crate) fn address(&self) -> String {
        self.server.address.clone()
    }

    pub(crate) fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::SeqCst)
    }
}

/// RFC 1928 and 1929.
async fn socks(
    mut near: TcpStream,
    cluster: &str,
    tunnels: &AtomicUsize,
    credentials: Option<(&str, &str)>,
) -> Result<()> {
    ensure!(near.read_u8().await? == 5, "not SOCKS 5");
    let methods = counted(&mut near).await?;
    let method = if credentials.is_some() { 2 } else { 0 };
    if !methods.contains(&method) {
        return Ok(near.write_all(&[5, 0xff]).await?);
    }
    near.write_all(&[5, method]).await?;
    if let Some((user, password)) = credentials {
        ensure!(near.read_u8().await? == 1, "another version of the negotiation");
        let given = (counted(&mut near).await?, counted(&mut near).await?);
        let right = given == (user.into(), password.into());
        near.write_all(&[1, u8::from(!right)]).await?;
        ensure!(right, "a wrong password");
    }
    let mut request = [0; 4];
    near.read_exact(&mut request).await?;
    let rest = match request[3] {
        1 => 4,
        4 => 16,
        _ => usize::from(near.read_u8().await?),
    };
    near.read_exact(&mut vec![0; rest + 2]).await?;
    tunnels.fetch_add(1, Ordering::SeqCst);
    let mut far = TcpStream::connect(cluster).await?;
    near.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}

/// As many bytes as the first says.
async fn counted(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut bytes = vec![0; stream.read_u8().await?.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
