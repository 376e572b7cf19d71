//! The readiness checks: HTTPS GETs that also prove that the certificates work.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, IpAddr, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A client for one question at a time: what status has this path?
pub(crate) struct Probe {
    tls: Arc<ClientConfig>,
    token: String,
}

impl Probe {
    pub(crate) fn new(ca: CertificateDer<'static>, token: &str) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(ca)?;
        // The provider is named, not installed: which one the process uses is for the tests to say.
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: Arc::new(tls),
            token: token.to_owned(),
        })
    }

    /// Whether the path answers 200; if not, what it answers instead.
    pub(crate) fn ok(&self, port: u16, path: &str) -> Result<(), String> {
        match self.status_line(port, path) {
            Ok(line) if line.starts_with("HTTP/1.1 200 ") => Ok(()),
            Ok(line) => Err(format!("{path}: {}", line.trim_end())),
            Err(error) => Err(format!("{path}: {error}")),
        }
    }

    fn status_line(&self, port: u16, path: &str) -> io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let tcp = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        tcp.set_read_timeout(Some(Duration::from_secs(5)))?;
        tcp.set_write_timeout(Some(Duration::from_secs(5)))?;
        let server = ServerName::IpAddress(IpAddr::from(address.ip()));
        let connection =
            ClientConnection::new(Arc::clone(&self.tls), server).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, tcp);
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\n\r\n",
            self.token
        )?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        Ok(line)
    }
}
