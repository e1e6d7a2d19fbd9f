//! `Verified` and `Logged` have one constructor each: anything else does not compile.

#[test]
fn nobody_else_makes_verified_or_logged() {
    trybuild::TestCases::new().compile_fail("tests/compile/*.rs");
}
