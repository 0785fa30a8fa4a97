//! What every page must be.

/// Nothing is left open, no number is none, nothing is asked of anybody and nothing runs.
pub(in crate::cli) fn assert_sound(page: &str) {
    assert_well_nested(page);
    // Pictures may spell anything.
    let text = |piece: &str| piece.split_once('"').map_or(piece, |(_, text)| text).to_owned();
    let text: String =
        page.split("base64,").enumerate().map(|(i, p)| if i == 0 { p.to_owned() } else { text(p) }).collect();
    for word in ["NaN", "inf%", " inf", "=\"-inf"] {
        assert!(!text.contains(word), "{word:?} is on the page");
    }
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"));
}

/// Every tag that must be closed is, in order; `p`, `td` and friends may be left open in HTML.
fn assert_well_nested(page: &str) {
    let mut open = Vec::new();
    let void = ["meta", "img", "br", "path", "rect", "circle"];
    let optional = ["td", "th", "tr", "li"];
    for tag in page.split('<').skip(1).filter_map(|t| t.split('>').next()) {
        let name = tag.split([' ', '\n', '/']).find(|w| !w.is_empty()).unwrap_or_default();
        if tag.starts_with('!') || void.contains(&name) || optional.contains(&name) {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed out of order");
        } else {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}
