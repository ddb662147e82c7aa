//! A certificate authority made for one run, and what trusts it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use pem::{EncodeConfig, LineEnding, Pem};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// The only name that the server's certificate holds.
pub(crate) const HOST: &str = "localhost";

/// The private authority and the certificate that it gave to [`HOST`].
pub(crate) struct Authority {
    root: CertificateDer<'static>,
    server: CertificateDer<'static>,
    key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        root.distinguished_name
            .push(DnType::CommonName, "benchmark");
        let root_key = KeyPair::generate()?;
        let root_certificate = root.self_signed(&root_key)?;
        let key = KeyPair::generate()?;
        let server = CertificateParams::new([HOST.to_owned()])?
            .signed_by(&key, &Issuer::new(root, root_key))?;
        Ok(Self {
            root: root_certificate.der().clone(),
            server: server.der().clone(),
            key,
        })
    }

    /// The configuration of a TLS server called [`HOST`].
    pub(crate) fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.server.clone()], key)?;
        Ok(Arc::new(config))
    }

    /// Writes this root alone.
    pub(crate) fn write_root(&self, file: &Path) -> Result<()> {
        write(file, std::slice::from_ref(&self.root))
    }

    /// Writes the roots that this machine trusts and this one.
    pub(crate) fn write_bundle(&self, file: &Path) -> Result<()> {
        let mut roots = rustls_native_certs::load_native_certs().certs;
        roots.push(self.root.clone());
        write(file, &roots)
    }
}

fn write(file: &Path, roots: &[CertificateDer<'_>]) -> Result<()> {
    let roots: Vec<Pem> = roots
        .iter()
        .map(|root| Pem::new("CERTIFICATE", root.as_ref()))
        .collect();
    let text = pem::encode_many_config(&roots, EncodeConfig::new().set_line_ending(LineEnding::LF));
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
