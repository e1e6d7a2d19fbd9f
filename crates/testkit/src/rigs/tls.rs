//! Rigs for faults on TLS endpoints: an nginx with a certificate of an authority that is made for it, asked by OpenSSL.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use super::http::{Nginx, add_line, get, output, write};
use super::{Kept, Make, Rig, service};

pub(super) const RIGS: &[(&str, Make)] = &[
    ("certificate-expired", |folder| {
        gateway(folder, "certificate-expired", "server.pem", |rig| rig.refused(&[10]))
    }),
    ("certificate-not-yet-valid", |folder| {
        gateway(folder, "certificate-not-yet-valid", "server.pem", |rig| {
            rig.refused(&[9])
        })
    }),
    ("certificate-revoked", |folder| {
        gateway(folder, "certificate-revoked", "ca.crl", |rig| {
            // What was revoked before stays revoked.
            let list = rig.endpoint.folder.join("ca.crl").display().to_string();
            if !output(&["openssl", "crl", "-in", &list, "-noout", "-text"])?.contains("Serial Number: 63") {
                return Err("an earlier revocation is gone".to_owned());
            }
            rig.refused(&[23])
        })
    }),
    ("certificate-untrusted", |folder| {
        gateway(folder, "certificate-untrusted", "server.pem", |rig| {
            rig.refused(&[20, 21])
        })
    }),
    ("certificate-wrong-name", |folder| {
        gateway(folder, "certificate-wrong-name", "server.pem", |rig| rig.refused(&[62]))
    }),
    ("signing-key-compromised", |folder| {
        gateway(folder, "signing-key-compromised", "", |rig| {
            Ok(rig.endpoint.verification_at(rig.other, &[])? == Some(VERIFIES))
        })
    }),
    ("tls-off", |folder| {
        gateway(folder, "tls-off", "nginx.conf", |rig| {
            Ok(get(rig.endpoint.port, "/")? == "200 hello\n")
        })
    }),
    ("tls-weak", |folder| {
        gateway(folder, "tls-weak", "nginx.conf", |rig| {
            let speaks = |version| rig.endpoint.speaks(version);
            if !speaks("-tls1_2")? {
                return Err("it does not speak TLS 1.2".to_owned());
            }
            Ok(!speaks("-tls1_3")?)
        })
    }),
];

/// The name in its certificate.
const NAME: &str = "gateway.test";
/// <https://docs.openssl.org/3.0/man1/openssl-verification-options/>: nothing is wrong.
const VERIFIES: u32 = 0;

