//! The seccomp filter that reports what opens, executes and connects (seccomp(2), seccomp_unotify(2)).

use libc::{c_long, sock_filter};

#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xC000_00B7;

/// What a reported call does, for the watcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Open,
    OpenAt,
    OpenAt2,
    Create,
    Execute,
    ExecuteAt,
    Connect,
    SendTo,
    /// The path in the first argument is changed.
    Change,
    /// The path in the second argument, relative to the first, is changed.
    ChangeAt,
    /// Both the first and the second argument.
    ChangeBoth,
    /// The second argument relative to the first, and the fourth relative to the third.
    ChangeBothAt,
    /// Only the second argument.
    ChangeSecond,
    /// Only the third argument, relative to the second.
    ChangeThirdAt,
    /// Only the fourth argument, relative to the third.
    ChangeFourthAt,
}

/// The calls of this architecture; `None` where nobody has looked at it.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const CALLS: Option<&[(c_long, Call)]> = Some(&[
    (libc::SYS_openat, Call::OpenAt),
    (libc::SYS_openat2, Call::OpenAt2),
    (libc::SYS_execve, Call::Execute),
    (libc::SYS_execveat, Call::ExecuteAt),
    (libc::SYS_connect, Call::Connect),
    (libc::SYS_sendto, Call::SendTo),
    (libc::SYS_unlinkat, Call::ChangeAt),
    (libc::SYS_renameat, Call::ChangeBothAt),
    (libc::SYS_renameat2, Call::ChangeBothAt),
    (libc::SYS_linkat, Call::ChangeFourthAt),
    (libc::SYS_symlinkat, Call::ChangeThirdAt),
    (libc::SYS_truncate, Call::Change),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, Call::Open),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, Call::Create),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, Call::Change),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, Call::ChangeBoth),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, Call::ChangeSecond),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, Call::ChangeSecond),
]);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const CALLS: Option<&[(c_long, Call)]> = None;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) const ARCHITECTURE: u32 = 0;

/// What this call number stands for.
pub(super) fn call(number: i32) -> Option<Call> {
    CALLS?
        .iter()
        .find(|(candidate, _)| *candidate == c_long::from(number))
        .map(|(_, call)| *call)
}

/// The filter's instructions; `None` on an architecture whose calls nobody has written down.
///
/// Calls of another architecture (32-bit programs, x32) fail with `ENOSYS`: they would go unseen. So does
/// `io_uring_setup`, whose rings open files without a call; programs fall back to plain calls.
pub(super) fn program() -> Option<Vec<sock_filter>> {
    use code::{ANY_BIT, EQUAL, LOAD, RETURN};
    const NO_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    // Opened for their name only, or to be listed: no content is read or written.
    const NO_CONTENT: u32 = (libc::O_PATH | libc::O_DIRECTORY).unsigned_abs();

    let number = |call: c_long| u32::try_from(call).unwrap_or(u32::MAX);
    let calls = CALLS?;
    let mut steps = own_architecture()?;
    for refused in [libc::SYS_io_uring_setup, libc::SYS_open_by_handle_at] {
        steps.push(step(EQUAL, number(refused), 0, 1));
        steps.push(step(RETURN, NO_CALL, 0, 0));
    }
    for (call, what) in calls {
        let flags = match what {
            Call::Open => Some(argument(1)),
            Call::OpenAt => Some(argument(2)),
            _ => None,
        };
        match (what, flags) {
            (_, Some(flags)) => {
                steps.push(step(EQUAL, number(*call), 0, 4));
                steps.push(step(LOAD, flags, 0, 0));
                steps.push(step(ANY_BIT, NO_CONTENT, 0, 1));
                steps.push(step(RETURN, ALLOW, 0, 0));
                steps.push(step(RETURN, NOTIFY, 0, 0));
            }
            (Call::SendTo, _) => {
                // Without an address it is `send`. No address lies in the first 4 GiB with zero lower bits.
                steps.push(step(EQUAL, number(*call), 0, 4));
                steps.push(step(LOAD, argument(4), 0, 0));
                steps.push(step(EQUAL, 0, 0, 1));
                steps.push(step(RETURN, ALLOW, 0, 0));
                steps.push(step(RETURN, NOTIFY, 0, 0));
            }
            _ => {
                steps.push(step(EQUAL, number(*call), 0, 1));
                steps.push(step(RETURN, NOTIFY, 0, 0));
            }
        }
    }
    steps.push(step(RETURN, ALLOW, 0, 0));
    Some(steps)
}

