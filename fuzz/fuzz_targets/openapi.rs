//! See `openapi` in `src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    proofmark_fuzz::openapi(bytes);
});
