//! Rigs with nginx and HAProxy, and the running of both.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Kept, Make, Rig, service};

pub(super) const RIGS: &[(&str, Make)] = &[
    ("config-edited", |folder| {
        let keys = |_| "find = '\"real\"'\ntext = \"edited\"\nshows = \"edited\"\n".to_owned();
        web(folder, "config-edited", keys, |rig| {
            Ok(get(rig.port, "/app")? == "200 edited")
        })
    }),
    ("debug-on", |folder| {
        let keys = |_| "path = \"/debug-status\"\n".to_owned();
        web(folder, "debug-on", keys, |rig| {
            Ok(get(rig.port, "/debug-status")?.contains("server accepts handled"))
        })
    }),
    ("dependency-compromised", |folder| {
        let keys = |other| format!("impostor = \"127.0.0.1:{other}\"\nbody = \"altered\"\n");
        web(folder, "dependency-compromised", keys, |rig| {
            Ok(get(rig.port, "/app")? == "200 altered")
        })
    }),
    ("port-open", |folder| {
        let keys = |other| format!("listen = \"127.0.0.1:{other}\"\n");
        web(folder, "port-open", keys, |rig| {
            Ok(get(rig.other, "/admin")? == "200 admin")
        })
    }),
    ("upstream-withdrawn", upstream_withdrawn),
];

/// An nginx with its configuration, and everything that it writes, in a folder of its own.
pub(super) struct Nginx {
    folder: PathBuf,
    /// Its `http` block's contents.
    http: String,
    running: Option<Group>,
}

impl Nginx {
    /// Starts it. `port` is one that it will listen on.
    pub(super) fn start(folder: &Path, port: u16, http: String) -> Result<Nginx, String> {
        let mut nginx = Nginx {
            folder: folder.to_owned(),
            http,
            running: None,
        };
        nginx.revive(port)?;
        Ok(nginx)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("nginx.conf")
    }

    /// Its configuration as it was at first, and it runs, with that.
    pub(super) fn revive(&mut self, port: u16) -> Result<(), String> {
        let folder = self.folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("  {name}_temp_path {folder}/{name};\n"))
            .collect();
        let config = format!(
            "daemon off;\nworker_processes 1;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n\
             events {{ worker_connections 64; }}\nhttp {{\n  access_log off;\n{temporary}{}}}\n",
            self.http
        );
        write(&self.config(), &config)?;
        service::remove_kept(&self.folder)?;
        // What it was told to do by reloads so far is forgotten with it.
        self.kill();
        let _ = fs::remove_file(self.folder.join("nginx.pid"));
        let mut command = self.command();
        self.running = Some(Group::start(&mut command)?);
        service::wait_for_port(port)?;
        // It listens before it says who it is, which a reload asks.
        let pid = self.folder.join("nginx.pid");
        service::wait("nginx has its pid file", || {
            fs::metadata(&pid).is_ok_and(|metadata| metadata.len() > 0)
        })
    }

    /// Kills every process of it at once.
    pub(super) fn kill(&mut self) {
        self.running = None;
    }

    /// The command line that makes it read its configuration again.
    pub(super) fn reload(&self) -> Vec<String> {
        let command = self.command();
        let words = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| word.to_string_lossy().into_owned());
        words.chain(["-s".to_owned(), "reload".to_owned()]).collect()
    }

    fn command(&self) -> Command {
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(&self.folder);
        command.arg("-e").arg(self.folder.join("error.log"));
        command.arg("-c").arg(self.config());
        command
    }
}

/// An nginx with a page, an admin page, and a dependency behind it; and a port that is free.
struct Web {
    nginx: Nginx,
    port: u16,
    other: u16,
    id: &'static str,
    keys: String,
    shows: fn(&Web) -> Result<bool, String>,
}

fn web(
    folder: &Path,
    id: &'static str,
    keys: fn(u16) -> String,
    shows: fn(&Web) -> Result<bool, String>,
) -> Result<Box<dyn Rig>, String> {
    let [port, behind, other] = service::free_ports()?;
    let http = format!(
        "  server {{\n    listen 127.0.0.1:{port};\n    location / {{ return 200 \"hello\\n\"; }}\n    \
         location /admin {{ return 200 \"admin\"; }}\n    \
         location /app {{ proxy_pass http://127.0.0.1:{behind}; }}\n  }}\n  \
         server {{ listen 127.0.0.1:{behind}; location / {{ return 200 \"real\"; }} }}\n"
    );
    Ok(Box::new(Web {
        nginx: Nginx::start(folder, port, http)?,
        port,
        other,
        id,
        keys: keys(other),
        shows,
    }))
}

impl Rig for Web {
    fn targets(&self) -> String {
        format!(
            "[chaos.target.web]\nkind = \"http\"\nopted_in = true\nrung = \"isolated\"\n\
             address = \"127.0.0.1:{}\"\npath = \"/app\"\nconfig = \"{}\"\nreload = {:?}\n",
            self.port,
            self.nginx.config().display(),
            self.nginx.reload()
        )
    }

    fn fault(&self) -> String {
        format!("id = \"{}\"\ntarget = \"web\"\n{}", self.id, self.keys)
    }

    fn state(&mut self) -> Result<String, String> {
        let config = self.nginx.config();
        let text = fs::read_to_string(&config).map_err(|error| error.to_string())?;
        let mode = fs::metadata(&config).map_err(|error| error.to_string())?.permissions();
        let pages: Result<Vec<String>, String> = ["/", "/admin", "/app", "/debug-status"]
            .iter()
            .map(|path| get(self.port, path))
            .collect();
        Ok(format!("{mode:?} {text} {:?} {}", pages?, get(self.other, "/")?))
    }

