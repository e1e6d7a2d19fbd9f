//! Rigs for faults on TLS endpoints: an nginx with a certificate of an authority that is made for it, asked by OpenSSL.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use super::http::{Nginx, free_port, output, until, write};
use super::{Kept, Make, Rig};

pub(super) const RIGS: &[(&str, Make)] = &[
    ("certificate-expired", |folder| certificate(folder, "certificate-expired", &[10])),
    ("certificate-not-yet-valid", |folder| certificate(folder, "certificate-not-yet-valid", &[9])),
    ("certificate-untrusted", |folder| certificate(folder, "certificate-untrusted", &[20, 21])),
    ("certificate-wrong-name", |folder| certificate(folder, "certificate-wrong-name", &[62])),
];

/// The name in its certificate.
const NAME: &str = "gateway.test";
/// <https://docs.openssl.org/3.0/man1/openssl-verification-options/>: nothing is wrong.
const VERIFIES: u32 = 0;

/// An authority, and a TLS endpoint that it has given a certificate.
pub(super) struct Endpoint {
    pub(super) folder: PathBuf,
    pub(super) port: u16,
    pub(super) nginx: Nginx,
    /// What the files are at first, by name.
    files: Vec<(&'static str, String)>,
    /// A second certificate of the same authority, as good as the first.
    renewed: String,
}

impl Endpoint {
    /// `directives` go into its `server` block.
    pub(super) fn start(folder: &Path, directives: &str) -> Result<Endpoint, String> {
        let port = free_port()?;
        let (files, renewed) = issue().map_err(|error| error.to_string())?;
        for (name, text) in &files {
            write(&folder.join(name), text)?;
        }
        let path = folder.display();
        let http = format!(
            "  server {{\n    listen 127.0.0.1:{port} ssl;\n    server_name {NAME};\n    \
             ssl_certificate {path}/server.pem;\n    ssl_certificate_key {path}/server.key;\n    {directives}\n    \
             location / {{ return 200 \"hello\\n\"; }}\n  }}\n"
        );
        let nginx = Nginx::start(folder, port, http)?;
        Ok(Endpoint {
            folder: folder.to_owned(),
            port,
            nginx,
            files,
            renewed,
        })
    }

    pub(super) fn declared(&self) -> String {
        let (folder, port) = (self.folder.display(), self.port);
        format!(
            "[chaos.target.gateway]\nkind = \"tls\"\nopted_in = true\nrung = \"isolated\"\n\
             address = \"127.0.0.1:{port}\"\nserver_name = \"{NAME}\"\nca_file = \"{folder}/ca.pem\"\n\
             issuer_key_file = \"{folder}/ca.key\"\ncrl_file = \"{folder}/ca.crl\"\n\
             certificate_file = \"{folder}/server.pem\"\nkey_file = \"{folder}/server.key\"\n\
             config = \"{}\"\nreload = {:?}\n",
            self.nginx.config().display(),
            self.nginx.reload()
        )
    }

    /// What OpenSSL says of it: the code of its verification.
    pub(super) fn verification(&self, more: &[&str]) -> Result<u32, String> {
        let address = format!("127.0.0.1:{}", self.port);
        let authority = self.folder.join("ca.pem").display().to_string();
        let words = ["openssl", "s_client", "-connect", &address, "-servername", NAME];
        let verify = ["-verify_hostname", NAME, "-CAfile", &authority];
        let said = output(&[&words[..], &verify, more].concat())?;
        let code = said.lines().find_map(|line| line.trim().strip_prefix("Verify return code: "));
        let code = code.and_then(|rest| rest.split(' ').next()?.parse().ok());
        code.ok_or_else(|| format!("openssl says nothing of verification: {said}"))
    }

