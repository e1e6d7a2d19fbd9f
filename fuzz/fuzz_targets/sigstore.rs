//! See `sigstore` in `src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    proofmark_fuzz::sigstore(bytes);
});
