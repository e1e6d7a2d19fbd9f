//! How the report looks: one palette for light and one for dark, and the style sheet that every page carries.
//!
//! No page has a script, and the content security policy lets nothing in but this very style sheet, by its hash.

use base64::Engine;

use evidence::Digest;

/// A colour by what it is for, on light and on dark ground.
struct Colour {
    name: &'static str,
    light: &'static str,
    dark: &'static str,
}

const fn colour(name: &'static str, light: &'static str, dark: &'static str) -> Colour {
    Colour { name, light, dark }
}

const PALETTE: [Colour; 16] = [
    colour("ground", "#ffffff", "#14171c"),
    colour("raised", "#f4f6f9", "#1d222a"),
    colour("text", "#1b1f24", "#e6e9ee"),
    colour("muted", "#525b66", "#a6b0bd"),
    colour("line", "#c9d0d9", "#3a424e"),
    colour("link", "#0b57a4", "#8ab8f5"),
    colour("focus", "#b0307a", "#ff9bd2"),
    colour("mark", "#0b5c8a", "#63b6ea"),
    colour("band", "#cfe3f1", "#1f4257"),
    colour("fault", "#a8321f", "#ff8f7a"),
    colour("hold", "#f3cdc5", "#5c2b22"),
    colour("undo", "#6a45a8", "#bea2f2"),
    colour("good", "#d3efd6", "#183d22"),
    colour("middle", "#fbeab8", "#453a10"),
    colour("bad", "#fbd6d0", "#54221b"),
    colour("none", "#e3e8ef", "#2a313c"),
];

