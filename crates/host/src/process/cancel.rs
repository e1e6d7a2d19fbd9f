//! A flag that also wakes whoever waits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Asks a running [`run`](super::run) to kill its tree and return. Clones share one flag; it is never unset.
#[derive(Clone, Default)]
pub struct Cancel {
    shared: Arc<Shared>,
}

struct Shared {
    cancelled: AtomicBool,
    /// Readable from the first cancellation on.
    #[cfg(target_os = "linux")]
    wake: Option<std::os::fd::OwnedFd>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            cancelled: AtomicBool::new(false),
            // Without an event counter (no more open files) waiters still look at the flag once a second.
            #[cfg(target_os = "linux")]
            wake: rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).ok(),
        }
    }
}

impl Cancel {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the flag and wakes the waiters. Safe to call from anywhere, and more than once.
    pub fn cancel(&self) {
        if self.shared.cancelled.swap(true, Ordering::SeqCst) {
            return;
        }
        #[cfg(target_os = "linux")]
        if let Some(wake) = &self.shared.wake {
            // The counter is at 0, so that this can't block.
            let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
        }
    }

    pub fn is_cancelled(&self) -> bool {
        self.shared.cancelled.load(Ordering::SeqCst)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn wake(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        use std::os::fd::AsFd;
        self.shared.wake.as_ref().map(AsFd::as_fd)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cancel({})", self.is_cancelled())
    }
}
