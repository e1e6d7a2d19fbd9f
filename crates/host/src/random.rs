//! Randomness, read in one place.

/// 32 bytes from the operating system's generator, fit for keys: whoever learns them owns what is made from them.
///
/// Blocks until the generator is seeded (early boot only). The process ends if the system has no randomness at
/// all: no caller could go on safely.
pub fn random_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    fill(&mut seed);
    seed
}

#[cfg(target_os = "linux")]
fn fill(mut buffer: &mut [u8]) {
    while !buffer.is_empty() {
        // SAFETY: the pointer and the length describe `buffer`, which is writable and lives across the call.
        let got = unsafe { libc::getrandom(buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => buffer = &mut buffer[got..],
            Err(_) => {
                let error = std::io::Error::last_os_error();
                if error.kind() != std::io::ErrorKind::Interrupted {
                    panic!("the operating system gives no randomness: {error}");
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn fill(buffer: &mut [u8]) {
    aws_lc_rs::rand::fill(buffer).expect("the operating system gives randomness");
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_seeds_differ() {
        assert_ne!(super::random_seed(), super::random_seed());
    }
}
