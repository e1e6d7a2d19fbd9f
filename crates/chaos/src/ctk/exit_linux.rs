//! The end of a process, waited for by its descriptor: no sleep is too long, no look too early.

use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A process that will end.
pub(super) struct Exit(OwnedFd);

impl Exit {
    /// `None` where the kernel has no such descriptors.
    pub(super) fn of(child: &Child) -> Option<Exit> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw)?;
        pidfd_open(pid, PidfdFlags::empty()).ok().map(Exit)
    }

    /// Waits for the end or for this long; false when the kernel can't wait.
    pub(super) fn wait(&self, longest: Duration) -> bool {
        let longest = rustix::time::Timespec {
            tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(longest.subsec_nanos()),
        };
        rustix::event::poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&longest)).is_ok()
    }
}
