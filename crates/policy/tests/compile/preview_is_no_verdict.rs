//! What `check` previews can't be passed on as what a gate decided.

fn release(_decided: evidence::Verdict) {}

fn main() {
    release(policy::preview(&[], &policy::floor()));
}
