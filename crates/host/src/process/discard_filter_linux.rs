//! The seccomp filter of a throwaway copy: calls that reach the kernel, the clock or the machine beyond any namespace.
//!
//! What is refused fails with `EPERM`, as it does for a user without rights; calls that programs have another way for
//! fail with `ENOSYS`. Capabilities forbid most of it already: this holds where they are checked in a namespace.

use libc::{c_long, sock_filter};

use super::filter_linux::{self, argument, code, step};

/// Refused whatever the arguments.
const REFUSED: [c_long; 33] = [
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_lookup_dcookie,
    libc::SYS_fanotify_init,
    libc::SYS_ioprio_set,
    libc::SYS_mbind,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // Memory that belongs to no process, so that no limit of one bounds it and its death doesn't free it at once.
    libc::SYS_shmget,
    libc::SYS_memfd_secret,
];

/// Refused as if the kernel didn't know them. The first make mounts in steps that a filter can't tell apart; memory files are no
/// process's, as above.
const UNKNOWN: [c_long; 8] = [
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_memfd_create,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: [c_long; 4] = [libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_uselib, libc::SYS__sysctl];
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: [c_long; 0] = [];

/// Families of sockets that end in the tree's own network: nothing that reaches a hypervisor or loads a module.
const FAMILIES: [libc::c_int; 5] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
    libc::AF_PACKET,
];

/// The filter's instructions; `None` on an architecture whose calls nobody has written down.
pub(super) fn program() -> Option<Vec<sock_filter>> {
    const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    const NO_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    const NO_FAMILY: u32 = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT.unsigned_abs();
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    let number = |call: c_long| u32::try_from(call).unwrap_or(u32::MAX);
    let mut steps = filter_linux::own_architecture()?;
    let lists: [(&[c_long], u32); 3] = [(&REFUSED, REFUSE), (&REFUSED_HERE, REFUSE), (&UNKNOWN, NO_CALL)];
    for (calls, answer) in lists {
        for call in calls {
            steps.push(step(code::EQUAL, number(*call), 0, 1));
            steps.push(step(code::RETURN, answer, 0, 0));
        }
    }
    // A new file system would be memory without a bound, or the kernel reading an image that the tree wrote. What is mounted may
    // be bound elsewhere, moved and given new flags.
    let changes = [libc::MS_BIND, libc::MS_MOVE, libc::MS_REMOUNT];
    let changes = changes.iter().fold(0, |all, flag| all | flag);
    let spreads = [libc::MS_PRIVATE, libc::MS_SLAVE, libc::MS_SHARED, libc::MS_UNBINDABLE];
    let spreads = spreads.iter().fold(0, |all, flag| all | flag);
    let flag = |flags: libc::c_ulong| u32::try_from(flags).unwrap_or(0);
    steps.extend([
        step(code::EQUAL, number(libc::SYS_mount), 0, 7),
        step(code::LOAD, argument(3), 0, 0),
        step(code::ANY_BIT, flag(changes), 4, 0),
        // The kernel takes these upper bits for a magic number of old, not for flags.
        step(code::AND, 0xffff_0000, 0, 0),
        step(code::EQUAL, flag(libc::MS_MGC_VAL), 1, 0),
        step(code::ANY_BIT, flag(spreads), 1, 0),
        step(code::RETURN, REFUSE, 0, 0),
        step(code::RETURN, ALLOW, 0, 0),
    ]);
    steps.push(step(
        code::EQUAL,
        number(libc::SYS_socket),
        0,
        u8::try_from(FAMILIES.len() + 2).ok()?,
    ));
    steps.push(step(code::LOAD, argument(0), 0, 0));
    for (index, family) in FAMILIES.iter().enumerate() {
        let to_allow = u8::try_from(FAMILIES.len() - index).ok()?;
        steps.push(step(code::EQUAL, family.unsigned_abs(), to_allow, 0));
    }
    steps.push(step(code::RETURN, NO_FAMILY, 0, 0));
    steps.push(step(code::RETURN, ALLOW, 0, 0));
    Some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::filter_linux::{ARCHITECTURE, answer_of};

    #[test]
    fn calls_beyond_the_namespaces_are_refused() {
        let refuse = libc::SECCOMP_RET_ERRNO | 1;
        let unknown = libc::SECCOMP_RET_ERRNO | 38;
        let no_family = libc::SECCOMP_RET_ERRNO | 97;
        let allow = libc::SECCOMP_RET_ALLOW;
        let program = program().unwrap();
        let check = |call: c_long, arguments: [u32; 6], expect: u32| {
            let number = u32::try_from(call).unwrap();
            assert_eq!(answer_of(&program, ARCHITECTURE, number, arguments), expect, "{call}");
            assert_eq!(answer_of(&program, 0x4000_0003, number, arguments), unknown, "{call}");
        };
        check(libc::SYS_reboot, [0; 6], refuse);
        check(libc::SYS_shmget, [0; 6], refuse);
        check(libc::SYS_fsopen, [0; 6], unknown);
        check(libc::SYS_openat, [0; 6], allow);
        let mounting = |flags: libc::c_ulong| [0, 0, 0, u32::try_from(flags).unwrap(), 0, 0];
        check(libc::SYS_mount, mounting(0), refuse);
        check(libc::SYS_mount, mounting(libc::MS_NOSUID), refuse);
        check(libc::SYS_mount, mounting(libc::MS_MGC_VAL), refuse);
        check(libc::SYS_mount, mounting(libc::MS_MGC_VAL | libc::MS_BIND), allow);
        check(libc::SYS_mount, mounting(libc::MS_BIND | libc::MS_REC), allow);
        check(libc::SYS_mount, mounting(libc::MS_REC | libc::MS_PRIVATE), allow);
        check(libc::SYS_socket, [1, 0, 0, 0, 0, 0], allow);
        check(libc::SYS_socket, [17, 0, 0, 0, 0, 0], allow);
        check(libc::SYS_socket, [40, 0, 0, 0, 0, 0], no_family);
        check(libc::SYS_socket, [38, 0, 0, 0, 0, 0], no_family);
    }
}