    fn shows(&mut self) -> Result<bool, String> {
        (self.shows)(self)
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        Some(add_line(self.nginx.config()))
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        self.nginx.kill();
        Some(Ok(()))
    }

    fn revive(&mut self) -> Result<(), String> {
        self.nginx.revive(self.port)
    }
}

/// Somebody else adds a comment to a file.
pub(super) fn add_line(path: PathBuf) -> Result<Kept, String> {
    let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let text = format!("{text}# changed by hand\n");
    write(&path, &text)?;
    Ok(Box::new(move || {
        let now = fs::read_to_string(&path).map_err(|error| error.to_string())?;
        Ok(now == text)
    }))
}

/// Status and body of a page, or `000` where nobody answers.
pub(super) fn get(port: u16, path: &str) -> Result<String, String> {
    let url = format!("http://127.0.0.1:{port}{path}");
    let answer = output(&["curl", "-s", "-m", "4", "-w", "\n%{http_code}", &url])?;
    let (body, status) = answer.rsplit_once('\n').unwrap_or(("", &answer));
    Ok(format!("{status} {body}"))
}

/// A HAProxy in front of one server, which is another of its own frontends.
struct Balancer {
    folder: PathBuf,
    port: u16,
    running: Option<Group>,
}

fn upstream_withdrawn(folder: &Path) -> Result<Box<dyn Rig>, String> {
    let [port, behind] = service::free_ports()?;
    let path = folder.display();
    let config = format!(
        "global\n  stats socket {path}/admin.sock mode 600 level admin\ndefaults\n  mode http\n  \
         timeout connect 1s\n  timeout client 5s\n  timeout server 5s\nfrontend front\n  bind 127.0.0.1:{port}\n  \
         default_backend app\nbackend app\n  server s1 127.0.0.1:{behind}\nfrontend behind\n  \
         bind 127.0.0.1:{behind}\n  http-request return status 200 content-type text/plain string real\n"
    );
    write(&folder.join("haproxy.cfg"), &config)?;
    let mut rig = Balancer {
        folder: folder.to_owned(),
        port,
        running: None,
    };
    rig.revive()?;
    Ok(Box::new(rig))
}

impl Balancer {
    fn order(folder: &Path, words: &str) -> Result<String, String> {
        use std::io::{Read, Write};
        let failed = |error: std::io::Error| error.to_string();
        let mut socket = std::os::unix::net::UnixStream::connect(folder.join("admin.sock")).map_err(failed)?;
        socket.write_all(format!("{words}\n").as_bytes()).map_err(failed)?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).map_err(failed)?;
        Ok(answer)
    }

    /// `READY`, `MAINT` or `DRAIN`, as its statistics have it.
    fn status(folder: &Path) -> Result<String, String> {
        let table = Self::order(folder, "show stat")?;
        let row = table.lines().find(|line| line.starts_with("app,s1,"));
        let status = row.and_then(|row| row.split(',').nth(17));
        status.map(str::to_owned).ok_or_else(|| "no such server".to_owned())
    }
}

impl Rig for Balancer {
    fn targets(&self) -> String {
        format!(
            "[chaos.target.balancer]\nkind = \"http\"\nopted_in = true\nrung = \"isolated\"\n\
             address = \"127.0.0.1:{}\"\nconfig = \"{}\"\n",
            self.port,
            self.folder.join("haproxy.cfg").display()
        )
    }

    fn fault(&self) -> String {
        "id = \"upstream-withdrawn\"\ntarget = \"balancer\"\nbackend = \"app\"\nserver = \"s1\"\n".to_owned()
    }

    fn state(&mut self) -> Result<String, String> {
        Ok(format!("{} {}", Self::status(&self.folder)?, get(self.port, "/")?))
    }

    fn shows(&mut self) -> Result<bool, String> {
        Ok(get(self.port, "/")?.starts_with("503"))
    }

    fn meddle(&mut self) -> Option<Result<Kept, String>> {
        let folder = self.folder.clone();
        let drained = Self::order(&folder, "set server app/s1 state drain");
        let kept = move || Ok(Self::status(&folder)?.starts_with("DRAIN"));
        Some(drained.map(|_| Box::new(kept) as Kept))
    }

    fn kill(&mut self) -> Option<Result<(), String>> {
        self.running = None;
        Some(Ok(()))
    }

    fn revive(&mut self) -> Result<(), String> {
        self.running = None;
        let mut command = Command::new("/usr/sbin/haproxy");
        command.arg("-db").arg("-f").arg(self.folder.join("haproxy.cfg"));
        self.running = Some(Group::start(&mut command)?);
        service::wait_for_port(self.port)?;
        service::wait("HAProxy takes orders", || Self::status(&self.folder).is_ok())
    }
}

/// A process and those it starts, killed together when this is dropped.
pub(super) struct Group(Child);

impl Group {
    pub(super) fn start(command: &mut Command) -> Result<Group, String> {
        let program = command.get_program().to_owned();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map(Group)
            .map_err(|error| format!("{}: {error}", program.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is not reaped yet, so the number of its group is still its own.
        if let Some(pid) = i32::try_from(self.0.id()).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
        let _ = self.0.wait();
    }
}

pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// What a program prints, which ends within five seconds.
pub(super) fn output(words: &[&str]) -> Result<String, String> {
    let done = Command::new("timeout")
        .arg("5")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{words:?}: {error}"))?;
    Ok(format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    ))
}