/// Everything but the palette. Narrow first; what needs more width scrolls in a box of its own.
const RULES: &str = r#"
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--text);font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
header,main,footer{max-width:100rem;margin:0 auto;padding:0 1rem}
header{padding-top:1rem}
footer{padding:1rem;color:var(--muted);border-top:1px solid var(--line);margin-top:3rem}
h1{font-size:1.5rem;line-height:1.25;margin:.5rem 0}
h2{font-size:1.2rem;line-height:1.3;margin:2.5rem 0 .5rem;padding-top:.75rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.5rem 0 .25rem}
p,ul,dl{margin:.5rem 0;max-width:50rem}
ul{padding-left:1.25rem}
h1,h2,h3,p,li,dd,td,th,summary,caption{overflow-wrap:break-word}
bdi,h1{overflow-wrap:anywhere}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--focus);outline-offset:2px}
.skip{position:absolute;left:-100rem}
.skip:focus{left:1rem;top:.5rem;background:var(--ground);padding:.5rem}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.25rem 1rem;padding:0;margin:.5rem 0;max-width:none}
nav a[aria-current]{color:var(--text);font-weight:600;text-decoration:none}
.sub,small{color:var(--muted)}
small{font-size:.8125rem;display:block}
code{font:.875em/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere}
pre{margin:.25rem 0;padding:.5rem;background:var(--raised);border:1px solid var(--line);overflow-x:auto}
.box{overflow-x:auto;margin:.75rem 0;max-width:100%;border:1px solid var(--line);border-radius:.25rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.5rem .75rem;color:var(--muted);font-size:.875rem}
th,td{padding:.375rem .75rem;text-align:left;vertical-align:top;border-top:1px solid var(--line)}
thead th{border-top:0;background:var(--raised);font-size:.875rem;vertical-align:bottom}
tbody th{font-weight:600;min-width:10.5rem}
th small{font-weight:400}
td{min-width:5rem}
td:has(small){min-width:10.5rem}
td code{display:block;min-width:22rem}
td a,.tile a{color:inherit;text-decoration-color:var(--muted);text-underline-offset:.15em}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,13rem),1fr));gap:.75rem;margin:1rem 0;padding:0;list-style:none;max-width:none}
.tile{background:var(--raised);border:1px solid var(--line);border-radius:.25rem;padding:.625rem .75rem}
.tile b{display:block;font-size:1.375rem;line-height:1.3;font-variant-numeric:tabular-nums}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr));gap:1rem;margin:1rem 0}
.card{border:1px solid var(--line);border-radius:.25rem;padding:.75rem;min-width:0}
.card h3{margin:0 0 .25rem}
.card p{margin:.25rem 0}
details{margin:.5rem 0}
summary{cursor:pointer;color:var(--link)}
.matrix{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,12rem),1fr));gap:.75rem;margin:1rem 0}
.matrix h3{margin:0 0 .375rem}
.matrix ul{list-style:none;margin:0;padding:0}
.matrix li{padding:.375rem .5rem;margin:0 0 .25rem;border:1px solid var(--line);border-radius:.25rem;font-size:.875rem}
.good{background:var(--good)}.middle{background:var(--middle)}.bad{background:var(--bad)}.none{background:var(--none)}
.good small,.middle small,.bad small,.none small{color:var(--text)}
.tag{display:inline-block;color:var(--text);padding:0 .4rem;border:1px solid var(--line);border-radius:.25rem;font-size:.8125rem}
svg{display:block;width:100%;height:auto;max-width:34rem}
svg text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;fill:var(--text);font-variant-numeric:tabular-nums}
svg .quiet{fill:var(--muted)}
svg .end{text-anchor:end}svg .mid{text-anchor:middle}
svg .axis{stroke:var(--muted);fill:none}
svg .grid{stroke:var(--line);fill:none}
svg .bar{fill:var(--fault)}svg .hold{fill:var(--hold);stroke:var(--fault)}
svg .undo{fill:var(--undo);stroke:var(--undo)}
svg .dot{fill:var(--mark);stroke:var(--mark)}
svg .path{stroke:var(--mark);fill:none;stroke-width:1.5}
svg .never{stroke:var(--muted);fill:var(--ground);stroke-width:1.5}
svg .dash{stroke:var(--muted);fill:none;stroke-width:1.5;stroke-dasharray:3 3}
svg .band{fill:var(--band)}
svg .open{fill:var(--ground);stroke:var(--fault);stroke-width:1.5}
@media print{nav,.skip{display:none}body{font-size:10pt}.box{overflow:visible;border:0}.card,tr,figure{break-inside:avoid}a{color:inherit}h2,h3{break-after:avoid}}
@media (prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
figure{margin:.75rem 0}
figcaption{color:var(--muted);font-size:.875rem}
:target{outline:2px solid var(--focus)}
"#;

/// The style sheet: the same bytes on every page.
pub fn sheet() -> String {
    let variables = |dark: bool| -> String {
        PALETTE
            .iter()
            .map(|colour| format!("--{}:{};", colour.name, if dark { colour.dark } else { colour.light }))
            .collect()
    };
    // Printed, it is dark on light whatever the screen prefers.
    format!(
        ":root{{{}}}@media screen and (prefers-color-scheme:dark){{:root{{{}}}}}{RULES}",
        variables(false),
        variables(true)
    )
}

/// The content security policy of a page with this style sheet.
pub fn policy(sheet: &str) -> String {
    let hash = base64::engine::general_purpose::STANDARD.encode(Digest::of(sheet.as_bytes()).0);
    format!("default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(hex: &str) -> f64 {
        let value = f64::from(u8::from_str_radix(hex, 16).expect("two hex digits")) / 255.0;
        if value <= 0.040_45 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    }

    /// Relative luminance (WCAG 2.2).
    fn luminance(colour: &str) -> f64 {
        0.2126 * channel(&colour[1..3]) + 0.7152 * channel(&colour[3..5]) + 0.0722 * channel(&colour[5..7])
    }

    fn contrast(one: &str, other: &str) -> f64 {
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    #[track_caller]
    fn check(fore: &str, back: &str, least: f64) {
        let find = |name: &str| {
            PALETTE
                .iter()
                .find(|colour| colour.name == name)
                .expect("a colour of the palette")
        };
        let (fore, back) = (find(fore), find(back));
        for (scheme, one, other) in [("light", fore.light, back.light), ("dark", fore.dark, back.dark)] {
            let got = contrast(one, other);
            assert!(
                got >= least,
                "{} on {} ({scheme}): {got:.2} of {least}",
                fore.name,
                back.name
            );
        }
    }

    /// WCAG 2.2, AA: 1.4.3 asks 4.5 of text, 1.4.11 asks 3 of what a picture is read by.
    #[test]
    fn the_palette_has_contrast() {
        for ground in ["ground", "raised"] {
            for text in ["text", "muted", "link"] {
                check(text, ground, 4.5);
            }
            check("focus", ground, 3.0);
        }
        for ground in ["good", "middle", "bad", "none"] {
            check("text", ground, 4.5);
        }
        for shape in ["mark", "fault", "undo", "muted"] {
            check(shape, "ground", 3.0);
        }
        check("mark", "band", 3.0);
        assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
    }
}