/// Operations of a filter's machine (linux/filter.h).
pub(super) mod code {
    pub const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    pub const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
    pub const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    pub const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    pub const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
    pub const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
}

/// Where the lower half of an argument lies in `struct seccomp_data`.
pub(super) const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// One instruction; `yes` and `no` say how many are skipped.
pub(super) fn step(code: u32, value: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt: yes,
        jf: no,
        k: value,
    }
}

/// How every filter starts: calls of another architecture fail, and the call's number is loaded. `None` on an architecture whose
/// calls nobody has written down.
pub(super) fn own_architecture() -> Option<Vec<sock_filter>> {
    // Offsets in `struct seccomp_data`.
    const NUMBER: u32 = 0;
    const ARCH: u32 = 4;
    const NO_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    CALLS?;
    let mut steps = vec![
        step(code::LOAD, ARCH, 0, 0),
        step(code::EQUAL, ARCHITECTURE, 1, 0),
        step(code::RETURN, NO_CALL, 0, 0),
        step(code::LOAD, NUMBER, 0, 0),
    ];
    if cfg!(target_arch = "x86_64") {
        const X32: u32 = 0x4000_0000;
        steps.push(step(code::AT_LEAST, X32, 0, 1));
        steps.push(step(code::RETURN, NO_CALL, 0, 0));
    }
    Some(steps)
}

/// A machine for the few instructions used: what a filter returns for a call.
#[cfg(test)]
pub(super) fn answer_of(program: &[sock_filter], arch: u32, number: u32, arguments: [u32; 6]) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let step = &program[at];
        at += 1;
        let skip = |holds: bool| usize::from(if holds { step.jt } else { step.jf });
        match u32::from(step.code) {
            code::LOAD => {
                accumulator = match step.k {
                    0 => number,
                    4 => arch,
                    k => arguments[(k as usize - 16) / 8],
                }
            }
            code::AND => accumulator &= step.k,
            code::EQUAL => at += skip(accumulator == step.k),
            code::AT_LEAST => at += skip(accumulator >= step.k),
            code::ANY_BIT => at += skip(accumulator & step.k != 0),
            _ => return step.k,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_sorted_into_reported_refused_and_let_through() {
        let no_call = libc::SECCOMP_RET_ERRNO | 38;
        let check = |call: c_long, arguments: [u32; 6], expect: u32| {
            let number = u32::try_from(call).unwrap();
            assert_eq!(
                answer_of(&program().unwrap(), ARCHITECTURE, number, arguments),
                expect,
                "{call}"
            );
            assert_eq!(
                answer_of(&program().unwrap(), 0x4000_0003, number, arguments),
                no_call,
                "{call}"
            );
        };
        let directory = u32::try_from(libc::O_DIRECTORY).unwrap();
        let report = libc::SECCOMP_RET_USER_NOTIF;
        let allow = libc::SECCOMP_RET_ALLOW;
        check(libc::SYS_openat, [0; 6], report);
        check(libc::SYS_openat, [0, 0, directory, 0, 0, 0], allow);
        check(libc::SYS_execve, [0; 6], report);
        check(libc::SYS_connect, [0; 6], report);
        check(libc::SYS_sendto, [0; 6], allow);
        check(libc::SYS_sendto, [0, 0, 0, 0, 1, 0], report);
        check(libc::SYS_io_uring_setup, [0; 6], no_call);
        check(libc::SYS_read, [0; 6], allow);
        check(libc::SYS_renameat2, [0; 6], report);
        check(libc::SYS_truncate, [0; 6], report);
    }
}
