//! The way to a broker: TCP, TLS or a websocket, as one kind of stream.
//!
//! Files with certificates are read for each connection, so that a renewed
//! one counts without a restart.

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_tungstenite::tungstenite::client::IntoClientRequest as _;
use async_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use crate::config::{Mqtt, Scheme};

/// Most files of a directory of certificates that are read.
const MOST_FILES: usize = 1000;

/// A connection to a broker.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// Why a broker cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error("{0}")]
    Connect(io::Error),
    #[error("{file}: {why}")]
    File { file: String, why: String },
    #[error("TLS: {0}")]
    Tls(String),
    #[error("websocket: {0}")]
    WebSocket(String),
}

impl TransportError {
    /// Whether nobody listens there.
    #[cfg(feature = "broker")]
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Connect(why) if why.kind() == io::ErrorKind::ConnectionRefused)
    }
}

/// Connects to the broker of the configuration.
pub(super) async fn connect(
    config: &Mqtt,
    limit: usize,
) -> Result<Box<dyn Stream + Unpin>, TransportError> {
    let uri = &config.uri;
    let tcp = TcpStream::connect((uri.host(), uri.port()))
        .await
        .map_err(TransportError::Connect)?;
    tcp.set_nodelay(true).map_err(TransportError::Connect)?;
    match uri.scheme() {
        Scheme::Tcp => Ok(Box::new(tcp)),
        Scheme::Tls => Ok(Box::new(tls(config, tcp).await?)),
        Scheme::WebSocket => web_socket(config, tcp, limit).await,
        Scheme::WebSocketTls => {
            let tls = tls(config, tcp).await?;
            web_socket(config, tls, limit).await
        }
    }
}

async fn tls(
    config: &Mqtt,
    tcp: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, TransportError> {
    let name = ServerName::try_from(config.uri.host().to_owned())
        .map_err(|why| TransportError::Tls(why.to_string()))?;
    // files are read, some of them large
    let config = config.clone();
    let config = tokio::task::spawn_blocking(move || tls_config(&config)).await;
    let config = config.map_err(|why| TransportError::Tls(why.to_string()))??;
    TlsConnector::from(Arc::new(config))
        .connect(name, tcp)
        .await
        .map_err(|why| TransportError::Tls(why.to_string()))
}

/// What we trust, and who we are.
fn tls_config(config: &Mqtt) -> Result<ClientConfig, TransportError> {
    let wrong = |why: rustls::Error| TransportError::Tls(why.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(wrong)?
        .with_root_certificates(trusted(config)?);
    match (&config.certfile, &config.keyfile) {
        (Some(chain), key) => {
            let key = key.as_ref().unwrap_or(chain);
            let own = certificates(chain)?;
            let secret = PrivateKeyDer::from_pem_file(key).map_err(|why| in_file(key, &why))?;
            builder.with_client_auth_cert(own, secret).map_err(wrong)
        }
        (None, _) => Ok(builder.with_no_client_auth()),
    }
}

/// The certificates of those who may vouch for the broker.
fn trusted(config: &Mqtt) -> Result<RootCertStore, TransportError> {
    let mut certs = Vec::new();
    if let Some(file) = &config.cafile {
        certs.extend(certificates(file)?);
    }
    if let Some(directory) = &config.capath {
        let files = std::fs::read_dir(directory).map_err(|why| in_file(directory, &why))?;
        for file in files.take(MOST_FILES) {
            let path = file.map_err(|why| in_file(directory, &why))?.path();
            if path.is_file() {
                // other files may be there as well
                certs.extend(certificates(&path).unwrap_or_default());
            }
        }
    }
    if let Some(text) = &config.cadata {
        for cert in CertificateDer::pem_slice_iter(text.as_bytes()) {
            certs.push(cert.map_err(|why| in_file(Path::new("cadata"), &why))?);
        }
    }
    let is_own = config.cafile.is_some() || config.capath.is_some() || config.cadata.is_some();
    if !is_own {
        certs = rustls_native_certs::load_native_certs().certs;
    }
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certs);
    if store.is_empty() {
        let why = match is_own {
            true => "cafile, capath and cadata have no usable certificate",
            false => "the system trusts no certificate: set cafile",
        };
        return Err(TransportError::Tls(why.to_owned()));
    }
    Ok(store)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|why| in_file(file, &why))
}

fn in_file(file: &Path, why: &dyn std::fmt::Display) -> TransportError {
    TransportError::File {
        file: file.display().to_string(),
        why: why.to_string(),
    }
}

async fn web_socket(
    config: &Mqtt,
    stream: impl Stream + Unpin + 'static,
    limit: usize,
) -> Result<Box<dyn Stream + Unpin>, TransportError> {
    let wrong = |why: &dyn std::fmt::Display| TransportError::WebSocket(why.to_string());
    let uri = &config.uri;
    let host = match uri.host().contains(':') {
        true => format!("[{}]", uri.host()),
        false => uri.host().to_owned(),
    };
    // the TLS below it is done: for the handshake it makes no difference
    let mut request = format!("ws://{host}:{}/{}", uri.port(), uri.path())
        .into_client_request()
        .map_err(|why| wrong(&why))?;
    let headers = request.headers_mut();
    headers.insert("Sec-WebSocket-Protocol", HeaderValue::from_static("mqtt"));
    for (name, value) in &config.extra_headers {
        let name = HeaderName::try_from(name).map_err(|why| wrong(&why))?;
        let value = HeaderValue::try_from(value).map_err(|why| wrong(&why))?;
        headers.insert(name, value);
    }
    // a frame holds what the broker likes: one packet, or some
    let limits = WebSocketConfig::default()
        .max_message_size(Some(limit.saturating_mul(2)))
        .max_frame_size(Some(limit.saturating_mul(2)));
    let (socket, _) =
        async_tungstenite::tokio::client_async_with_config(request, stream, Some(limits))
            .await
            .map_err(|why| wrong(&why))?;
    Ok(Box::new(ws_stream_tungstenite::WsStream::new(socket)))
}
