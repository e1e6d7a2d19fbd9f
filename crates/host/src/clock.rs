//! The clocks, read in one place.

use std::time::Duration;

use evidence::{Now, Timestamp};

/// What the machine's clocks say now: `CLOCK_REALTIME` and `CLOCK_BOOTTIME`.
///
/// Whoever owns the machine can set the first; the second only goes forward, and starts again at each boot. Where
/// there is no boot clock (outside Linux), the second counts from the first call in this process.
pub fn now() -> Now {
    Now {
        utc: utc(),
        boottime: boottime(),
    }
}

fn utc() -> Timestamp {
    // A clock before 1970 or after the year 9999 is a broken clock; the epoch makes every age check see that.
    Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(target_os = "linux")]
fn boottime() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(not(target_os = "linux"))]
fn boottime() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_go_forward() {
        let first = now();
        std::thread::sleep(Duration::from_millis(2));
        let second = now();
        assert!(second.boottime > first.boottime);
        assert!(first.utc > Timestamp::UNIX_EPOCH);
    }
}
