//! The wrong call does not compile.

#[test]
fn a_gate_accepts_no_preview() {
    trybuild::TestCases::new().compile_fail("tests/compile/*.rs");
}
