//! The worker: a process that holds the links' proxies, and with them every link fault.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use net::proxy::{Applied, Proxy};

use super::ProcessError;
use super::helper::{Helper, Start, inherited};
use super::wire::{self, Answer, Ask, Request, Response, VERSION, WireApplied};

const ROLE: &str = "worker";
/// A supervisor that says nothing for longer is as good as dead, in milliseconds.
const SILENCE_MS_MAX: u64 = 5_000;

/// The supervisor's handle of the worker. Dropping it ends the worker, and with it every fault in it.
pub struct Worker {
    exe: PathBuf,
    links: Mutex<Vec<Link>>,
    helper: Mutex<Arc<Helper>>,
    warden: Mutex<Weak<Helper>>,
}

/// A link: its name, the socket that clients connect to, and where it leads. The socket stays open here too, so
/// that a new worker takes over its queue.
struct Link {
    name: String,
    listener: TcpListener,
    upstream: SocketAddr,
}

impl Worker {
    /// Starts the worker: `exe` is this program. Each link has a name, a listening socket and an upstream.
    ///
    /// It blocks until the worker carries traffic: some milliseconds.
    pub fn spawn(exe: &Path, links: Vec<(String, TcpListener, SocketAddr)>) -> Result<Worker, ProcessError> {
        let link = |(name, listener, upstream)| Link {
            name,
            listener,
            upstream,
        };
        let links: Vec<Link> = links.into_iter().map(link).collect();
        let helper = start(exe, &links)?;
        Ok(Worker {
            exe: exe.to_owned(),
            links: Mutex::new(links),
            helper: Mutex::new(Arc::new(helper)),
            warden: Mutex::new(Weak::new()),
        })
    }

    /// Replaces the toxics of a link.
    pub async fn set(&self, link: &str, toxics: Vec<Applied>) -> Result<(), ProcessError> {
        let toxics = toxics.into_iter().map(WireApplied::from).collect();
        self.done(Ask::SetToxics {
            link: link.to_owned(),
            toxics,
        })
        .await
    }

    /// The toxics of a link, as its connections have them.
    pub async fn get(&self, link: &str) -> Result<Vec<Applied>, ProcessError> {
        match self.helper().ask(Ask::GetToxics { link: link.to_owned() }).await? {
            Answer::Toxics { toxics } => Ok(toxics.into_iter().map(Applied::from).collect()),
            answer => Err(refused(answer)),
        }
    }

    /// Leads a link to another upstream; its connections are closed, its toxics stay.
    pub async fn set_upstream(&self, link: &str, upstream: SocketAddr) -> Result<(), ProcessError> {
        self.done(Ask::SetUpstream {
            link: link.to_owned(),
            upstream,
        })
        .await?;
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        for known in links.iter_mut().filter(|known| known.name == link) {
            known.upstream = upstream;
        }
        Ok(())
    }

    /// Starts a new worker on the same sockets, without toxics, when the old one is gone.
    pub fn respawn(&self) -> Result<(), ProcessError> {
        let mut helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner);
        // The old one is stopped before the new one begins: two must never answer on one socket.
        helper.stop();
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        *helper = Arc::new(start(&self.exe, &links)?);
        let warden = self.warden.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(warden) = warden {
            warden.ask_blocking(Ask::Guard { pid: helper.pid() })?;
        }
        Ok(())
    }

    /// False once it is known to be gone: at the latest a heartbeat after its end.
    pub fn is_running(&self) -> bool {
        self.helper().is_running()
    }

    /// Waits until the worker is gone, though nobody stopped it.
    pub async fn ended(&self) {
        let helper = self.helper();
        helper.ended().await;
    }

    pub fn pid(&self) -> u32 {
        u32::try_from(self.helper().pid()).unwrap_or(0)
    }

    /// Ends the worker and waits for its exit.
    pub fn stop(&self) {
        self.helper().stop();
    }

    /// From now on this warden is told of each new worker.
    pub(super) fn attach(&self, warden: &Arc<Helper>) {
        *self.warden.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(warden);
    }

    fn helper(&self) -> Arc<Helper> {
        self.helper.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn done(&self, ask: Ask) -> Result<(), ProcessError> {
        match self.helper().ask(ask).await? {
            Answer::Done => Ok(()),
            answer => Err(refused(answer)),
        }
    }
}