/// Name and contents of each file.
type Files = Vec<(&'static str, String)>;

/// An authority, and a TLS endpoint that it has given a certificate.
struct Endpoint {
    folder: PathBuf,
    port: u16,
    nginx: Nginx,
    /// What the files are at first, by name.
    files: Files,
    /// A second certificate of the same authority, as good as the first.
    renewed: String,
}

impl Endpoint {
    fn start(folder: &Path) -> Result<Endpoint, String> {
        let [port] = service::free_ports()?;
        let (files, renewed) = issue().map_err(|error| error.to_string())?;
        for (name, text) in &files {
            write(&folder.join(name), text)?;
        }
        let path = folder.display();
        let http = format!(
            "  server {{\n    listen 127.0.0.1:{port} ssl;\n    server_name {NAME};\n    ssl_protocols TLSv1.2 TLSv1.3;\n    \
             ssl_certificate {path}/server.pem;\n    ssl_certificate_key {path}/server.key;\n    \
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

    fn declared(&self) -> String {
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

    /// What OpenSSL says of it, with the authority's revocation list: the code of its verification.
    fn verification(&self) -> Result<u32, String> {
        let list = self.folder.join("ca.crl").display().to_string();
        let code = self.verification_at(self.port, &["-crl_check", "-CRL", &list])?;
        code.ok_or_else(|| "no handshake".to_owned())
    }

    /// True when a client that knows one version alone shakes hands.
    fn speaks(&self, version: &str) -> Result<bool, String> {
        Ok(self.verification_at(self.port, &[version])? == Some(VERIFIES))
    }

    /// `None` when there is no handshake.
    fn verification_at(&self, port: u16, more: &[&str]) -> Result<Option<u32>, String> {
        let address = format!("127.0.0.1:{port}");
        let authority = self.folder.join("ca.pem").display().to_string();
        let words = ["openssl", "s_client", "-connect", &address, "-servername", NAME];
        let verify = ["-verify_hostname", NAME, "-CAfile", &authority];
        let said = output(&[&words[..], &verify, more].concat())?;
        if !said.contains("BEGIN CERTIFICATE") {
            return Ok(None);
        }
        let code = said
            .lines()
            .find_map(|line| line.trim().strip_prefix("Verify return code: "));
        Ok(code.and_then(|rest| rest.split(' ').next()?.parse().ok()))
    }

    /// Files, and what a client sees of them.
    fn state(&self) -> Result<String, String> {
        let mut state = String::new();
        for name in self.files.iter().map(|(name, _)| *name).chain(["nginx.conf"]) {
            use std::os::unix::fs::MetadataExt;
            let path = self.folder.join(name);
            let metadata = fs::metadata(&path).map_err(|error| error.to_string())?;
            let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            state.push_str(&format!("{name} {:o} {} {text}", metadata.mode(), metadata.uid()));
        }
        Ok(format!("{state}{}", self.verification()?))
    }

    fn revive(&mut self) -> Result<(), String> {
        for (name, text) in &self.files {
            let path = self.folder.join(name);
            if fs::read_to_string(&path).ok().as_ref() != Some(text) {
                write(&path, text)?;
            }
        }
        self.nginx.revive(self.port)?;
        service::wait("it verifies again", || self.verification() == Ok(VERIFIES))
    }

    /// The file `name` becomes `text` by another's hand.
    fn meddle(&self, name: &str, text: &str) -> Result<Kept, String> {
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
fn issue() -> Result<(Files, String), rcgen::Error> {
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

/// An endpoint, what is wrong with it, and a port that is free.
struct Gateway {
    endpoint: Endpoint,
    other: u16,
    id: &'static str,
    /// The file that the fault changes, which somebody else changes too; empty where it changes none.
    changed: &'static str,
    shows: fn(&Gateway) -> Result<bool, String>,
}

fn gateway(
    folder: &Path,
    id: &'static str,
    changed: &'static str,
    shows: fn(&Gateway) -> Result<bool, String>,
) -> Result<Box<dyn Rig>, String> {
    let [other] = service::free_ports()?;
    Ok(Box::new(Gateway {
        endpoint: Endpoint::start(folder)?,
        other,
        id,
        changed,
        shows,
    }))
}

impl Gateway {
    /// OpenSSL refuses it for one of the reasons in `codes`, and for no other.
    fn refused(&self, codes: &[u32]) -> Result<bool, String> {
        match self.endpoint.verification()? {
            VERIFIES => Ok(false),
            code if codes.contains(&code) => Ok(true),
            code => Err(format!("openssl finds something else wrong: {code}")),
        }
    }
}

impl Rig for Gateway {
    fn targets(&self) -> String {
        self.endpoint.declared()
    }

    fn fault(&self) -> String {
        let listen = match self.id {
            "signing-key-compromised" => format!("listen = \"127.0.0.1:{}\"\n", self.other),
            _ => String::new(),
        };
        format!("id = \"{}\"\ntarget = \"gateway\"\n{listen}", self.id)
    }

    fn state(&mut self) -> Result<String, String> {
        self.endpoint.state()
    }

    fn shows(&mut self) -> Result<bool, String> {
        (self.shows)(self)
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        match self.changed {
            "" => None,
            "server.pem" => Some(self.endpoint.meddle("server.pem", &self.endpoint.renewed)),
            other => Some(add_line(self.endpoint.folder.join(other))),
        }
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        self.endpoint.nginx.kill();
        Some(Ok(()))
    }

    fn revive(&mut self) -> Result<(), String> {
        self.endpoint.revive()
    }
}
