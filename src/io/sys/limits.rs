//! How many descriptors the process may hold: each upstream exchange and each client connection takes one.

use std::io;

/// Raises the soft limit of open descriptors to `wanted` or to the hard limit, whichever is less; never lowers it.
/// Returns the limit in force.
///
/// # Errors
/// The kernel's, as it is.
pub fn raise_open_files(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live, writable rlimit for the length of the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let raised = wanted.min(limit.rlim_max);
    if raised <= limit.rlim_cur {
        return Ok(limit.rlim_cur);
    }
    limit.rlim_cur = raised;
    // SAFETY: `limit` is a live, initialised rlimit for the length of the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(raised)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_never_lowered() {
        let now = raise_open_files(0).unwrap();
        assert!(now > 0);
        assert!(raise_open_files(now).unwrap() >= now);
    }
}