fn refused(answer: Answer) -> ProcessError {
    let reason = match answer {
        Answer::Refused { reason } => reason,
        Answer::Done | Answer::Toxics { .. } => "it answered something else".to_owned(),
    };
    ProcessError::Refused { role: ROLE, reason }
}

fn start(exe: &Path, links: &[Link]) -> Result<Helper, ProcessError> {
    let mut args = Vec::new();
    for link in links {
        args.push("--link".to_owned());
        args.extend([
            link.name.clone(),
            link.listener.as_raw_fd().to_string(),
            link.upstream.to_string(),
        ]);
    }
    let inherited = links.iter().map(|link| link.listener.as_raw_fd()).collect();
    Helper::start(Start {
        role: ROLE,
        exe,
        args,
        inherited,
        dies_with_parent: true,
        farewell: None,
    })
}

/// The worker's process. `args` stand behind `__worker`; the answer is the exit code.
pub fn worker_main(args: &[String]) -> u8 {
    // Whatever it says, there is nobody left to hear it: the supervisor sees the socket close.
    u8::from(serve(args).is_err())
}

fn serve(args: &[String]) -> Result<(), String> {
    let (control, links) = parse(args)?;
    let mut control = UnixStream::from(inherited(control)?);
    control
        .set_read_timeout(Some(Duration::from_millis(SILENCE_MS_MAX)))
        .map_err(|error| error.to_string())?;
    let proxies = Proxies::start(links)?;
    // The end of the stream, silence and nonsense all end the process, and the kernel closes every connection.
    while let Ok(Some(Request { v: VERSION, id, ask })) = wire::read(&mut control) {
        let answer = proxies.answer(ask);
        if wire::write(&mut control, &Response { v: VERSION, id, answer }).is_err() {
            break;
        }
    }
    std::process::exit(0)
}

type Named<'a> = Vec<(&'a str, &'a str, &'a str)>;

/// `--control-fd FD [--link NAME FD UPSTREAM]…`
fn parse(args: &[String]) -> Result<(&str, Named<'_>), String> {
    let mut control = None;
    let mut links = Vec::new();
    let mut rest = args.iter().map(String::as_str);
    while let Some(arg) = rest.next() {
        match (arg, rest.next()) {
            ("--control-fd", Some(fd)) => control = Some(fd),
            ("--link", Some(name)) => {
                let (Some(fd), Some(upstream)) = (rest.next(), rest.next()) else {
                    return Err(format!("link `{name}` is not complete"));
                };
                links.push((name, fd, upstream));
            }
            _ => return Err(format!("`{arg}` is not known here")),
        }
    }
    Ok((control.ok_or("`--control-fd` is missing")?, links))
}

/// The links of the worker.
struct Proxies(BTreeMap<String, Proxy>);

impl Proxies {
    fn start(links: Named<'_>) -> Result<Proxies, String> {
        let mut proxies = BTreeMap::new();
        for (name, fd, upstream) in links {
            let listener = TcpListener::from(inherited(fd)?);
            let upstream: SocketAddr = upstream
                .parse()
                .map_err(|_| format!("`{upstream}` is not an address"))?;
            proxies.insert(name.to_owned(), Proxy::start(listener, upstream.into()));
        }
        Ok(Proxies(proxies))
    }

    fn answer(&self, ask: Ask) -> Answer {
        let answered = match ask {
            Ask::Ping => Ok(Answer::Done),
            Ask::SetToxics { link, toxics } => self.link(&link).map(|proxy| {
                proxy.set(toxics.into_iter().map(Applied::from).collect());
                Answer::Done
            }),
            Ask::GetToxics { link } => self.link(&link).map(|proxy| Answer::Toxics {
                toxics: proxy.toxics().into_iter().map(WireApplied::from).collect(),
            }),
            Ask::SetUpstream { link, upstream } => self.link(&link).map(|proxy| {
                proxy.set_upstream(upstream.into());
                Answer::Done
            }),
            Ask::Guard { .. }
            | Ask::Hold { .. }
            | Ask::Arm { .. }
            | Ask::Disarm
            | Ask::Serve { .. }
            | Ask::StandDown => Err("a worker does not do that".to_owned()),
        };
        answered.unwrap_or_else(|reason| Answer::Refused { reason })
    }

    fn link(&self, name: &str) -> Result<&Proxy, String> {
        self.0.get(name).ok_or_else(|| format!("no link is called `{name}`"))
    }
}
