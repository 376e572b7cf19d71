//! The system calls that the standard library does not offer: all of this crate's `unsafe` code.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// A signal that [`send`] sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    /// SIGTERM: please end.
    Terminate,
    /// SIGSTOP: stand still.
    Stop,
    /// SIGCONT: go on.
    Continue,
}

/// Sends a signal to a process that the caller has not yet waited for: only then is the number
/// sure to still be that process's.
pub(crate) fn send(pid: u32, signal: Signal) -> io::Result<()> {
    let signal = match signal {
        Signal::Terminate => libc::SIGTERM,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    // A pid_t that is zero or negative would address whole process groups.
    let pid = match libc::pid_t::try_from(pid) {
        Ok(pid) if pid > 0 => pid,
        Ok(_) | Err(_) => return Err(io::ErrorKind::InvalidInput.into()),
    };
    #[expect(unsafe_code, reason = "the standard library can send SIGKILL only")]
    // SAFETY: kill takes two integers and touches no memory.
    let result = unsafe { libc::kill(pid, signal) };
    check(result)
}

/// Makes the command's process die with the thread that spawns it.
#[cfg(target_os = "linux")]
pub(crate) fn die_with_spawning_thread(command: &mut Command) {
    let parent = std::process::id();
    let ask_for_death_signal = move || {
        #[expect(unsafe_code, reason = "there is no safe prctl in the standard library")]
        // SAFETY: PR_SET_PDEATHSIG takes one integer; neither call touches memory.
        let (result, parent_now) = unsafe {
            (
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL),
                libc::getppid(),
            )
        };
        check(result)?;
        // A parent that died between fork and prctl sends no signal any more.
        if u32::try_from(parent_now) == Ok(parent) {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        }
    };
    #[expect(
        unsafe_code,
        reason = "prctl has to run in the child, between fork and exec"
    )]
    // SAFETY: the closure runs in the forked child, where only async-signal-safe calls are allowed.
    // It calls prctl and getppid, builds io::Errors from numbers, and neither allocates nor locks.
    unsafe {
        command.pre_exec(ask_for_death_signal);
    }
}

/// Elsewhere there is no such thing; what outlives a killed test process has to be ended by hand.
#[cfg(not(target_os = "linux"))]
pub(crate) fn die_with_spawning_thread(_command: &mut Command) {}

/// Runs a function when the process exits normally (`exit`, or the end of `main`).
pub(crate) fn at_exit(function: extern "C" fn()) -> io::Result<()> {
    #[expect(
        unsafe_code,
        reason = "the standard library has no exit hooks, and drops no statics"
    )]
    // SAFETY: the function lives as long as the program, and an `extern "C" fn` does not unwind.
    let result = unsafe { libc::atexit(function) };
    check(result)
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_interrupt(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// Catches Ctrl-C and SIGTERM from the first call on, and tells whether one has come.
///
/// For a program that runs a control plane until it is told to end, so that what it owns is dropped.
pub fn interrupted() -> io::Result<bool> {
    let handler = on_interrupt as *const () as libc::sighandler_t;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        #[expect(unsafe_code, reason = "the standard library cannot handle signals")]
        // SAFETY: the handler has the signature that `signal` wants, lives as long as the program,
        // and does nothing but store to an atomic, which is async-signal-safe.
        let previous = unsafe { libc::signal(signal, handler) };
        if previous == libc::SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(INTERRUPTED.load(Ordering::Relaxed))
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
