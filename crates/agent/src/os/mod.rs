//! What the agent asks of the operating system. Nothing outside of this folder names one.
//!
//! Each system offers the same modules, so this is also what `os/windows.rs`, or a folder `os/windows`, has to bring:
//!
//! | module | what it offers | on Linux | on Windows |
//! |---|---|---|---|
//! | `account` | whom a step runs as, by name or number | `/etc/passwd`, `/etc/group` | a logon token |
//! | `engine` | a connection to the container engine, and a pipe for what comes over it | a Unix socket | a named pipe |
//! | `engine_proxy` | the container engine's daemon has a proxy | a unit file of systemd | the machine's environment |
//! | `files` | private files, modes, free space, reads at an offset | modes, `pread`, `statvfs` | access lists, `seek_read`, `GetDiskFreeSpaceEx` |
//! | `folder` | files are made in a folder that is held open | `openat` | `NtCreateFile` with a root |
//! | `identity` | the files that say who the machine is | `/etc/hostname`, `/etc/hosts`, `/etc/machine-id` | the registry |
//! | `load` | processor time and memory in use | `/proc/stat`, `/proc/meminfo` | `GetSystemTimes`, `GlobalMemoryStatusEx` |
//! | `local` | processes of this machine call the agent, which knows whose they are | a socket in a folder, `SO_PEERCRED` | a named pipe |
//! | `machine` | clock, host name, entropy, random bytes | `clock_settime`, `sethostname`, `RNDADDENTROPY` | `SetSystemTime`, `SetComputerNameEx`, `ProcessPrng` |
//! | `memory` | memory that the agent does not need any more is given back | `mallopt`, `malloc_trim` | nothing: the heap does |
//! | `net` | a peer that vanishes is noticed; names have addresses | `TCP_KEEPIDLE` and its kin; `getent` | `SIO_KEEPALIVE_VALS`; `getaddrinfo` |
//! | `output` | what a step prints, until its command has ended | a pipe and `poll` | a named pipe, overlapped |
//! | `power` | the machine is powered off | `poweroff`, `reboot` | `InitiateSystemShutdownEx` |
//! | `process` | a process is started, waited for, and ended with all that it started | cgroups, `/proc`, signals | a job object |
//! | `program` | the agent itself: its end is asked for, memory runs out, orphans | signals, `oom_score_adj`, a subreaper | a service's control handler |
//! | `terminal` | a terminal of a step, and what is typed into it | `openpty` | `CreatePseudoConsole` |
//! | `tools` | a program of the machine is asked something | `fork` and `exec` | `CreateProcess` |

#[cfg(unix)]
mod unix;

#[cfg(unix)]
pub(crate) use unix::{
    account, engine, engine_proxy, files, folder, identity, load, local, machine, net, output, power, process, terminal,
};
#[cfg(unix)]
pub use unix::{memory, program};

#[cfg(not(unix))]
compile_error!("the agent has no part for this operating system yet; see crates/agent/src/os/mod.rs for what it needs");
