//! What we trust: the roots built into the binary, and a file the user adds.
//!
//! Promises: TLS 1.2 or newer by rustls and aws-lc-rs, certificates always checked; built at first use, once, because
//! the agent must have its socket bound before it reads a file. A file that cannot be read is tried again next time.
//! Never: reads the environment (`config` hands the path in), falls back to the built-in roots alone if the file fails; but the file
//! of a distribution, which has those roots, need not be there.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::limits;

/// Where distributions keep the roots that we have built in. Variables of other images name it, and ours has no such file.
const USUAL: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The TLS configuration of the agent; clones share it.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bundle: Option<PathBuf>,
    config: OnceLock<Arc<ClientConfig>>,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read the certificate authorities in `{path}`")]
    Read {
        /// The file, as the user named it.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file was read, and there is nothing in it to trust.
    #[error("`{path}` holds no certificate; it must be a PEM file of at most {} bytes", limits::CA_BUNDLE_BYTES_MAX)]
    NoCertificate {
        /// The file, as the user named it.
        path: PathBuf,
    },
    /// The cryptography library has none of the protocol versions we ask for.
    #[error("cannot set up TLS")]
    Unsupported(#[source] rustls::Error),
}

impl Tls {
    /// Trusts the built-in roots, and the certificates in the PEM file `bundle` if there is one.
    pub fn new(bundle: Option<PathBuf>) -> Self {
        Self(Arc::new(Shared { bundle, config: OnceLock::new() }))
    }

    /// The configuration for a connection, made at the first call that succeeds.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.0.config.get() {
            return Ok(Arc::clone(config));
        }
        let config = Arc::new(self.build()?);
        Ok(Arc::clone(self.0.config.get_or_init(|| config)))
    }

    fn build(&self) -> Result<ClientConfig, TlsError> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let bundle = self.0.bundle.as_ref().map(|path| Ok((path, bundle(path, Path::new(USUAL))?))).transpose()?;
        if let Some((path, Some(pem))) = bundle {
            let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
            if added == 0 {
                return Err(TlsError::NoCertificate { path: path.clone() });
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Unsupported)?;
        Ok(builder.with_root_certificates(roots).with_no_client_auth())
    }
}

/// What the file says; nothing if it is the `usual` one, and not there.
fn bundle(path: &Path, usual: &Path) -> Result<Option<Vec<u8>>, TlsError> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && path == usual => Ok(None),
        read => read.map(Some).map_err(|source| TlsError::Read { path: path.to_owned(), source }),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    File::open(path)?.take(limits::CA_BUNDLE_BYTES_MAX).read_to_end(&mut pem)?;
    Ok(pem)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images that have the roots as a file are often told where it is; ours has them built in.
    #[test]
    fn the_usual_file_of_roots_need_not_be_there_and_any_other_must() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (missing, other) = (folder.path().join("none.crt"), folder.path().join("other.crt"));
        assert!(bundle(&missing, &missing).expect("it is not needed").is_none());
        assert!(matches!(bundle(&missing, &other), Err(TlsError::Read { path, .. }) if path == missing));
        std::fs::write(&missing, "what it says").expect("writes");
        assert_eq!(bundle(&missing, &missing).expect("it is read").as_deref(), Some(&b"what it says"[..]));
    }
}
