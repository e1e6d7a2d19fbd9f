//! Pages that are made for a request. Everything that came with it is escaped.

use crate::catalogue::Product;

/// The page of a search.
pub fn search(words: &str, found: &[&Product]) -> String {
    let words = escape(words);
    let items: String = found
        .iter()
        .map(|product| {
            let price = format!("{}.{:02}", product.price_cents / 100, product.price_cents % 100);
            format!("<li>{} <span>€ {price}</span></li>\n", escape(product.name))
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Search: {words}</title>\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n<h1>{} found for “{words}”</h1>\n<ul>\n{items}</ul>\n\
         <p><a href=\"/\">All products</a></p>\n</html>\n",
        found.len(),
    )
}

/// Text as HTML shows it, in an element or in a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            character => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_searched_for_is_text() {
        let page = search("<script>alert('x')</script>\"", &[]);
        assert!(!page.contains("<script"));
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;"));
    }
}
