//! Prints the JSON Schema of `proofmark.toml`, for `cargo xtask codegen`.

fn main() {
    let schema = pipeline::config::schema::json_schema();
    println!(
        "{}",
        serde_json::to_string_pretty(&schema).expect("a schema has a JSON form")
    );
}