    /// Files, and what a client sees of them.
    pub(super) fn state(&self) -> Result<String, String> {
        let mut state = String::new();
        for name in self.files.iter().map(|(name, _)| *name).chain(["nginx.conf"]) {
            use std::os::unix::fs::MetadataExt;
            let path = self.folder.join(name);
            let metadata = fs::metadata(&path).map_err(|error| error.to_string())?;
            let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            state.push_str(&format!("{name} {:o} {} {text}", metadata.mode(), metadata.uid()));
        }
        let code = self.verification(&["-crl_check", "-CRL", &self.folder.join("ca.crl").display().to_string()])?;
        Ok(format!("{state}{code}"))
    }

    pub(super) fn revive(&mut self) -> Result<(), String> {
        for (name, text) in &self.files {
            let path = self.folder.join(name);
            if fs::read_to_string(&path).ok().as_ref() != Some(text) {
                write(&path, text)?;
            }
        }
        self.nginx.revive(self.port)?;
        until(|| self.verification(&[]) == Ok(VERIFIES)).map_err(|()| "it does not come back".to_owned())
    }

    /// The file `name` becomes `text` by another's hand.
    pub(super) fn meddle(&self, name: &str, text: &str) -> Result<Kept, String> {
        let path = self.folder.join(name);
        write(&path, text)?;
        let text = text.to_owned();
        Ok(Box::new(move || {
            let now = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            Ok(now == text)
        }))
    }
}

/// Authority, certificate, keys and revocation list; and another certificate for the same key. Valid from 2000 to 2120,
/// so that no day of the calendar is in the way.
fn issue() -> Result<(Vec<(&'static str, String)>, String), rcgen::Error> {
    let (from, to) = (date_time_ymd(2000, 1, 1), date_time_ymd(2120, 1, 1));
    let authority_key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "rig authority");
    (authority.not_before, authority.not_after) = (from, to);
    let authority_certificate = authority.self_signed(&authority_key)?.pem();
    let authority_pem = authority_key.serialize_pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let server = |serial: u64| {
        let mut server = CertificateParams::new(vec![NAME.to_owned()])?;
        server.distinguished_name.push(DnType::CommonName, NAME);
        (server.not_before, server.not_after) = (from, to);
        server.serial_number = Some(SerialNumber::from(serial));
        server.use_authority_key_identifier_extension = true;
        Ok::<_, rcgen::Error>(server.signed_by(&key, &issuer)?.pem())
    };
    let list = CertificateRevocationListParams {
        this_update: from,
        next_update: to,
        crl_number: SerialNumber::from(7_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![rcgen::RevokedCertParams {
            serial_number: SerialNumber::from(99_u64),
            revocation_time: from,
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let files = vec![
        ("ca.pem", authority_certificate),
        ("ca.key", authority_pem),
        ("ca.crl", list.signed_by(&issuer)?.pem()?),
        ("server.pem", server(1001)?),
        ("server.key", key.serialize_pem()),
    ];
    let renewed = server(1002)?;
    Ok((files, renewed))
}

/// An endpoint whose certificate gets a flaw, and the codes that OpenSSL has for it.
struct Certificate {
    endpoint: Endpoint,
    id: &'static str,
    codes: &'static [u32],
}

fn certificate(folder: &Path, id: &'static str, codes: &'static [u32]) -> Result<Box<dyn Rig>, String> {
    let endpoint = Endpoint::start(folder, "")?;
    Ok(Box::new(Certificate { endpoint, id, codes }))
}

impl Rig for Certificate {
    fn targets(&self) -> String {
        self.endpoint.declared()
    }

    fn fault(&self) -> String {
        format!("id = \"{}\"\ntarget = \"gateway\"\n", self.id)
    }

    fn state(&mut self) -> Result<String, String> {
        self.endpoint.state()
    }

    fn shows(&mut self) -> Result<bool, String> {
        match self.endpoint.verification(&[])? {
            VERIFIES => Ok(false),
            code if self.codes.contains(&code) => Ok(true),
            code => Err(format!("openssl finds something else wrong: {code}")),
        }
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        Some(self.endpoint.meddle("server.pem", &self.endpoint.renewed))
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        self.endpoint.nginx.kill();
        Some(Ok(()))
    }

    fn revive(&mut self) -> Result<(), String> {
        self.endpoint.revive()
    }
}
